//! The answers of a healthy RabbitMQ to all methods but publishes.

use amq_protocol::protocol::{
    AMQPClass, basic, channel, confirm, connection,
    connection::{Start, Tune},
    exchange, queue,
};

use super::short;

/// Channels of one connection: few, so that the gateway uses their numbers again soon.
pub const CHANNELS: u16 = 32;

/// The first method of the conversation.
pub(super) fn greeting() -> AMQPClass {
    AMQPClass::Connection(connection::AMQPMethod::Start(Start {
        version_major: 0,
        version_minor: 9,
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
        ..Start::default()
    }))
}

/// The answer, if the method has one.
pub(super) fn to(asked: &AMQPClass) -> Option<AMQPClass> {
    Some(match asked {
        AMQPClass::Connection(asked) => AMQPClass::Connection(to_connection(asked)?),
        AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))
        }
        AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {}))
        }
        AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => {
            AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))
        }
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(_)) => {
            AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
        }
        AMQPClass::Queue(asked) => AMQPClass::Queue(to_queue(asked)?),
        AMQPClass::Basic(asked) => AMQPClass::Basic(to_basic(asked)?),
        _ => return None,
    })
}

/// Whether the method opens or closes the channel with this number.
pub(super) fn is_about_a_channel(asked: &AMQPClass) -> bool {
    matches!(asked, AMQPClass::Channel(_))
}

pub(super) fn opens_a_channel(asked: &AMQPClass) -> bool {
    matches!(asked, AMQPClass::Channel(channel::AMQPMethod::Open(_)))
}

fn to_connection(asked: &connection::AMQPMethod) -> Option<connection::AMQPMethod> {
    use connection::{AMQPMethod, CloseOk, OpenOk};
    Some(match asked {
        AMQPMethod::StartOk(_) => {
            AMQPMethod::Tune(Tune { channel_max: CHANNELS, frame_max: 128 * 1024, heartbeat: 0 })
        }
        AMQPMethod::Open(_) => AMQPMethod::OpenOk(OpenOk {}),
        AMQPMethod::Close(_) => AMQPMethod::CloseOk(CloseOk {}),
        _ => return None,
    })
}

fn to_queue(asked: &queue::AMQPMethod) -> Option<queue::AMQPMethod> {
    use queue::{AMQPMethod, BindOk, DeclareOk, DeleteOk, PurgeOk};
    Some(match asked {
        AMQPMethod::Declare(asked) => {
            let queue = if asked.queue.as_str().is_empty() { short("fake") } else { asked.queue.clone() };
            AMQPMethod::DeclareOk(DeclareOk { queue, message_count: 0, consumer_count: 0 })
        }
        AMQPMethod::Bind(_) => AMQPMethod::BindOk(BindOk {}),
        AMQPMethod::Delete(_) => AMQPMethod::DeleteOk(DeleteOk { message_count: 0 }),
        AMQPMethod::Purge(_) => AMQPMethod::PurgeOk(PurgeOk { message_count: 0 }),
        _ => return None,
    })
}

fn to_basic(asked: &basic::AMQPMethod) -> Option<basic::AMQPMethod> {
    use basic::{AMQPMethod, CancelOk, ConsumeOk, QosOk};
    Some(match asked {
        AMQPMethod::Qos(_) => AMQPMethod::QosOk(QosOk {}),
        AMQPMethod::Consume(asked) => {
            AMQPMethod::ConsumeOk(ConsumeOk { consumer_tag: asked.consumer_tag.clone() })
        }
        AMQPMethod::Cancel(asked) => {
            AMQPMethod::CancelOk(CancelOk { consumer_tag: asked.consumer_tag.clone() })
        }
        _ => return None,
    })
}
