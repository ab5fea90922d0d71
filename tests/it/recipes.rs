//! The recipes of docs/recipes: every document can be applied, changes nothing the second time, makes nothing over a conflict, and its
//! page shows its objects and commands that run. The files of the folder test that each recipe behaves as its page says.

mod consumers;
mod failures;
mod routing;

use std::fs;

use lapin::types::AMQPValue;
use serde_json::Value;

use crate::support::{
    contract::Answer,
    gateway::TestGateway,
    pages::{Page, root},
    stage::Stage,
    tour::{ADDRESS, walk},
    worker::body,
};

const FOLDER: &str = "docs/recipes";

/// A recipe, and a queue that another client has made before with other arguments.
struct Recipe {
    name: &'static str,
    queue: &'static str,
    arguments: &'static [(&'static str, Argument)],
    /// The argument in which the queue differs from the document; of several ones, the one that RabbitMQ names.
    difference: &'static str,
}

#[derive(Clone, Copy)]
enum Argument {
    Text(&'static str),
    Number(i64),
}

const QUORUM: (&str, Argument) = ("x-queue-type", Argument::Text("quorum"));
const STREAM: (&str, Argument) = ("x-queue-type", Argument::Text("stream"));
const REJECT: (&str, Argument) = ("x-overflow", Argument::Text("reject-publish"));
const AT_LEAST_ONCE: (&str, Argument) = ("x-dead-letter-strategy", Argument::Text("at-least-once"));

#[rustfmt::skip]
const RECIPES: [Recipe; 11] = [
    Recipe { name: "work-queue", queue: "tasks", arguments: &[QUORUM, REJECT, AT_LEAST_ONCE, ("x-dead-letter-exchange", Argument::Text("tasks.dlx")), ("x-max-length", Argument::Number(7))], difference: "x-max-length" },
    Recipe { name: "publish-subscribe", queue: "news.cache", arguments: &[("x-max-length", Argument::Number(1000))], difference: "x-message-ttl" },
    Recipe { name: "routing", queue: "alerts.archive", arguments: &[], difference: "x-queue-type" },
    Recipe { name: "topics", queue: "orders.unrouted", arguments: &[QUORUM], difference: "x-max-length" },
    Recipe { name: "headers", queue: "documents.review", arguments: &[QUORUM, REJECT], difference: "x-overflow" },
    Recipe { name: "priority", queue: "renders", arguments: &[("x-max-length", Argument::Number(10000)), ("x-max-priority", Argument::Number(10))], difference: "x-max-priority" },
    Recipe { name: "delayed-retry", queue: "payments.wait", arguments: &[QUORUM], difference: "x-dead-letter-exchange" },
    Recipe { name: "dead-letters", queue: "imports.dlq", arguments: &[], difference: "x-queue-type" },
    Recipe { name: "quorum-delivery-limit", queue: "shipments.dlq", arguments: &[QUORUM, ("x-max-length", Argument::Number(7))], difference: "x-max-length" },
    Recipe { name: "stream", queue: "audit", arguments: &[STREAM, ("x-max-length-bytes", Argument::Number(10_000_000_000)), ("x-max-age", Argument::Text("1D"))], difference: "x-max-age" },
    Recipe { name: "single-active-consumer", queue: "ledger", arguments: &[QUORUM, REJECT, AT_LEAST_ONCE, ("x-dead-letter-exchange", Argument::Text("ledger.dlx"))], difference: "x-single-active-consumer" },
];

impl Recipe {
    fn page(&self) -> Page {
        Page::at(format!("{FOLDER}/{}.md", self.name))
    }

