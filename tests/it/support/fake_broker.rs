//! `FakeBroker`: an AMQP 0-9-1 server that answers publishes in ways that a real RabbitMQ does not give on demand.
//!
//! It answers all methods at once and with success. It confirms publishes until a script is armed: then it waits for the number
//! of publishes in the script, and plays the steps.

#![expect(clippy::disallowed_types, reason = "independent of broker/convert.rs; names go through try_new")]

mod answers;
mod arrival;
mod conversation;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use amq_protocol::{
    frame::{AMQPFrame, gen_frame},
    types::ShortString,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc::UnboundedSender, oneshot},
    task::{JoinHandle, JoinSet},
};

pub use self::{answers::CHANNELS, arrival::Arrival};

/// The next action of the server. A number is that of a publish, in order of arrival.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Return(usize),
    Ack {
        of: usize,
        multiple: bool,
    },
    Nack {
        of: usize,
        multiple: bool,
    },
    /// Closes the channel of the first publish with this code and text.
    CloseChannel(u16, &'static str),
    /// Blocks the connection of the first publish.
    Block,
    /// Closes the socket of the first publish's connection.
    HangUp,
}

type Wire = UnboundedSender<Order>;

/// An order for the writing side of one connection.
#[derive(Debug)]
enum Order {
    /// Writes these bytes in pieces of these sizes.
    Say(Vec<u8>, Vec<usize>),
    HangUp,
}

/// A server on loopback; its connections end when the value is dropped.
pub struct FakeBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    seen: Vec<Arrival>,
    scripts: VecDeque<Script>,
    channels_opened: usize,
    nacks: Option<Nacks>,
}

/// The server nacks publishes with this routing key on the channels that were opened before this number.
struct Nacks {
    routing_key: String,
    channels: usize,
}

struct Script {
    count: usize,
    arrived: Vec<Arrival>,
    steps: Vec<Step>,
    cuts: Vec<usize>,
    played: oneshot::Sender<Vec<Arrival>>,
}

impl FakeBroker {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::<Shared>::default();
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self { address, shared, listening }
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.address)
    }

    /// After the scripts that were armed before, the server answers none of the next `count` publishes until all of them have
    /// arrived. Then it plays the steps, written in pieces of these sizes. A publish that no step answers stays unanswered. Gives
    /// the publishes in order of arrival.
    pub fn arm(&self, count: usize, steps: Vec<Step>, cuts: Vec<usize>) -> oneshot::Receiver<Vec<Arrival>> {
        let (played, arrivals) = oneshot::channel();
        let script = Script { count, arrived: Vec::new(), steps, cuts, played };
        self.shared.lock().scripts.push_back(script);
        arrivals
    }

    /// From now on, nacks publishes with this routing key on every channel that is open now, and confirms them on channels that
    /// are opened later. RabbitMQ does this when a channel's first publish fell into an election.
    pub fn nack_on_channels_of_now(&self, routing_key: &str) {
        let mut state = self.shared.lock();
        state.nacks = Some(Nacks { routing_key: routing_key.to_owned(), channels: state.channels_opened });
    }

    /// From now on, nacks publishes with this routing key on all channels, as a full queue does.
    pub fn nack_on_all_channels(&self, routing_key: &str) {
        let nacks = Nacks { routing_key: routing_key.to_owned(), channels: usize::MAX };
        self.shared.lock().nacks = Some(nacks);
    }

    /// From now on, confirms all publishes again.
    pub fn stop_nacks(&self) {
        self.shared.lock().nacks = None;
    }

    /// The number of channels opened since the start, on all connections.
    pub fn channels_opened(&self) -> usize {
        self.shared.lock().channels_opened
    }

    /// The connections on which messages with this id arrived, by the ends of their names. There are several connections for
    /// isolated messages, and each may carry one: `isolated-*`.
    pub fn brought(&self, id: &str) -> Vec<String> {
        let state = self.shared.lock();
        let arrivals = state.seen.iter().filter(|arrival| arrival.id == id);
        arrivals.map(|arrival| any_isolated(&arrival.connection).to_owned()).collect()
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The name of a connection, without the number if each connection of its role may carry a message.
pub fn any_isolated(connection: &str) -> &str {
    if connection.starts_with("isolated-") { "isolated-*" } else { connection }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("a TCP stream");
        connections.spawn(conversation::hold(stream, Arc::clone(&shared)));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no connection panics")
    }

    /// The number of channels that were opened before this one.
    fn channel_is_opened(&self) -> usize {
        let mut state = self.lock();
        state.channels_opened += 1;
        state.channels_opened - 1
    }

    fn arrived(&self, arrival: Arrival) {
        let mut state = self.lock();
        state.seen.push(arrival.clone());
        let Some(script) = state.scripts.front_mut() else {
            let is_refused = state.nacks.as_ref().is_some_and(|nacks| nacks.concern(&arrival));
            arrival.say(&[if is_refused { arrival.nack(false) } else { arrival.ack(false) }]);
            return;
        };
        script.arrived.push(arrival);
        if script.arrived.len() == script.count {
            state.scripts.pop_front().expect("a script is armed").play();
        }
    }
}

impl Nacks {
    fn concern(&self, arrival: &Arrival) -> bool {
        arrival.routing_key() == self.routing_key && arrival.channels_before < self.channels
    }
}

impl Script {
    fn play(self) {
        let mut bytes = Vec::new();
        for (number, step) in self.steps.iter().enumerate() {
            let arrival = &self.arrived[step.concerns()];
            let Some(frames) = arrival.frames(*step) else {
                arrival.order(Order::HangUp);
                break;
            };
            bytes.extend(frames.iter().flat_map(encode));
            let next = self.steps.get(number + 1).map(|step| &self.arrived[step.concerns()]);
            let goes_on = next.is_some_and(|next| next.wire.same_channel(&arrival.wire));
            if !goes_on || matches!(self.steps.get(number + 1), Some(Step::HangUp)) {
                arrival.order(Order::Say(std::mem::take(&mut bytes), self.cuts.clone()));
            }
        }
        // The test may have failed in the meantime.
        let _gone = self.played.send(self.arrived);
    }
}

impl Step {
    fn concerns(self) -> usize {
        match self {
            Self::Return(of) | Self::Ack { of, .. } | Self::Nack { of, .. } => of,
            Self::CloseChannel(..) | Self::Block | Self::HangUp => 0,
        }
    }
}

fn encode(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(Vec::new().into()).expect("a frame in memory").write
}

fn short(text: &str) -> ShortString {
    ShortString::try_new(text).expect("at most 255 bytes")
}
