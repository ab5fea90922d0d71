"""Rules that the contract cannot express for a program that makes requests from it.

Texts with a format of their own get values of that format. Some requests are changed or left out, each with its reason.
"""

import json
import re
from datetime import datetime

import schemathesis
from hypothesis import strategies as st

ENVELOPE = "application/vnd.amqp.message+json"
EVENT = "application/cloudevents+json"
EVENT_PARAMETERS = ["cloudevents", "routing_key_from"]
EVENTS = "application/cloudevents-batch+json"
LATEST = 253_402_300_799
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
TIMEOUTS = ["5000ms", "5s", "8", "6s500ms"]
# The plain words that RabbitMQ refuses for a type of queue. The list also depends on RabbitMQ's version.
REFUSED = {
    "classic": {"delivery_limit"},
    "quorum": {"durable", "auto_delete", "overflow", "max_priority"},
    "stream": {
        "durable", "auto_delete", "message_ttl_ms", "expires_ms", "max_length", "overflow", "max_priority", "delivery_limit",
        "single_active_consumer", "dead_letter",
    },
}

seconds = st.integers(0, LATEST).map(str)
rfc3339 = st.datetimes(min_value=datetime(1970, 1, 1)).map(lambda time: time.isoformat() + "Z")

schemathesis.openapi.format("timeout", st.sampled_from(TIMEOUTS))
schemathesis.openapi.format("timestamp", st.one_of(seconds, rfc3339))
schemathesis.openapi.format("percent-encoded", st.text("abc/.", min_size=1).map(lambda text: text + "%20%E2%82%AC"))
schemathesis.openapi.format("rfc3339", rfc3339)
schemathesis.openapi.format("lease-id", st.integers(0, 2**32).map(lambda serial: f"1.nobody.{serial:x}.0000000000000007"))
schemathesis.openapi.format("user", st.just("guest"))
schemathesis.openapi.format("arguments", st.sampled_from(["{}", '{"x-match":"any","tenant":"acme"}']))


@schemathesis.deserializer("application/octet-stream")
def bytes_as_text(context, response):
    return response.content.decode("latin-1")


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""


@schemathesis.deserializer("application/x-ndjson")
def last_line(context, response):
    return json.loads(response.content.splitlines()[-1])


@schemathesis.hook
def map_case(context, case):
    if case.media_type == ENVELOPE:
        leave_to_envelope(case)
    if case.path == "/rpc/{queue}":
        be_short(case)
    if case.path == "/publish/{exchange}":
        fit_event(case)
    if case.path == "/queues/{name}/messages/pull" and isinstance(case.body, dict):
        fit_pull(case)
    if case.path == "/queues/{name}/messages/settle" and case.meta and case.meta.generation.mode.is_positive:
        fit_settle(case)
    if case.path == "/queues/{name}/messages/next":
        not_wait(case)
    if case.path == "/publish/{exchange}/batch":
        fit_batch(case)
    if case.path.startswith("/publish/{exchange}"):
        find_exchange(case)
        if case.meta and case.meta.generation.mode.is_positive:
            have_one_id(case)
    if case.path == "/queues/{name}" and case.meta and case.meta.generation.mode.is_positive:
        fit_type(case)
    if "/bindings/" in case.path and case.meta and case.meta.generation.mode.is_positive:
        be_bindable(case)
    if case.path == "/exchanges/{name}" and case.meta and case.meta.generation.mode.is_positive:
        be_declarable(case)
    if case.path == "/topology" and case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        fit_topology(case)
    for member in ["headers", "arguments"]:
        if isinstance(case.body, dict) and isinstance(case.body.get(member), dict):
            case.body[member] = {name: mended(value) for name, value in case.body[member].items()}
    return case


def fit_type(case):
    if case.method == "PUT" and isinstance(case.body, dict):
        case.body = without_refused(case.body)
        # The gateway makes the names of the objects for dead letters from the name of the queue.
        if len(case.path_parameters["name"].encode()) > 250:
            case.body.pop("dead_letter", None)


def without_refused(queue):
    refused = REFUSED[queue.get("type") or "classic"]
    return {word: value for word, value in queue.items() if word not in refused}


def fit_topology(case):
    """Each item as in the operations on single objects, and each object once. The arguments are those of the other operations."""
    queues = {item["name"]: without_refused(item) for item in case.body.get("queues") or []}
    exchanges = [item["name"] for item in case.body.get("exchanges") or []]
    case.body = {
        "exchanges": [{"name": name, "type": "topic"} for name in sorted(set(exchanges) - {"amq.default"})],
        "queues": [{**queue, "arguments": {}} for queue in queues.values()],
        "bindings": [
            {"source": "amq.topic", "queue": name, "routing_key": "#"} for name in queues
        ],
    }


def be_bindable(case):
    """The default exchange can have no bindings, and `x-match` has four values."""
    for name, value in (case.path_parameters or {}).items():
        if value == "amq.default":
            case.path_parameters[name] = "amq.topic"
    if isinstance(case.body, dict) and isinstance(case.body.get("arguments"), dict):
        case.body["arguments"].pop("x-match", None)


def be_declarable(case):
    """Types of plugins depend on the RabbitMQ, and an alternate exchange may not have every value."""
    if case.method == "PUT" and isinstance(case.body, dict):
        case.body["type"] = "topic"
        case.body.get("arguments", {}).pop("alternate-exchange", None)
        if case.body.get("alternate_exchange") == "":
            del case.body["alternate_exchange"]


