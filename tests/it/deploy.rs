//! The files in `deploy/`: they fit the schemas of Kubernetes, each other, and the gateway.
//!
//! That the metrics on the dashboard and in the alerts exist is checked in `metrics.rs`.

use std::{fs, path::Path};

use rabbitmq_gateway::config::Config;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{contract::DOCUMENT, python};

const MANIFEST: &str = "deploy/kubernetes.yaml";
const LABELS: &str = r#"{"app.kubernetes.io/name":"rabbitmq-gateway"}"#;
const MONITOR: &str = "deploy/servicemonitor.yaml";
const ALERTS: &str = "deploy/prometheus-alerts.yml";
/// Reads the files. Validates the first one strictly, so that a misspelt member is an error.
const READ: &str = "\
import json, sys, yaml, kubernetes_validate
files = [list(yaml.safe_load_all(open(path))) for path in sys.argv[1:]]
for document in files[0]:
    kubernetes_validate.validate(document, '1.37', strict=True)
print(json.dumps(files))";

/// The documents of each YAML file; read once, since Python is slow to start.
static FILES: OnceCell<Vec<Vec<Value>>> = OnceCell::const_new();

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).display().to_string()
}

/// The documents of a YAML file.
async fn documents(file: &str) -> &'static [Value] {
    let files = [MANIFEST, MONITOR, ALERTS];
    let read = FILES.get_or_init(|| async {
        let [manifest, monitor, alerts] = files.map(path);
        let output = python::run("kubernetes_validate", READ, &[&manifest, &monitor, &alerts], "").await;
        serde_json::from_str(&output).unwrap()
    });
    &read.await[files.iter().position(|known| *known == file).unwrap()]
}

async fn manifest(kind: &str) -> &'static Value {
    let all = documents(MANIFEST).await;
    all.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("a {kind}"))
}

#[tokio::test]
async fn applying_the_manifest_again_does_not_change_the_secret() {
    let all = documents(MANIFEST).await;
    let kinds: Vec<_> = all.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"]);
    let pod = &all[0]["spec"]["template"]["spec"];
    let secret = pod["volumes"][0]["secret"]["secretName"].as_str().unwrap();
    let text = fs::read_to_string(path(MANIFEST)).unwrap();
    assert!(text.contains(&format!("kubectl create secret generic {secret} --from-file=amqp-url")), "{text}");
}

#[tokio::test]
async fn every_selector_matches_the_pods_and_every_port_exists() {
    let labels: Value = serde_json::from_str(LABELS).unwrap();
    let all = documents(MANIFEST).await;
    let [deployment, service, budget, policy] = all else { panic!("four documents") };
    let template = &deployment["spec"]["template"];
    let pod = &template["spec"];
    for selected in [
        &template["metadata"]["labels"],
        &deployment["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &service["metadata"]["labels"],
        &budget["spec"]["selector"]["matchLabels"],
        &policy["spec"]["podSelector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        &pod["topologySpreadConstraints"][1]["labelSelector"]["matchLabels"],
    ] {
        assert_eq!(*selected, labels);
    }
    let monitor = &documents(MONITOR).await[0]["spec"];
    assert_eq!(monitor["selector"]["matchLabels"], labels);
    let ports = &pod["containers"][0]["ports"];
    for (of_callers, of_admin) in [
        (&service["spec"]["ports"][0]["targetPort"], &service["spec"]["ports"][1]["targetPort"]),
        (
            &policy["spec"]["ingress"][0]["ports"][0]["port"],
            &policy["spec"]["ingress"][1]["ports"][0]["port"],
        ),
    ] {
        assert_eq!([of_callers, of_admin], [&ports[0]["name"], &ports[1]["name"]]);
    }
    assert_eq!(monitor["endpoints"][0]["port"], service["spec"]["ports"][1]["name"]);
}

#[tokio::test]
async fn the_deployment_and_the_gateway_agree_on_settings_times_and_paths() {
    let pod = &manifest("Deployment").await["spec"]["template"]["spec"];
    let gateway = &pod["containers"][0];
    let given = |name: &str| {
        let found = gateway["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name)?;
        found["value"].as_str().map(str::to_owned)
    };
    // The look-up has the content of the file of principals, not its path.
    let lookup = |name: &str| if name == "GATEWAY_PRINCIPALS" { Some("#".to_owned()) } else { given(name) };
    let config = Config::from_lookup(lookup).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.http.listen.port(), gateway["ports"][0]["containerPort"]);
    assert_eq!(config.http.admin_listen.unwrap().port(), gateway["ports"][1]["containerPort"]);
    let mount = |n: usize| gateway["volumeMounts"][n]["mountPath"].as_str().unwrap();
    assert_eq!(given("AMQP_URL_FILE"), Some(format!("{}/amqp-url", mount(0))));
    assert_eq!(given("GATEWAY_PRINCIPALS"), Some(format!("{}/principals.toml", mount(1))));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(gateway[probe]["httpGet"]["port"], gateway["ports"][1]["name"], "{probe}");
    }
    let annotated =
        &manifest("Deployment").await["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"];
    assert_eq!(*annotated, gateway["ports"][1]["containerPort"].to_string());
    let stopping = (config.drain_delay + config.shutdown_timeout).as_secs();
    assert!(pod["terminationGracePeriodSeconds"].as_u64() > Some(stopping));
    let ready = &gateway["readinessProbe"];
    let patience = ready["periodSeconds"].as_u64().unwrap() * ready["failureThreshold"].as_u64().unwrap();
    assert!(patience > config.http.limits.publish.max.as_secs(), "{ready}");
    let monitor = &documents(MONITOR).await[0]["spec"]["endpoints"][0];
    for path in [
        &gateway["startupProbe"]["httpGet"]["path"],
        &gateway["livenessProbe"]["httpGet"]["path"],
        &ready["httpGet"]["path"],
        &monitor["path"],
    ] {
        assert!(DOCUMENT["paths"][path.as_str().unwrap()].is_object(), "{path}");
    }
}

#[tokio::test]
async fn an_alert_fires_for_a_gateway_that_is_down_even_if_prometheus_no_longer_has_its_target() {
    let alerts = &documents(ALERTS).await[0]["groups"][0]["rules"];
    for alert in alerts.as_array().unwrap() {
        assert!(alert["annotations"]["summary"].is_string(), "{alert}");
        assert!(["page", "ticket"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{alert}");
    }
    let down = alerts.as_array().unwrap().iter().find(|alert| alert["alert"] == "GatewayDown").unwrap();
    assert_eq!(down["labels"], json!({"severity": "page"}));
    let monitor = documents(MONITOR).await;
    let job =
        &manifest("Service").await["metadata"]["labels"][monitor[0]["spec"]["jobLabel"].as_str().unwrap()];
    let up = format!("up{{job={job}}}");
    assert_eq!(down["expr"], format!("{up} == 0 or absent({up})"));
}

#[test]
fn every_panel_of_the_dashboard_is_described() {
    let dashboard = fs::read_to_string(path("deploy/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    for panel in panels {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
    }
}
