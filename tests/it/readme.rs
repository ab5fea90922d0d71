//! The documentation is true: its tables agree with the code, and its tours run.

use std::{collections::BTreeSet, fs, io::Write, path::Path, time::Duration};

use futures_util::{StreamExt, stream};
use rabbitmq_gateway::config::table::markdown_tables;
use tokio::process::Command;

use crate::support::{
    broker::{Broker, Vhost},
    echo::{echo, serve},
    gateway::TestGateway,
    observer::Observer,
    pages::{Page, pages, root},
    pika,
    process::Process,
    program::succeed,
    python::interpreter,
    tour::{ADDRESS, TOUR, has_tour, walk},
};

const CONFIGURATION: &str = "docs/configuration.md";
const OPERATIONS: &str = "docs/operations.md";
const RECIPES: &str = "docs/recipes";
const BEGIN: &str = "<!-- settings: begin -->\n";
const END: &str = "<!-- settings: end -->";
/// Tours that use pika, to show the same operations as the gateway.
const PIKA_TOUR: &str = "<!-- tour: pika -->";
/// Languages of the other tours.
const LANGUAGES: [&str; 3] = ["python", "js", "go"];
const BROKER: &str = "amqp://guest:guest@127.0.0.1:5672/%2F";
const README_LINES: usize = 150;
/// The programs of a page wait for each other and for delays, so the programs of another page run meanwhile.
const PAGES_AT_A_TIME: usize = 2;

/// Set `UPDATE_DOCS` to write the table instead of comparing it.
#[test]
fn the_configuration_table_agrees_with_the_code() {
    let page = Page::at(CONFIGURATION);
    let (head, rest) = page.text.split_once(BEGIN).expect("the table's begin");
    let (table, tail) = rest.split_once(END).expect("the table's end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = [head, BEGIN, &markdown_tables(), END, tail].concat();
        fs::write(root().join(CONFIGURATION), text).expect("it can be written");
        return;
    }
    assert!(
        table == markdown_tables(),
        "the table of {CONFIGURATION} is old: UPDATE_DOCS=1 scripts/test configuration_table"
    );
}

#[tokio::test]
async fn the_settings_file_of_the_documentation_is_accepted() {
    let page = Page::at(CONFIGURATION);
    let [(settings, _)] = page.snippets(TOUR, "toml")[..] else { panic!("one file is shown") };
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"hunter2").unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let principals = tempfile::NamedTempFile::new().unwrap();
    let settings = settings
        .replace("/run/secrets/rabbitmq", &secret.path().to_string_lossy())
        .replace("/etc/gateway/principals.toml", &principals.path().to_string_lossy());
    file.write_all(settings.as_bytes()).unwrap();
    let path = file.path().to_string_lossy();
    let mut process = Process::spawn_with(&["check-config"], &[("GATEWAY_CONFIG", &path)]);
    let status = process.wait(Duration::from_secs(10)).await;
    assert!(status.success() && process.stdout().contains("rabbitmq.example.org"), "{}", process.output());
}

#[test]
fn the_readme_stays_short() {
    let lines = Page::at("README.md").text.lines().count();
    assert!(lines <= README_LINES, "the README has {lines} lines: move a part to docs/");
}

/// The names of metrics between quotes or backticks.
fn metrics(text: &str, mark: char) -> BTreeSet<&str> {
    text.split(mark).filter(|name| name.starts_with("gateway_") && !name.contains(' ')).collect()
}

#[test]
fn the_table_of_metrics_agrees_with_the_code() {
    let mut code = metrics(include_str!("../../src/metrics.rs"), '"');
    code.extend(metrics(include_str!("../../src/metrics/consume.rs"), '"'));
    code.extend(metrics(include_str!("../../src/metrics/registered.rs"), '"'));
    assert!(code.len() > 10, "the metrics of the code are found: {code:?}");
    assert_eq!(metrics(&Page::at(OPERATIONS).text, '`'), code);
}

/// A gateway in front of a virtual host that serves the queue `echo`.
struct Stage {
    gateway: TestGateway,
    vhost: Vhost<'static>,
    _server: Observer,
}

