//! One connection: reads the gateway's frames one by one and answers them.

use std::{collections::HashMap, io, sync::Arc};

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, parse_frame},
    protocol::{AMQPClass, basic, connection},
    types::AMQPValue,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::yield_now,
};

use super::{Arrival, Order, Shared, Wire, answers, encode};

/// Type, channel and size of a frame.
const HEAD: usize = 7;

/// Runs until one side closes the connection.
pub(super) async fn hold(stream: TcpStream, shared: Arc<Shared>) {
    let (from, to) = stream.into_split();
    let (wire, orders) = mpsc::unbounded_channel();
    let conversation = Conversation { wire, shared, name: String::new(), channels: HashMap::new() };
    // The end of either half ends the connection, with or without an error.
    let _end = tokio::select! {
        end = conversation.listen(from) => end,
        end = speak(to, orders) => end,
    };
}

async fn speak(mut to: OwnedWriteHalf, mut orders: mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Say(bytes, cuts) => say(&mut to, &bytes, &cuts).await?,
            Order::HangUp => break,
        }
    }
    to.shutdown().await
}

async fn say(to: &mut OwnedWriteHalf, mut bytes: &[u8], cuts: &[usize]) -> io::Result<()> {
    for cut in cuts.iter().cycle() {
        let (piece, rest) = bytes.split_at((*cut).min(bytes.len()));
        to.write_all(piece).await?;
        yield_now().await;
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    to.write_all(bytes).await
}

struct Conversation {
    wire: Wire,
    shared: Arc<Shared>,
    name: String,
    channels: HashMap<u16, Channel>,
}

#[derive(Default)]
struct Channel {
    /// The number of channels that the server had opened before this one.
    before: usize,
    published: u64,
    coming: Option<Coming>,
}

/// A publish of which some frames have not arrived.
struct Coming {
    publish: basic::Publish,
    header: Option<AMQPContentHeader>,
    body: Vec<u8>,
}

impl Conversation {
    async fn listen(mut self, mut from: OwnedReadHalf) -> io::Result<()> {
        let mut protocol = [0; 8];
        from.read_exact(&mut protocol).await?;
        self.say(0, answers::greeting());
        loop {
            let frame = read_frame(&mut from).await?;
            self.hear(frame);
        }
    }

    fn say(&self, channel: u16, method: AMQPClass) {
        let bytes = encode(&AMQPFrame::Method(channel, method));
        // The writing side may have ended.
        let _gone = self.wire.send(Order::Say(bytes, Vec::new()));
    }

    fn hear(&mut self, frame: AMQPFrame) {
        match frame {
            AMQPFrame::Method(channel, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) => {
                let coming = Coming { publish, header: None, body: Vec::new() };
                self.channels.entry(channel).or_default().coming = Some(coming);
            }
            AMQPFrame::Method(channel, method) => {
                if let AMQPClass::Connection(connection::AMQPMethod::StartOk(start)) = &method {
                    self.name = last_word(start.client_properties.inner().get("connection_name"));
                }
                if let Some(answer) = answers::to(&method) {
                    self.say(channel, answer);
                }
                if answers::is_about_a_channel(&method) {
                    self.channels.remove(&channel);
                }
                if answers::opens_a_channel(&method) {
                    let before = self.shared.channel_is_opened();
                    self.channels.insert(channel, Channel { before, ..Channel::default() });
                }
            }
            AMQPFrame::Header(channel, header) => self.comes(channel, |coming| coming.header = Some(header)),
            AMQPFrame::Body(channel, piece) => self.comes(channel, |coming| coming.body.extend(piece)),
            _ => {}
        }
    }

    fn comes(&mut self, number: u16, add: impl FnOnce(&mut Coming)) {
        let channel = self.channels.entry(number).or_default();
        let Some(coming) = &mut channel.coming else { return };
        add(coming);
        if coming.header.as_ref().is_none_or(|header| header.body_size > coming.body.len() as u64) {
            return;
        }
        let Some(Coming { publish, header: Some(header), body }) = channel.coming.take() else { return };
        channel.published += 1;
        self.shared.arrived(Arrival {
            id: header.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
            body,
            connection: self.name.clone(),
            channel: number,
            channels_before: channel.before,
            tag: channel.published,
            publish,
            properties: header.properties,
            wire: self.wire.clone(),
        });
    }
}

fn last_word(name: Option<&AMQPValue>) -> String {
    let Some(AMQPValue::LongString(name)) = name else { return String::new() };
    name.to_string().rsplit(' ').next().unwrap_or_default().to_owned()
}

async fn read_frame(from: &mut OwnedReadHalf) -> io::Result<AMQPFrame> {
    let mut frame = vec![0; HEAD];
    from.read_exact(&mut frame).await?;
    let size: [u8; 4] = frame[3..].try_into().expect("four bytes");
    frame.resize(HEAD + u32::from_be_bytes(size) as usize + 1, 0);
    from.read_exact(&mut frame[HEAD..]).await?;
    let (_, frame) = parse_frame(frame.as_slice()).expect("the gateway speaks AMQP");
    Ok(frame)
}