    /// Declares the other queue by the second AMQP client.
    async fn make_conflict(&self, stage: &Stage) {
        let value = |argument: Argument| match argument {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            Argument::Number(number) => AMQPValue::LongLongInt(number),
        };
        let arguments: Vec<_> = self.arguments.iter().map(|(name, given)| (*name, value(*given))).collect();
        stage.observer.declare_queue_with(self.queue, &arguments).await;
    }
}

/// The document of a recipe.
fn document(name: &str) -> Value {
    let path = root().join(FOLDER).join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same with another value at this place, so that a test need not wait or publish as much. The recipe must have one there.
fn document_with(name: &str, place: &str, value: Value) -> Value {
    let mut document = document(name);
    *document.pointer_mut(place).unwrap_or_else(|| panic!("{name} has {place}")) = value;
    document
}

async fn apply(gateway: &TestGateway, document: &Value) -> Answer {
    let request = gateway.put("/topology").header("content-type", "application/json");
    Answer::to(request.body(document.to_string())).await
}

/// A virtual host in which this document is applied.
async fn stage_with(document: &Value) -> Stage {
    let stage = Stage::set("recipe").await;
    let answer = apply(&stage.gateway, document).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    stage
}

/// A virtual host in which a recipe is applied as it is written.
async fn stage_of(recipe: &str) -> Stage {
    stage_with(&document(recipe)).await
}

/// Publishes a text to an exchange and a routing key, with these headers of the request.
async fn publish(stage: &Stage, target: (&str, &str), text: &str, headers: &[(&str, &str)]) -> Answer {
    let path = format!("/publish/{}?routing_key={}", target.0, target.1);
    let request = stage.post(&path).header("content-type", "text/plain").body(text.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::to(request).await
}

/// The same to a queue; RabbitMQ confirms the message.
async fn send(stage: &Stage, queue: &str, text: &str, headers: &[(&str, &str)]) {
    let answer = publish(stage, ("amq.default", queue), text, headers).await;
    assert_eq!(answer.text("outcome"), "confirmed", "{text}: {answer:?}");
}

/// The bodies of all messages that are in a queue.
async fn bodies(stage: &Stage, queue: &str) -> Vec<String> {
    stage.observer.drain(queue).await.iter().map(body).collect()
}

/// The results of a document, in its order.
fn results(answer: &Answer) -> Vec<String> {
    let items = answer.json()["results"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["result"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_file_of_the_recipes_is_tested_and_in_the_index() {
    let entries = fs::read_dir(root().join(FOLDER)).expect("the folder can be read");
    let mut files: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    let mut expected: Vec<_> =
        RECIPES.iter().flat_map(|it| [format!("{}.json", it.name), format!("{}.md", it.name)]).collect();
    expected.push("README.md".to_owned());
    files.sort();
    expected.sort();
    assert_eq!(files, expected);
    let index = Page::at(format!("{FOLDER}/README.md")).text;
    for Recipe { name, .. } in &RECIPES {
        assert!(index.contains(&format!("]({name}.md) |")), "the index has a line for {name}");
    }
}

#[test]
fn every_page_links_to_its_document_and_its_picture_has_every_exchange_and_queue() {
    for recipe in &RECIPES {
        let page = recipe.page().text;
        assert!(page.contains(&format!("({}.json)", recipe.name)), "{}", recipe.name);
        let (_, picture) = page.split_once("```mermaid\nflowchart LR\n").expect("a picture");
        let (picture, _) = picture.split_once("\n```\n").expect("the picture ends");
        let document = document(recipe.name);
        let items = ["exchanges", "queues"].iter().filter_map(|list| document[list].as_array()).flatten();
        for name in items.map(|item| item["name"].as_str().expect("a name")) {
            let is_drawn =
                [format!("\"{name}\""), format!("\"{name}<br>")].iter().any(|it| picture.contains(it));
            assert!(is_drawn, "{}: the picture does not have {name}", recipe.name);
        }
    }
}

/// All recipes in one virtual host, since their names do not collide.
#[tokio::test]
async fn every_recipe_is_applied_to_an_empty_host_and_applied_twice_it_changes_nothing() {
    let stage = Stage::set("recipes-twice").await;
    for Recipe { name, .. } in &RECIPES {
        let document = document(name);
        let first = apply(&stage.gateway, &document).await;
        assert_eq!(first.status, 200, "{name}: {first:?}");
        assert!(results(&first).iter().all(|it| it == "created" || it == "bound"), "{name}: {first:?}");
        let made = stage.vhost.definitions().await;
        let again = apply(&stage.gateway, &document).await;
        assert_eq!(again.status, 200, "{name}: {again:?}");
        assert!(results(&again).iter().all(|it| it == "exists" || it == "bound"), "{name}: {again:?}");
        assert_eq!(stage.vhost.definitions().await, made, "{name}");
    }
}

#[tokio::test]
async fn a_recipe_over_a_conflicting_queue_names_it_and_the_argument_and_makes_nothing() {
    let stage = Stage::set("recipes-conflict").await;
    for recipe in &RECIPES {
        recipe.make_conflict(&stage).await;
        let before = stage.vhost.definitions().await;
        let answer = apply(&stage.gateway, &document(recipe.name)).await;
        assert_eq!(answer.verdict(), (409, "precondition-failed".to_owned()), "{}", recipe.name);
        let detail = answer.text("detail");
        for named in [recipe.queue, recipe.difference] {
            assert!(detail.contains(&format!("'{named}'")), "{}: {named}: {detail}", recipe.name);
        }
        assert!(answer.text("field").starts_with("queues["), "{}: {answer:?}", recipe.name);
        assert_eq!(stage.vhost.definitions().await, before, "{}", recipe.name);
        stage.observer.delete_queue(recipe.queue).await;
    }
}

#[tokio::test]
async fn the_commands_of_every_recipe_run_as_they_are_written_and_leave_nothing_behind() {
    let stage = Stage::set("recipes-tour").await;
    let before = stage.vhost.definitions().await;
    let address = stage.gateway.address().to_string();
    for recipe in &RECIPES {
        let commands = walk(&recipe.page(), |command| command.replace(ADDRESS, &address)).await;
        assert!(commands >= 4, "{}: {commands} commands", recipe.name);
        assert_eq!(stage.vhost.definitions().await, before, "{}", recipe.name);
    }
}