impl Stage {
    /// A stage for one page.
    async fn of(page: &Page) -> Self {
        let name = page.path.file_stem().expect("a page has a name").to_string_lossy().to_lowercase();
        let vhost = Broker::shared().await.vhost(&format!("tour-{name}")).await;
        let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
        let server = Observer::connect(&vhost.url).await;
        serve(&server, "echo", echo).await;
        Self { gateway, vhost, _server: server }
    }

    /// A snippet, changed to use this gateway and this virtual host.
    fn localised(&self, snippet: &str) -> String {
        snippet.replace(ADDRESS, &self.gateway.address().to_string()).replace(BROKER, &self.vhost.url)
    }
}

/// recipes.rs runs the tours of recipes, and checks what they leave behind.
fn is_recipe(page: &Page) -> bool {
    page.path.starts_with(RECIPES)
}

#[tokio::test]
async fn the_tours_run_as_they_are_written() {
    let mut count = 0;
    for page in pages().iter().filter(|page| has_tour(page) && !is_recipe(page)) {
        let stage = Stage::of(page).await;
        count += walk(page, |command| stage.localised(command)).await;
        stage.gateway.stop().await;
    }
    assert!(count > 15, "tours are found: {count} commands");
}

/// The snippets of one language as one program.
fn program(page: &Page, mark: &str, language: &str) -> Option<String> {
    let snippets: Vec<_> = page.snippets(mark, language).into_iter().map(|(snippet, _)| snippet).collect();
    (!snippets.is_empty()).then(|| snippets.join("\n"))
}

/// Runs the programs of a page, one after the other, against one stage; gives their languages.
async fn run_programs(page: Page) -> Vec<&'static str> {
    let pika_program = program(&page, PIKA_TOUR, "python");
    let others = LANGUAGES.into_iter().filter_map(|it| Some((it, program(&page, TOUR, it)?)));
    let others: Vec<_> = others.collect();
    let mut run = Vec::new();
    if others.is_empty() && pika_program.is_none() {
        return run;
    }
    let stage = Stage::of(&page).await;
    if let Some(program) = pika_program {
        pika::run(&stage.vhost.url, &stage.localised(&program)).await;
        run.push("pika");
    }
    for (language, program) in others {
        run_program(language, &stage.localised(&program)).await;
        run.push(language);
    }
    stage.gateway.stop().await;
    run
}

#[tokio::test]
async fn the_tours_in_other_languages_run_as_they_are_written() {
    let run: Vec<_> =
        stream::iter(pages()).map(run_programs).buffer_unordered(PAGES_AT_A_TIME).concat().await;
    let count = |language| run.iter().filter(|it| **it == language).count();
    let counts = ["go", "js", "pika", "python"].map(count);
    assert_eq!(
        counts,
        [1, 4, 2, 6],
        "in docs/api.md, bulk.md, clients.md, consuming.md, from-pika-consumers.md and from-pika-to-http.md"
    );
}

/// The script takes the commands out of the page.
#[tokio::test]
async fn the_first_steps_with_a_key_work_as_they_are_written() {
    let vhost = Broker::shared().await.vhost("first-key").await;
    let binary = Path::new(env!("CARGO_BIN_EXE_rabbitmq-gateway")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").expect("a PATH"));
    let mut script = Command::new(root().join("scripts/test-first-key"));
    let told = succeed(script.env("PATH", path).env("AMQP_URL", &vhost.url)).await;
    assert!(told.contains("steps of docs/security.md work"), "{told}");
}

/// Runs a program of this language from a file; it must end with success.
async fn run_program(language: &str, program: &str) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (interpreter, arguments, file) = match language {
        "python" => (interpreter(), vec![], "tour.py"),
        "js" => ("node".to_owned(), vec![], "tour.mjs"),
        "go" => ("go".to_owned(), vec!["run"], "tour.go"),
        other => panic!("the test does not run {other}"),
    };
    let file = folder.path().join(file);
    fs::write(&file, program).expect("it can be written");
    succeed(Command::new(interpreter).args(arguments).arg(file)).await;
}
