"""Pulls and settles messages by every action, with the client that openapi-python-client made from the contract.

Settles one message by each action: in `pulled` by one settle, in `taken` by the paths of the leases, one after the other. Replies to the
call in the queue `q`, whose caller waits by direct reply-to.
"""

import datetime
import io

from gateway_client.api.messages import (
    ack_lease,
    ack_lease_by_post,
    dead_letter_lease,
    extend_lease,
    pull_messages,
    reject_lease,
    release_lease,
    reply_to_lease,
    retry_lease,
    settle_messages,
    take_next_message,
)
from gateway_client.api.publish import publish_message
from gateway_client.api.queues import declare_queue
from gateway_client.models import (
    DeadLetterItem,
    Envelope,
    ExtendItem,
    MessageProperties,
    Outcome,
    ProblemType,
    PulledMessages,
    PullRequest,
    QueueDeclaration,
    ReplyEnvelope,
    ReplyItem,
    ReplyProperties,
    RetryItem,
    SettleAction,
    SettleOutcome,
    SettleRequest,
    SettleResults,
)
from gateway_client.types import UNSET, File


def prepare(client, queue, count):
    """A queue with dead letters, and messages 0, 1, … whose replies go to the queue `replies`."""
    declare_queue.sync(queue, client=client, body=QueueDeclaration(dead_letter=True))
    declare_queue.sync("replies", client=client, body=QueueDeclaration())
    for number in range(count):
        properties = MessageProperties(message_id=f"{queue}-{number}", reply_to="replies", correlation_id=f"{queue}-{number}")
        envelope = Envelope(body={"number": number}, properties=properties)
        receipt = publish_message.sync("amq.default", client=client, body=envelope, routing_key=queue)
        assert receipt.outcome is Outcome.CONFIRMED, receipt


def pull(client, queue, count):
    messages = []
    while len(messages) < count:
        body = PullRequest(max_=count - len(messages), wait="1s", lease="1m")
        pulled = pull_messages.sync(queue, client=client, body=body)
        assert isinstance(pulled, PulledMessages) and pulled.messages, pulled
        messages += pulled.messages
    return messages


def settle(client, queue, **actions):
    answer = settle_messages.sync_detailed(queue, client=client, body=SettleRequest(**actions))
    assert isinstance(answer.parsed, SettleResults), answer
    return answer.status_code, answer.parsed


def settles_by_every_action(client):
    prepare(client, "pulled", 7)
    messages = pull(client, "pulled", 7)
    assert [message.body["number"] for message in messages] == list(range(7)), messages
    assert all(isinstance(message.lease_expires_at, datetime.datetime) for message in messages), messages
    first = messages[0]
    assert (first.delivery_attempt, first.redelivered, first.exchange) == (1, False, "amq.default"), first
    assert (first.properties.message_id, first.broker) == ("pulled-0", UNSET), first
    acked, released, rejected, extended, retried, dead, called = leases = [message.lease_id for message in messages]
    actions = {
        "ack": [acked],
        "release": [released],
        "reject": [rejected],
        "extend": [ExtendItem(lease_id=extended, lease="2m")],
        "retry": [RetryItem(lease_id=retried, delay="1m", reason="the database is down")],
        "dead_letter": [DeadLetterItem(lease_id=dead, reason="no number")],
        "reply": [ReplyItem(lease_id=called, body={"sum": 30}, properties=ReplyProperties(type_="sum"))],
    }
    status, settled = settle(client, "pulled", **actions)
    assert (status, settled.counts.failed, settled.counts.replied) == (200, 0, 1), settled
    results = settled.results
    assert [result.lease_id for result in results] == leases, settled
    assert [result.action for result in results] == [SettleAction(action) for action in actions], settled
    assert [result.outcome for result in results] == list(map(SettleOutcome, [
        "acked", "released", "rejected", "extended", "retried", "dead_lettered", "replied",
    ])), settled
    assert all(result.problem is UNSET for result in results), settled
    assert isinstance(results[3].lease_expires_at, datetime.datetime), settled
    assert isinstance(results[4].retry_at, datetime.datetime), settled
    assert (results[4].message_id, results[4].duplicate_possible) == ("pulled-4", False), settled
    assert (results[6].reply_delivered, results[0].reply_delivered) == (True, UNSET), settled
    reads_problems_of_items(client, extended, acked)


def reads_problems_of_items(client, extended, acked):
    status, settled = settle(client, "pulled", ack=[extended, "1.JzTY20BRgKO-HjmUJj0wLg.1.0000000000000000"], reject=[acked])
    done, unknown, contradicting = settled.results
    assert (status, settled.counts.acked, settled.counts.failed) == (207, 1, 2), settled
    assert (done.outcome, done.problem) == (SettleOutcome.ACKED, UNSET), settled
    assert (unknown.outcome, unknown.problem.type_, unknown.problem.status) == (UNSET, ProblemType.LEASE_EXPIRED, 410), settled
    assert (contradicting.problem.type_, contradicting.problem.retryable) == (ProblemType.LEASE_SETTLED, False), settled
    assert contradicting.problem.settled_as.value == "acked", settled


def replies_by_direct_reply_to(client):
    [call] = pull(client, "q", 1)
    assert call.broker.reply_to.startswith("amq.rabbitmq.reply-to."), call
    _, settled = settle(client, "q", reply=[ReplyItem(lease_id=call.lease_id, body_text="30")])
    [result] = settled.results
    assert (result.outcome, result.reply_delivered) == (SettleOutcome.REPLIED, None), settled


def take(client):
    """The lease of the next message."""
    taken = take_next_message.sync_detailed("taken", client=client, wait="1s", lease="1m")
    assert (taken.status_code, type(taken.parsed)) == (200, File), taken
    assert b'"number":' in taken.parsed.payload.read(), taken
    return taken.headers["location"].removeprefix("/queues/taken/leases/")


def settles_by_the_path_of_a_lease(client):
    prepare(client, "taken", 8)

    def done(operation, lease_id, **options):
        answer = operation.sync_detailed("taken", lease_id, client=client, **options)
        assert (answer.status_code, answer.parsed) == (204, None), answer
        return answer.headers

    acked = take(client)
    done(ack_lease, acked)
    done(ack_lease_by_post, take(client))
    done(reject_lease, take(client))
    extended = take(client)
    assert done(extend_lease, extended, lease="2m")["x-lease-expires-at"]
    assert done(retry_lease, extended, delay="1m", reason="the database is down")["x-retry-at"]
    done(dead_letter_lease, take(client), reason="no number")
    reply = ReplyEnvelope(body={"sum": 30}, properties=ReplyProperties(type_="sum"))
    assert done(reply_to_lease, take(client), body=reply)["x-reply-delivered"] == "true"
    bytes_of_reply = File(payload=io.BytesIO(b"\x00\xff"))
    assert done(reply_to_lease, take(client), body=bytes_of_reply)["x-reply-delivered"] == "true"
    done(release_lease, take(client))
    contradicting = release_lease.sync("taken", acked, client=client)
    assert (contradicting.type_, contradicting.status) == (ProblemType.LEASE_SETTLED, 409), contradicting
    assert take_next_message.sync_detailed("replies.none", client=client, wait="0s").parsed.type_ is ProblemType.QUEUE_NOT_FOUND


def pulls_and_settles(client):
    settles_by_every_action(client)
    replies_by_direct_reply_to(client)
    settles_by_the_path_of_a_lease(client)
