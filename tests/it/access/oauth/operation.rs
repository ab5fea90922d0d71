//! Operations that both sides decide about.

use rabbitmq_gateway::domain::access::Verb;

use super::{
    places::{
        self, ABSENT_EXCHANGES, DEFAULT, EXCHANGES, EXISTING_QUEUES, Exchange, GENERATED_QUEUE, KEYS, Kind,
        PAIRS, Pair, QUEUES,
    },
    random::Random,
};

/// A queue or an exchange that gets messages by a binding.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    Queue(&'static str),
    Exchange(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub struct Binding {
    pub target: Target,
    pub source: Exchange,
    pub key: &'static str,
    pub has_arguments: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Publish {
    pub exchange: Exchange,
    pub key: &'static str,
    /// A header that routes the message by another routing key too.
    pub copy: Option<(&'static str, &'static str)>,
    pub reply_to: Option<&'static str>,
}

/// Exchanges are named as in a path.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    Publish(Publish),
    Call {
        queue: &'static str,
    },
    Take {
        queue: &'static str,
    },
    Purge {
        queue: &'static str,
    },
    LookAtQueue {
        queue: &'static str,
    },
    LookAtExchange {
        exchange: &'static str,
    },
    DeclareQueue {
        queue: &'static str,
        exists: bool,
        dead_letters: Option<(&'static str, Option<&'static str>)>,
    },
    /// With an exchange and a queue for its dead letters, which are declared and bound too.
    DeclareWithPair(Pair),
    DeclareExchange {
        exchange: &'static str,
        kind: Kind,
        alternate: Option<&'static str>,
    },
    DeleteQueue {
        queue: &'static str,
    },
    DeleteExchange {
        exchange: &'static str,
    },
    Bind(Binding),
    Unbind(Binding),
}

/// A permission that has to do with an operation, whether or not a side needs it.
#[derive(Debug, Clone, Copy)]
pub struct Touched {
    pub verb: Verb,
    pub name: &'static str,
    pub key: &'static str,
}

const fn touched(verb: Verb, name: &'static str, key: &'static str) -> Touched {
    Touched { verb, name, key }
}

/// RabbitMQ lets no client declare or delete exchanges and queues with such a name.
const RESERVED: &str = "amq.";

impl Operation {
    pub fn any(random: &mut Random) -> Self {
        match random.below(26) {
            0..7 => Self::Publish(Publish::any(random)),
            7 => Self::Call { queue: random.one_of(&QUEUES) },
            8 => Self::Take { queue: queue_or_generated(random) },
            9 => Self::Purge { queue: queue_or_generated(random) },
            10 => Self::LookAtQueue { queue: queue_or_generated(random) },
            11 => Self::LookAtExchange { exchange: exchange_or_absent(random) },
            12..16 => Self::any_queue_declaration(random),
            16..18 => Self::any_exchange_declaration(random),
            18 => Self::DeleteQueue { queue: random.one_of(&QUEUES[EXISTING_QUEUES..]) },
            19 => Self::DeleteExchange { exchange: random.one_of(&ABSENT_EXCHANGES) },
            20 => Self::DeclareWithPair(random.one_of(&PAIRS)),
            21..23 => Self::Unbind(Binding::any(random)),
            _ => Self::Bind(Binding::any(random)),
        }
    }

    /// The permissions that have to do with it.
    pub fn touches(&self) -> Vec<Touched> {
        let write = |name, key| touched(Verb::Write, name, key);
        let read = |name| touched(Verb::Read, name, "");
        let configure = |name| touched(Verb::Configure, name, "");
        match *self {
            Self::Publish(Publish { exchange, key, reply_to, .. }) => {
                let replies =
                    reply_to.into_iter().flat_map(|queue| [read(queue), write(DEFAULT.name, queue)]);
                [write(exchange.name, key)].into_iter().chain(replies).collect()
            }
            Self::Call { queue } => vec![touched(Verb::Call, queue, "")],
            Self::Take { queue: name }
            | Self::Purge { queue: name }
            | Self::LookAtQueue { queue: name }
            | Self::LookAtExchange { exchange: name } => vec![read(name)],
            Self::DeclareQueue { queue, dead_letters, .. } => {
                let send =
                    |(exchange, key): (_, Option<_>)| [read(queue), write(exchange, key.unwrap_or_default())];
                let dead_letters = dead_letters.into_iter().flat_map(send);
                [configure(queue)].into_iter().chain(dead_letters).collect()
            }
            Self::DeclareWithPair(Pair { queue, exchange, dead_letters }) => vec![
                configure(queue),
                read(queue),
                configure(exchange),
                read(exchange),
                write(exchange, ""),
                configure(dead_letters),
                write(dead_letters, ""),
            ],
            Self::DeclareExchange { exchange, alternate, .. } => {
                let alternate = alternate.into_iter().flat_map(|name| [read(exchange), write(name, "")]);
                [configure(exchange)].into_iter().chain(alternate).collect()
            }
            Self::DeleteQueue { queue: name } | Self::DeleteExchange { exchange: name } => {
                vec![configure(name)]
            }
            Self::Bind(Binding { target, source, key, .. })
            | Self::Unbind(Binding { target, source, key, .. }) => {
                let (Target::Queue(target) | Target::Exchange(target)) = target;
                vec![write(target, ""), touched(Verb::Read, source.name, key)]
            }
        }
    }

    fn any_queue_declaration(random: &mut Random) -> Self {
        let at = random.below(QUEUES.len() - 1);
        let dead_letters = random.percent(80).then(|| {
            let exchange = if random.percent(20) { DEFAULT.name } else { exchange_or_absent(random) };
            (exchange, random.percent(50).then(|| random.one_of(&KEYS)))
        });
        Self::DeclareQueue { queue: QUEUES[at], exists: at < EXISTING_QUEUES, dead_letters }
    }

    fn any_exchange_declaration(random: &mut Random) -> Self {
        let declared: Vec<_> = EXCHANGES.iter().filter(|it| !it.name.starts_with(RESERVED)).collect();
        let (exchange, kind) = if random.percent(50) {
            (random.one_of(&ABSENT_EXCHANGES), Kind::Absent)
        } else {
            let exchange = random.one_of(&declared);
            (exchange.name, exchange.kind)
        };
        let alternate = random.percent(70).then(|| exchange_or_absent(random));
        Self::DeclareExchange { exchange, kind, alternate }
    }
}

impl Publish {
    fn any(random: &mut Random) -> Self {
        let is_default = random.percent(20);
        let exchange = if is_default { DEFAULT } else { random.one_of(&EXCHANGES) };
        let key = |random: &mut Random| {
            if is_default { random.one_of(&QUEUES) } else { random.one_of(&KEYS) }
        };
        Self {
            exchange,
            key: key(random),
            copy: random.percent(30).then(|| (random.one_of(&["CC", "BCC"]), key(random))),
            reply_to: random.percent(20).then(|| queue_or_generated(random)),
        }
    }
}

impl Binding {
    fn any(random: &mut Random) -> Self {
        let target = if random.percent(60) {
            Target::Queue(random.one_of(&QUEUES))
        } else {
            Target::Exchange(random.one_of(&EXCHANGES).name)
        };
        let source = match random.below(10) {
            0 => places::TRACE,
            1 => Exchange { name: random.one_of(&ABSENT_EXCHANGES), kind: Kind::Absent },
            _ => random.one_of(&EXCHANGES),
        };
        Self { target, source, key: random.one_of(&KEYS), has_arguments: random.percent(40) }
    }
}

fn queue_or_generated(random: &mut Random) -> &'static str {
    if random.percent(10) { GENERATED_QUEUE } else { random.one_of(&QUEUES) }
}

fn exchange_or_absent(random: &mut Random) -> &'static str {
    if random.percent(20) { random.one_of(&ABSENT_EXCHANGES) } else { random.one_of(&EXCHANGES).name }
}
