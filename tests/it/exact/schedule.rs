//! `Schedule`: the order in which a server answers publishes, its answers, how it ends, and the right answer to each caller.

use proptest::{collection::vec, prelude::*};

use crate::support::fake_broker::Step;

/// The server's answer to one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Ack,
    Nack,
    /// Returned, and acked after that.
    Returned,
}

/// How the schedule ends for the publishes without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// They are answered like the others.
    Answered,
    ChannelClosed(u16),
    /// The text names the exchange, which is the same for all publishes.
    ExchangeMissing,
    HungUp,
    BlockedAndHungUp,
    Silence,
}

/// The answer that the caller is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Confirmed,
    /// Sent again, after the first attempt was lost.
    ConfirmedAgain,
    Rejected,
    Unroutable,
    /// The exchange is missing, and no message of another exchange can have caused the close.
    NotSent,
    Unknown,
}

/// All numbers are those of publishes, in order of arrival.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub fates: Vec<Fate>,
    /// The order of the answers.
    pub order: Vec<usize>,
    /// How many of the order come before the end.
    pub answered: usize,
    /// The latest place in the order of each return; a return comes at the latest right before its own ack.
    pub returned_at: Vec<usize>,
    /// Whether an answer covers all publishes before it that have the same answer.
    pub multiple: Vec<bool>,
    pub end: End,
    /// Whether the callers want a second attempt.
    pub retry: bool,
    pub cuts: Vec<usize>,
}

impl Schedule {
    /// A schedule of at most 16 publishes.
    pub fn any() -> impl Strategy<Value = Self> {
        (1..=16_usize).prop_flat_map(|count| {
            let order = Just((0..count).collect::<Vec<_>>()).prop_shuffle();
            let fates = vec(
                prop_oneof![2 => Just(Fate::Ack), 1 => Just(Fate::Nack), 1 => Just(Fate::Returned)],
                count,
            );
            let answers = (fates, order, vec(0..=count, count), vec(any::<bool>(), count));
            let rest = (0..=count, any_end(), any::<bool>(), vec(1..80_usize, 1..6));
            (answers, rest).prop_map(
                |((fates, order, returned_at, multiple), (answered, end, retry, cuts))| {
                    let answered = if end == End::Answered { fates.len() } else { answered };
                    Self { fates, order, answered, returned_at, multiple, end, retry, cuts }
                },
            )
        })
    }

    /// The steps of the server, and the publishes that they answer.
    pub fn play(&self) -> Play<'_> {
        let none = vec![false; self.fates.len()];
        let mut play = Play { schedule: self, steps: Vec::new(), settled: none.clone(), returned: none };
        for (turn, &of) in self.order[..self.answered].iter().enumerate() {
            let covered = play.covered_with(of);
            play.give_back(turn, &covered);
            play.answer(of, &covered);
        }
        play.steps.extend(self.end.steps());
        play
    }
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        12 => Just(End::Answered),
        6 => prop_oneof![Just(404), Just(403), Just(406)].prop_map(End::ChannelClosed),
        4 => Just(End::ExchangeMissing),
        4 => Just(End::HungUp),
        2 => Just(End::BlockedAndHungUp),
        1 => Just(End::Silence),
    ]
}

impl End {
    fn steps(self) -> Vec<Step> {
        match self {
            Self::Answered | Self::Silence => vec![],
            Self::ChannelClosed(code) => vec![Step::CloseChannel(code, "CLOSED - by the script")],
            Self::ExchangeMissing => {
                vec![Step::CloseChannel(404, "NOT_FOUND - no exchange 'x' in vhost '/'")]
            }
            Self::HungUp => vec![Step::HangUp],
            Self::BlockedAndHungUp => vec![Step::Block, Step::HangUp],
        }
    }
}

/// A schedule during its play.
pub struct Play<'a> {
    schedule: &'a Schedule,
    pub steps: Vec<Step>,
    settled: Vec<bool>,
    returned: Vec<bool>,
}

impl Play<'_> {
    /// The answer that the caller of this publish is to get.
    pub fn verdict(&self, number: usize) -> Verdict {
        let Schedule { fates, end, retry, .. } = self.schedule;
        match (self.settled[number], fates[number], end) {
            (true, Fate::Ack, _) => Verdict::Confirmed,
            (true, Fate::Nack, _) => Verdict::Rejected,
            (true, Fate::Returned, _) => Verdict::Unroutable,
            (false, _, End::Silence) => Verdict::Unknown,
            (false, ..) if self.returned[number] => Verdict::Unroutable,
            (false, _, End::ExchangeMissing) if self.unheard_of() == 1 => Verdict::NotSent,
            (false, _, End::ChannelClosed(_) | End::ExchangeMissing | End::HungUp) if *retry => {
                Verdict::ConfirmedAgain
            }
            (false, ..) => Verdict::Unknown,
        }
    }

    /// The number of publishes that the server does not answer.
    fn unheard_of(&self) -> usize {
        self.settled.iter().zip(&self.returned).filter(|heard| *heard == (&false, &false)).count()
    }

    /// The publishes that the answer to this one covers: none when another answer has covered it.
    fn covered_with(&self, of: usize) -> Vec<usize> {
        let open: Vec<_> = (0..=of).filter(|number| !self.settled[*number]).collect();
        let is_nacked = |number: usize| self.schedule.fates[number] == Fate::Nack;
        if self.settled[of] {
            vec![]
        } else if self.schedule.multiple[of] && open.iter().all(|it| is_nacked(*it) == is_nacked(of)) {
            open
        } else {
            vec![of]
        }
    }

    /// Returns the messages whose turn it is, or whose ack comes next.
    fn give_back(&mut self, turn: usize, covered: &[usize]) {
        let Schedule { fates, returned_at, .. } = self.schedule;
        let due = |number: &usize| returned_at[*number] <= turn || covered.contains(number);
        for number in (0..fates.len()).filter(due) {
            if fates[number] == Fate::Returned && !std::mem::replace(&mut self.returned[number], true) {
                self.steps.push(Step::Return(number));
            }
        }
    }

    fn answer(&mut self, of: usize, covered: &[usize]) {
        if covered.is_empty() {
            return;
        }
        let multiple = covered.len() > 1;
        self.steps.push(match self.schedule.fates[of] {
            Fate::Nack => Step::Nack { of, multiple },
            Fate::Ack | Fate::Returned => Step::Ack { of, multiple },
        });
        for number in covered {
            self.settled[*number] = true;
        }
    }
}
