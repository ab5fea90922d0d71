//! Checks that the layers of `src` depend on each other in one direction only, by reading their `use` lines and paths.
//!
//! Comments may name any layer (documentation links do); code may not. Code has to write a path that leaves its layer as
//! `crate::…`, so that this test finds it.

mod circles;

use std::{
    fs,
    path::{Path, PathBuf},
};

const MAX_LINES: usize = 400;

/// The items of other layers that a layer (the first word of a path) may name: a whole layer or single items of it.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("main, commands", &["app", "cli", "config", "telemetry", "signals", "http::openapi"]),
    ("lib", &[]),
    ("app", &["config", "broker", "domain", "http", "lifecycle", "metrics", "signals", "telemetry"]),
    ("cli", &["config", "domain"]),
    (
        "config",
        &[
            "broker::Settings",
            "broker::Address",
            "broker::ClientCertificate",
            "broker::Login",
            "broker::Tls",
            "http::Settings",
            "http::Access",
            "http::AuditLevel",
            "http::ConnectionLimits",
            "http::Deadline",
            "broker::PublishSettings",
            "broker::ConsumeSettings",
            "broker::TopologyFile",
            "http::IdempotencyLimits",
            "http::Limits",
            "http::PullLimits",
            "http::topology_document",
            "telemetry::Settings",
            "telemetry::Filter",
            "telemetry::Format",
            "domain",
        ],
    ),
    (
        "http",
        &[
            "broker",
            "domain",
            "fairness",
            "lifecycle",
            "metrics",
            "telemetry::DroppedLines",
            "telemetry::panics",
        ],
    ),
    ("broker", &["domain", "fairness", "lifecycle", "metrics"]),
    ("domain", &[]),
    ("fairness, lifecycle, metrics, signals, telemetry", &[]),
];

/// Words of crates that a layer must not use.
const FOREIGN: [(&str, &[&str]); 3] = [
    (
        "domain",
        &["axum", "hyper", "tower", "http", "lapin", "deadpool", "deadpool_lapin", "tokio", "StatusCode"],
    ),
    ("broker", &["axum", "hyper", "tower", "http", "StatusCode"]),
    ("http", &["lapin", "deadpool", "deadpool_lapin"]),
];

/// A file of `src`: its path below `src`, and its code without comments.
struct Source {
    path: PathBuf,
    code: String,
    lines: usize,
}

