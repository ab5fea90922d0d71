//! A lost reply queue: calls whose request was written end at once, and calls whose request was not written wait for a new reply
//! queue.

use std::time::Instant;

use futures_util::future::join_all;

use super::{SOON, call, problem};
use crate::support::{
    broker::Broker,
    contract::Answer,
    echo::{answer, echo, serve},
    gateway::TestGateway,
    link::{Link, Mode, Way},
    load::{prove, publish},
    observer::Observer,
    poll::eventually,
    stage::Stage,
};

#[tokio::test]
async fn a_lost_reply_queue_ends_every_pending_call_at_once_and_the_next_call_works() {
    let stage = Stage::set("rpc-lost").await;
    serve(&stage.observer, "echo", echo).await;
    stage.observer.declare_queue("idle").await;
    let waiting = async { join_all((0..5).map(|_| call(&stage, "/rpc/idle?timeout=30s", "x"))).await };
    let cut = async {
        let arrived = || async { stage.observer.count("idle").await == Some(5) };
        eventually(SOON, "five requests wait", arrived).await;
        stage.vhost.close_connections().await;
    };
    let begun = Instant::now();
    let (answers, ()) = tokio::join!(waiting, cut);
    for answer in answers {
        assert_eq!(answer.verdict(), problem(502, "reply-channel-lost"));
        assert_eq!(answer.text("outcome"), "unknown");
    }
    assert!(begun.elapsed() < SOON, "the calls end at once, not at the deadline");
    let observer = Observer::connect(&stage.vhost.url).await;
    serve(&observer, "echo", echo).await;
    assert_eq!(call(&stage, "/rpc/echo", "back").await.body, b"back");
}

/// A publish whose confirm the link holds back has the only permit.
#[tokio::test]
async fn a_call_that_was_not_sent_yet_is_answered_although_the_reply_queue_was_lost() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("rpc-unsent").await;
    let link = Link::to(broker.address()).await;
    let (url, observer) = (vhost.url_by(link.addr()), Observer::connect(&vhost.url).await);
    observer.declare_queue("q").await;
    observer.declare_queue("work").await;
    let one = [("AMQP_URL", &*url), ("RABBITMQ_POOL_SIZE", "1"), ("RABBITMQ_CHANNEL_WINDOW", "1")];
    let gateway = TestGateway::start(&one).await;
    prove(&gateway, "amq.default?routing_key=q").await;
    publish(&gateway, "amq.default?routing_key=q", "warm").await.assert_confirmed();
    // This answer shows that a reply queue exists.
    assert_eq!(Answer::to(gateway.post("/rpc/nobody").body("x")).await.status, 404);

    link.set(Mode::Stall(Way::ToClient));
    let holds = publish(&gateway, "amq.default?routing_key=q&timeout=25s", "holds");
    let calls = async {
        let held = || async { observer.count("q").await == Some(3) };
        eventually(SOON, "the permit is in use", held).await;
        Answer::to(gateway.post("/rpc/work?timeout=25s").body("x")).await
    };
    let cut = async {
        let waits = || async { gateway.metric("gateway_publishes_waiting").await == Some(1.0) };
        eventually(SOON, "the call waits for the permit", waits).await;
        link.cut();
        eventually(SOON, "the gateway notices the loss", || async { !gateway.is_ready().await }).await;
        link.mend();
        let request = observer.get_one("work", SOON).await;
        answer(&observer.channel().await, &request, echo).await;
    };
    let (held, called, ()) = tokio::join!(holds, calls, cut);
    assert_eq!((called.status, called.body.as_slice()), (200, &b"x"[..]));
    assert!(held.is_duplicate_possible(), "{held:?}");
    assert_eq!(observer.count("work").await, Some(0), "asked once");
    gateway.stop().await;
}
