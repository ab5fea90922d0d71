//! The faults: cuts of connections, replacements, kills and freezes of replicas, and kills of RabbitMQ.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Plan,
    queues::Queues,
    workers::{Dice, REPLICAS, Stage},
};
use crate::support::{
    broker::OwnBroker,
    poll::{eventually, pass},
};

/// Longer than the shorter timeout of a settle.
const FREEZE: Duration = Duration::from_millis(2500);
/// Faults, one after the other, until the time is over. Publishes the messages meanwhile.
pub struct Faults<'a> {
    pub stage: &'a Stage,
    pub broker: &'a OwnBroker,
    pub queues: &'a mut Queues,
    pub plan: &'a Plan,
}

impl Faults<'_> {
    pub async fn run(self) {
        let (begun, mut dice) = (Instant::now(), Dice(99));
        let (mut kills, mut restarts) = (0, 0);
        for number in 0.. {
            let elapsed = begun.elapsed();
            if elapsed >= self.plan.time {
                return;
            }
            // Whether the next of so many events, which are spread over the time, is due.
            let is_due =
                |done: usize, all: usize| done < all && self.plan.share(elapsed) * (all + 1) > done + 1;
            let (kill, restart) = (is_due(kills, self.plan.kills), is_due(restarts, self.plan.restarts));
            self.queues.publish(self.broker, self.plan.share(elapsed)).await;
            pass(self.plan.pause).await;
            if kill {
                kills += 1;
                self.kill_rabbitmq().await;
            } else if restart {
                restarts += 1;
                self.restart_all().await;
            } else {
                self.disturb(&mut dice, number).await;
            }
        }
    }

    async fn disturb(&self, dice: &mut Dice, number: usize) {
        let replica = &self.stage.replicas[dice.throw(REPLICAS)];
        let throw = dice.throw(self.plan.sides);
        let fault = match throw {
            // The first fault, because it needs leases that no other fault has ended.
            _ if number == 0 => "freeze",
            0 => "cut of all connections",
            1 | 2 => "cut of the connection of leases",
            3 => "cut of the connections that publish",
            4 => "replacement",
            5 => "kill -9",
            _ => "freeze",
        };
        match fault {
            "freeze" => replica.freeze(FREEZE).await,
            "cut of all connections" => replica.cut().await,
            "cut of the connection of leases" => replica.cut_leases().await,
            "cut of the connections that publish" => replica.cut_publishes(),
            "replacement" => replica.replace().await,
            _ => replica.kill().await,
        }
        self.stage.lives.count(format!("fault: {fault}"));
    }

    /// Replaces every replica in order.
    async fn restart_all(&self) {
        for replica in &self.stage.replicas {
            replica.replace().await;
        }
        self.stage.lives.count("fault: restart of all replicas");
    }

    async fn kill_rabbitmq(&self) {
        self.stage.was_killed.store(true, Ordering::Relaxed);
        for replica in &self.stage.replicas {
            replica.lose().await;
        }
        let killed = Instant::now();
        self.broker.kill().await;
        self.stage.lives.rabbitmq_crashed(killed);
        self.broker.start().await;
        // RabbitMQ ends the connection of a client that publishes to a quorum queue without a leader, and the test publishes too.
        let members = "begin {ok, Q} = rabbit_amqqueue:lookup({resource, <<\"/\">>, queue, <<\"quorum\">>}), \
                       element(1, ra:members(amqqueue:get_pid(Q))) end";
        let has_leader = async || self.broker.eval(members).await == "ok";
        eventually(Duration::from_mins(1), "the quorum queue has a leader", has_leader).await;
        for replica in &self.stage.replicas {
            replica.mend().await;
        }
        self.stage.lives.count("fault: kill -9 of RabbitMQ");
    }
}