impl Source {
    fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let code = text.lines().map(|line| without_comment(line).to_owned() + "\n").collect();
        Self { path: path.into(), code, lines: text.lines().count() }
    }

    /// The modules that lead to the file: `["http", "serve"]` for `http/serve.rs`.
    fn modules(&self) -> Vec<String> {
        let stem = self.path.with_extension("");
        stem.iter().map(|part| part.to_string_lossy().into_owned()).collect()
    }

    fn layer(&self) -> String {
        self.modules().swap_remove(0)
    }

    fn breach(&self, what: impl std::fmt::Display) -> String {
        format!("src/{}: {what}", self.path.display())
    }

    /// All breaches in the file.
    fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        breaches.extend(self.forbidden_paths());
        breaches.extend(self.foreign_words());
        breaches.extend(self.paths_out_by_super());
        breaches.extend(self.paths_out_of_the_server());
        breaches.extend(self.paths_past_the_permissions());
        if self.layer() == "broker" && self.code.contains(".into()") {
            breaches.push(self.breach("calls .into(), which panics when it makes a ShortString"));
        }
        if self.path.ends_with("mod.rs") {
            breaches.push(self.breach("is a mod.rs; name it after its module"));
        }
        if self.lines > MAX_LINES {
            breaches.push(self.breach(format!("has {} lines, over {MAX_LINES}", self.lines)));
        }
        breaches
    }

    fn forbidden_paths(&self) -> Vec<String> {
        let layer = self.layer();
        let Some(allowed) = allowed(&layer) else {
            return vec![self.breach(format!("{layer} is a layer that is missing in ALLOWED"))];
        };
        let is_allowed = |path: &String| {
            let within = |of: &str| path == of || path.starts_with(&format!("{of}::"));
            within(&layer) || allowed.iter().any(|it| within(it))
        };
        let named = self.named_paths();
        let forbidden = named.iter().filter(|path| !is_allowed(path));
        forbidden.map(|path| self.breach(format!("{layer} must not name {path}"))).collect()
    }

    /// Every path below the root of the crate. For an imported layer the paths that the code then uses count.
    fn named_paths(&self) -> Vec<String> {
        let roots = ["crate::", "rabbitmq_gateway::"];
        let paths: Vec<_> = roots.into_iter().flat_map(|root| paths_after(&self.code, root)).collect();
        paths.into_iter().flat_map(|path| self.through_import(path)).collect()
    }

    fn through_import(&self, path: String) -> Vec<String> {
        let items =
            if path.contains("::") { Vec::new() } else { paths_after(&self.code, &format!("{path}::")) };
        if items.is_empty() { vec![path] } else { items.iter().map(|it| format!("{path}::{it}")).collect() }
    }

    fn foreign_words(&self) -> Vec<String> {
        let layer = self.layer();
        let words = FOREIGN.iter().filter(|(of, _)| *of == layer).flat_map(|(_, words)| *words);
        let said = words.filter(|word| {
            let used = format!("{word}::");
            *word == &"StatusCode" && has_word(&self.code, word) || has_word(&self.code, &used)
        });
        said.map(|word| self.breach(format!("{layer} must not know {word}"))).collect()
    }

    /// Paths that leave the layer by `super::` in its top module, which `named_paths` does not find.
    fn paths_out_by_super(&self) -> Vec<String> {
        let depth = self.modules().len();
        let mut inline = 0;
        let mut breaches = Vec::new();
        for line in self.code.lines() {
            inline += usize::from(line.starts_with("mod ") && line.ends_with('{'));
            let ups = (1..=depth + inline).take_while(|n| line.contains(&"super::".repeat(*n))).count();
            if ups >= depth + inline {
                breaches.push(self.breach(format!("leaves its layer by super: {}", line.trim())));
            }
        }
        breaches
    }

    /// Paths from the HTTP server to another part of the gateway. It serves any application, so it knows the lifecycle only.
    fn paths_out_of_the_server(&self) -> Vec<String> {
        if !self.modules().join("::").starts_with("http::server") {
            return Vec::new();
        }
        let ups = "super::".repeat(self.modules().len() - 1);
        let is_allowed = |path: &String| ["lifecycle", "http::server"].iter().any(|it| path.starts_with(it));
        let by_super = self.code.contains(&ups).then(|| ups.clone());
        let beyond = self.named_paths().into_iter().filter(|path| !is_allowed(path)).chain(by_super);
        beyond.map(|path| self.breach(format!("the server must not name {path}"))).collect()
    }
}

impl Source {
    /// Names of the whole broker side in a part of HTTP that has only the broker side of one caller, whose methods check permissions.
    fn paths_past_the_permissions(&self) -> Vec<String> {
        let modules = self.modules();
        if modules[0] != "http" || modules.len() < 2 || modules[1] == "state" {
            return Vec::new();
        }
        let whole = self.named_paths().into_iter().filter(|path| path == "broker::Broker");
        whole.map(|path| self.breach(format!("only http/state may name {path}"))).collect()
    }
}

fn allowed(layer: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(layers, _)| layers.split(", ").any(|it| it == layer)).map(|(_, allowed)| *allowed)
}

fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn starts_a_word(code: &str, at: usize) -> bool {
    !code[..at].ends_with(is_of_name) && !code[..at].ends_with("::")
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| starts_a_word(code, at))
}

/// Every path that follows `root` (which ends with `::`), with the braces expanded.
fn paths_after(code: &str, root: &str) -> Vec<String> {
    let ends = code.match_indices(root).filter(|(at, _)| starts_a_word(code, *at));
    ends.flat_map(|(at, root)| tree(&code[at + root.len()..]).0).collect()
}

/// The paths of one `use` tree, and the code after it.
fn tree(code: &str) -> (Vec<String>, &str) {
    let code = code.trim_start();
    if let Some(group) = code.strip_prefix('{') {
        return branches(group);
    }
    let name = &code[..code.find(|c| !is_of_name(c)).unwrap_or(code.len())];
    match code[name.len()..].strip_prefix("::") {
        Some(rest) if rest.starts_with(|c| is_of_name(c) || c == '{') => {
            let (tails, rest) = tree(rest);
            let joined = tails.iter().map(|tail| match tail.as_str() {
                "self" => name.to_owned(),
                tail => format!("{name}::{tail}"),
            });
            (joined.collect(), rest)
        }
        _ => (vec![name.to_owned()], &code[name.len()..]),
    }
}

