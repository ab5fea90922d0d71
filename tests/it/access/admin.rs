//! The address for administration: health checks and metrics without credentials, and nothing else.

use std::time::Duration;

use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Method;

use super::{ALL, SOON, by, part};
use crate::support::{
    poll::{eventually, within},
    stage::Stage,
};

#[tokio::test]
async fn the_address_for_administration_serves_health_and_metrics_to_everybody_and_no_operation() {
    let root = ApiKey::generate();
    let settings = [
        ("GATEWAY_PRINCIPALS", part("root", &root, ALL)),
        ("GATEWAY_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let stage = Stage::set_with("access_admin", &settings).await;
    let gateway = &stage.gateway;
    let admin = format!("http://{}", gateway.admin_address());
    let status = async |method: Method, path: &str| {
        let request = gateway.client().request(method, format!("{admin}{path}"));
        request.send().await.expect("an answer").status().as_u16()
    };
    for path in ["/health/live", "/health/ready", "/health/rabbitmq", "/metrics"] {
        eventually(SOON, path, async || status(Method::GET, path).await == 200).await;
    }
    for (method, path) in [
        (Method::POST, "/publish/amq.default?routing_key=q"),
        (Method::GET, "/queues/q"),
        (Method::GET, "/whoami"),
        (Method::GET, "/docs/"),
        (Method::GET, "/openapi.json"),
    ] {
        assert_eq!(status(method.clone(), path).await, 404, "{method} {path}");
    }
    // The other address keeps the probes, also for those who may see the state of the gateway.
    for (path, expected) in [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/health/rabbitmq", 404),
        ("/metrics", 404),
        ("/whoami", 200),
    ] {
        let answer = by(gateway, &root, Method::GET, path).send().await.expect("an answer");
        assert_eq!(answer.status(), expected, "{path}");
    }
    // Both listeners end when nothing is in flight, long before the shutdown timeout of 25 s.
    within(Duration::from_secs(10), "the gateway stops", stage.gateway.stop()).await;
}