def find_exchange(case):
    """Most names belong to no exchange, and messages to a missing exchange test little: half of them go to an exchange that
    exists."""
    name = case.path_parameters.get("exchange")
    if isinstance(name, str) and name and not CONTROL.search(name) and len(name) % 2:
        case.path_parameters["exchange"] = "amq.topic"


def have_one_id(case):
    """An idempotency key is the id of the message: no parameter can depend on another one."""
    names = {name.lower(): name for name in case.headers or {}}
    if "idempotency-key" in names:
        if "x-amqp-message-id" in names:
            del case.headers[names["x-amqp-message-id"]]
        if isinstance(case.body, dict) and isinstance(case.body.get("properties"), dict):
            case.body["properties"].pop("message_id", None)


def leave_to_envelope(case):
    """The headers X-Amqp-* are for raw bodies, and what the query and the envelope both say must be the same: no parameter can
    depend on the body."""
    for name in [name for name in case.headers or {} if name.lower().startswith("x-amqp-")]:
        del case.headers[name]
    for name in ["routing_key", "mandatory"]:
        if isinstance(case.body, dict) and case.body.get(name) is not None:
            case.query.pop(name, None)


def fit_event(case):
    """What depends on the body: the headers of binary mode, the parameters about events, and the kind of `data`."""
    is_document = case.media_type == EVENT and isinstance(case.body, dict)
    is_binary = case.media_type not in [ENVELOPE, EVENT] and bool(header(case, "ce-specversion"))
    if not is_binary:
        for name in [name for name in case.headers or {} if name.lower().startswith("ce-")]:
            del case.headers[name]
    if not (is_document or is_binary):
        for name in EVENT_PARAMETERS:
            (case.query or {}).pop(name, None)
    if not (case.meta and case.meta.generation.mode.is_positive):
        return
    if is_document:
        case.body.pop("datacontenttype", None)
    if is_binary:
        for name in ["ce-id", "ce-source", "ce-type"]:
            if not header(case, name):
                case.headers[name] = "x"
    if "routing_key_from" in (case.query or {}):
        case.query["routing_key_from"] = "type"
        case.query.pop("routing_key", None)


def fit_batch(case):
    """The parameters about events are for a batch of events, and one of the two parameters names the routing key. The contract has no
    schema of a batch of events, because generators of clients fail on two kinds of arrays."""
    query = case.query or {}
    if case.media_type == EVENTS and case.meta and case.meta.generation.mode.is_positive:
        case.body = [{"specversion": "1.0", "id": "1", "source": "/", "type": "x", "data": case.body}]
    if case.media_type != EVENTS:
        for name in EVENT_PARAMETERS:
            query.pop(name, None)
    if "routing_key_from" in query and case.meta and case.meta.generation.mode.is_positive:
        query["routing_key_from"] = "type"
        query.pop("routing_key", None)


def fit_pull(case):
    """A pull from an empty queue waits for its whole time. The largest values are settings, so the contract cannot say them."""
    body = case.body
    if not (case.meta and case.meta.generation.mode.is_positive):
        if body.get("wait") in TIMEOUTS:
            body["wait"] = "200ms"
        return
    if body.get("max") is not None:
        body["max"] = 1 + int(body["max"]) % 250
    if body.get("wait") is not None:
        body["wait"] = "200ms" if isinstance(body["wait"], str) else 0
    if isinstance(body.get("lease"), (int, float)):
        body["lease"] = 1 + int(body["lease"]) % 60


def not_wait(case):
    """A queue without messages makes the caller wait."""
    query = case.query if isinstance(case.query, dict) else {}
    if query.get("wait") in [None, *TIMEOUTS]:
        case.query = {**query, "wait": "10ms"}


def fit_settle(case):
    """Each lease stands once among all members, and there is at least one."""
    seen = set()

    def is_new(item):
        id = item["lease_id"] if isinstance(item, dict) else item
        return id not in seen and not seen.add(id)

    target = case.body.pop("dead_letter_to", None)
    case.body = {member: [item for item in items or [] if is_new(item)] for member, items in case.body.items()}
    for item in case.body.get("extend", []):
        if isinstance(item["lease"], (int, float)):
            item["lease"] = 1 + int(item["lease"]) % 60
    for item in case.body.get("retry", []):
        if isinstance(item.get("delay"), (int, float)):
            item["delay"] = int(item["delay"]) % 60
    if target:
        case.body["dead_letter_to"] = {**target, "exchange": "amq.topic"}
    if not seen:
        case.body["ack"] = ["1.nobody.0.0000000000000007"]


def header(case, name):
    return next((value for given, value in (case.headers or {}).items() if given.lower() == name), None)


def mended(value):
    """An inner table without values that AMQP does not have: control characters in names, integers beyond 64 bits. The
    contract says so of the outer names only, since generators of clients fail on a schema that refers to itself."""
    if isinstance(value, dict):
        return {name: mended(inner) for name, inner in value.items() if not CONTROL.search(name)}
    if isinstance(value, list):
        return [mended(inner) for inner in value]
    return 0 if isinstance(value, int) and abs(value) >= 2**63 else value


def be_short(case):
    """A call waits for its whole timeout when no server answers."""
    if (case.query or {}).get("timeout") in TIMEOUTS:
        case.query["timeout"] = "200ms"


@schemathesis.hook
def filter_case(context, case):
    """HTTP ignores headers that it does not know (RFC 9110, 5.1), so they are not wrong data."""
    return not any("unknown-property" in name for name in case.headers or {})