fn branches(mut code: &str) -> (Vec<String>, &str) {
    let mut paths = Vec::new();
    loop {
        let (branch, rest) = tree(code);
        paths.extend(branch.into_iter().filter(|path| !path.is_empty()));
        match rest.split_once([',', '}']) {
            Some((between, after)) if rest[between.len()..].starts_with(',') => code = after,
            Some((_, after)) => return (paths, after),
            None => return (paths, ""),
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of src can be read") {
            let path = entry.expect("an entry of src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("a file of src is text");
                sources.push(Source::new(path.strip_prefix(&root).expect("it is below src"), &text));
            }
        }
    }
    sources
}

#[test]
fn no_layer_uses_a_layer_above_it() {
    let sources = sources();
    assert!(sources.len() > 50, "all files of src are read, not only {}", sources.len());
    let breaches: Vec<_> = sources.iter().flat_map(Source::breaches).collect();
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn a_breach_is_found_in_each_way_to_write_a_path() {
    for (path, code) in [
        ("broker/publish.rs", "use crate::http::problem::Problem;"),
        ("broker.rs", "    pub kind: crate::http::problem::ProblemType,"),
        ("broker/error.rs", "use axum::http::StatusCode;"),
        ("broker/error.rs", "fn status(&self) -> StatusCode {"),
        ("broker/login.rs", "    let name: ShortString = text.into();"),
        ("http/state.rs", "use crate::config::Config;"),
        ("http/state.rs", "use crate::{broker::Broker, app::Gateway};"),
        ("http/state.rs", "use crate::{\n    broker::Broker,\n    config::{Config, table},\n};"),
        ("http/endpoints/publish.rs", "use lapin::Channel;"),
        ("http/endpoints/publish.rs", "use crate::broker::{Broker, Publish};"),
        ("http/caller.rs", "broker: crate::broker::Broker,"),
        ("http/endpoints/publish.rs", "let pool = deadpool::managed::Pool::builder(manager);"),
        ("domain/names.rs", "use tokio::time::Instant;"),
        ("domain/names.rs", "use crate::broker::Error;"),
        ("domain.rs", "use super::http::Limits;"),
        ("domain/names.rs", "use super::super::http::Limits;"),
        ("config/broker.rs", "use crate::broker::Broker;"),
        ("config/broker.rs", "use crate::broker::{Address, Broker};"),
        ("telemetry.rs", "use crate::config::Config;"),
        ("cli.rs", "use crate::app;"),
        ("main.rs", "use rabbitmq_gateway::{app, http};\nhttp::layered(broker);"),
        ("main.rs", "use rabbitmq_gateway::broker::Broker;"),
        ("metrics.rs", "use crate::config::Config;"),
        ("novelty.rs", "use crate::domain::names::QueueName;"),
        ("http/state.rs", "use crate::telemetry::Settings;"),
        ("http/server/body.rs", "use crate::http::problem::Problem;"),
        ("http/server/body.rs", "use super::super::problem::Problem;"),
        ("http/server.rs", "use super::layers::LayeredRouter;"),
        ("http/mod.rs", ""),
        ("http/long.rs", &"\n".repeat(MAX_LINES + 1)),
    ] {
        assert!(!Source::new(path, code).breaches().is_empty(), "{path}: {code}");
    }
}

#[test]
fn an_allowed_path_is_not_reported() {
    for (path, code) in [
        ("broker.rs", "/// Filled by [`crate::config`].\nuse crate::domain::names::{QueueName, ShortText};"),
        ("broker/login.rs", "// ShortString::from and .into() panic"),
        ("config/http.rs", "use crate::http::{ConnectionLimits, Deadline, Limits, Settings};"),
        ("config.rs", "use crate::telemetry;\nfilter: telemetry::Filter::parse(text)"),
        ("http.rs", "mod tests {\n    use super::*;\n}"),
        ("http/openapi.rs", "document.merge(super::paths());"),
        ("http/state.rs", "use axum::http::StatusCode;\nuse crate::http::Limits;"),
        ("http/server/body.rs", "use super::activity::Activity;\nuse crate::lifecycle::Lifecycle;"),
        ("main.rs", "use rabbitmq_gateway::{app, http};\napp::run(config);\nhttp::openapi::document();"),
    ] {
        assert_eq!(Source::new(path, code).breaches(), Vec::<String>::new(), "{path}: {code}");
    }
}
