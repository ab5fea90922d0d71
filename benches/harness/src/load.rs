//! The two kinds of load: callers that ask again after each answer, and requests at a fixed rate.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::recorder::{Answer, Recorder};
use crate::spec::{Ask, Mix, Pace, Style, Traffic};

/// The longest time for an answer of any contestant.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The distance between the starting points of callers in the mix, so that they do not all send the same kind at once.
const STRIDE: u64 = 7;

/// A caller that asks and waits for the answer.
pub trait Caller: Send + 'static {
    /// Asks once. Never fails: an error is an answer too.
    fn ask(&mut self, ask: Ask) -> impl Future<Output = Answer> + Send;
}

/// Starts the callers. They end when the recorder is closed.
pub fn start<C: Caller>(
    callers: Vec<C>,
    traffic: &Traffic,
    style: Style,
    recorder: &Arc<Recorder>,
) -> Vec<JoinHandle<()>> {
    let mut lanes = Vec::with_capacity(callers.len());
    let number_of_callers = callers.len();
    let mut loops = Vec::with_capacity(number_of_callers);
    for (number, caller) in callers.into_iter().enumerate() {
        let (lane, due) = unbounded_channel();
        lanes.push(lane);
        let recorder = Arc::clone(recorder);
        loops.push(
            Loop { caller, mix: traffic.mix.clone(), n: number as u64 * STRIDE, recorder }
                .run(traffic.pace, due),
        );
    }
    if let Pace::Rate(rate) = traffic.pace {
        let recorder = Arc::clone(recorder);
        thread::spawn(move || pace(rate, &lanes, &recorder));
    }
    spawn(loops, style)
}

/// Runs loops, one for each caller.
pub fn spawn<L>(loops: Vec<L>, style: Style) -> Vec<JoinHandle<()>>
where
    L: Future<Output = ()> + Send + 'static,
{
    match style {
        Style::Tasks => loops.into_iter().map(tokio::spawn).collect(),
        Style::OneTask => vec![tokio::spawn(loops.into_iter().collect::<FuturesUnordered<_>>().collect())],
    }
}

/// One caller during the run.
struct Loop<C> {
    caller: C,
    mix: Mix,
    n: u64,
    recorder: Arc<Recorder>,
}

impl<C: Caller> Loop<C> {
    async fn run(mut self, pace: Pace, mut due: UnboundedReceiver<Instant>) {
        if !matches!(pace, Pace::Rate(_)) {
            while self.recorder.wants_more() {
                self.ask(Instant::now()).await;
            }
            return;
        }
        while let Some(moment) = due.recv().await {
            if self.recorder.is_over() {
                self.recorder.note_unsent(moment);
            } else {
                self.ask(moment).await;
            }
        }
    }

    async fn ask(&mut self, begun: Instant) {
        let ask = self.mix.nth(self.n);
        self.n += 1;
        let answer = timeout(PATIENCE, self.caller.ask(ask)).await;
        let answer = answer.unwrap_or_else(|_| Answer::Failed("no answer in time".to_owned()));
        self.recorder.note(begun, ask, &answer);
    }
}

/// Tells each caller in turn when its next request is due. It runs on a thread of its own, since tokio's timers count in whole
/// milliseconds, and the measured times are shorter.
fn pace(rate: u32, lanes: &[UnboundedSender<Instant>], recorder: &Recorder) {
    let begun = Instant::now();
    let interval = Duration::from_secs(1) / rate;
    for (n, lane) in (0..).zip(lanes.iter().cycle()) {
        let due = begun + interval * n;
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        if recorder.is_over() || lane.send(due).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, except for one stall.
    struct Stalling {
        asked: u32,
    }

    impl Caller for Stalling {
        async fn ask(&mut self, _: Ask) -> Answer {
            self.asked += 1;
            if self.asked == 20 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Answer::Confirmed
        }
    }

    async fn p90_of_a_stalling_service(pace: Pace) -> u64 {
        let traffic = Traffic { callers: 1, size: 1, pace, ..Traffic::base() };
        let recorder = Arc::new(Recorder::new(pace).expect("the bounds are right"));
        recorder.open();
        let callers = start(vec![Stalling { asked: 0 }], &traffic, Style::Tasks, &recorder);
        tokio::time::sleep(Duration::from_millis(500)).await;
        recorder.close();
        for caller in callers {
            caller.await.expect("a caller ends");
        }
        recorder.results().0.p90
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_request_that_was_due_meanwhile() {
        assert!(p90_of_a_stalling_service(Pace::Rate(200)).await > 50_000);
        assert!(p90_of_a_stalling_service(Pace::Count(100)).await < 50_000);
    }
}
