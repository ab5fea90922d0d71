//! The options of `bench`: the workloads and contestants that run, the number of rounds, and the length of a run.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use crate::contestant::Contestant;
use crate::contract::{contract, has_path};
use crate::plan::Plan;

/// Options that choose the runs.
#[derive(Args)]
pub struct Choice {
    /// Run only the workloads that have a bound on speed or cost, with short windows.
    #[arg(long)]
    quick: bool,
    /// Run only these workloads: names, or beginnings of names; separated by commas, may be repeated.
    ///
    /// Where a workload has exactly this name, only that one is meant: `publish-1` does not mean `publish-16`.
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Run only these contestants; separated by commas, may be repeated.
    #[arg(long, value_name = "CONTESTANT", value_delimiter = ',')]
    contestants: Vec<Group>,
    /// Run another binary of the gateway as the contestant `before`, in every workload of the gateway whose operation it has.
    ///
    /// The path is absolute, or relative to the root of the repository.
    #[arg(long, value_name = "BINARY")]
    before: Option<PathBuf>,
    /// How many turns each contestant has in each workload.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of a window.
    #[arg(long)]
    seconds: Option<f64>,
}

/// Contestants with the names that `--contestants` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// AMQP directly, both ways
    Direct,
    /// The gateway
    Gateway,
    /// The gateway with API keys
    Keys,
    /// The binary that `--before` names
    Before,
    /// A bare hyper service over the gateway's broker code
    Floor,
    /// fastify + amqplib
    Fastify,
    /// `FastAPI` + aio-pika, 1 and 2 workers
    Fastapi,
    /// RabbitMQ's management API
    Management,
}

impl Group {
    fn of(contestant: Contestant) -> Self {
        match contestant {
            Contestant::DirectTasks | Contestant::DirectOneTask => Self::Direct,
            Contestant::Gateway => Self::Gateway,
            Contestant::GatewayWithKeys => Self::Keys,
            Contestant::Before => Self::Before,
            Contestant::Floor => Self::Floor,
            Contestant::Fastify => Self::Fastify,
            Contestant::FastApi1 | Contestant::FastApi2 => Self::Fastapi,
            Contestant::Management => Self::Management,
        }
    }
}

impl Choice {
    /// The plan with the chosen runs only.
    ///
    /// # Errors
    /// When no run is left, or an option names a binary or workload that does not exist.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let mut plan = if self.quick { Plan::quick() } else { Plan::full() };
        self.choose_workloads(&mut plan)?;
        self.add_before(&mut plan)?;
        for workload in &mut plan.workloads {
            workload.contestants.retain(|contestant| self.is_chosen(*contestant));
        }
        plan.workloads.retain(|workload| !workload.contestants.is_empty());
        ensure!(!plan.workloads.is_empty(), "none of these contestants takes part in these workloads");
        plan.rounds = self.rounds.unwrap_or(plan.rounds);
        plan.window = self.seconds.map_or(plan.window, Duration::from_secs_f64);
        Ok(plan)
    }

    fn choose_workloads(&self, plan: &mut Plan) -> anyhow::Result<()> {
        if self.only.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = plan.workloads.iter().map(|workload| workload.name.clone()).collect();
        let is_meant = |wanted: &String, name: &String| {
            name == wanted || (name.starts_with(wanted.as_str()) && !names.contains(wanted))
        };
        for wanted in &self.only {
            let exists = names.iter().any(|name| is_meant(wanted, name));
            ensure!(exists, "no workload is called {wanted}; there are {}", names.join(", "));
        }
        plan.workloads.retain(|workload| self.only.iter().any(|wanted| is_meant(wanted, &workload.name)));
        Ok(())
    }

    /// `before` takes its turn right after the gateway.
    fn add_before(&self, plan: &mut Plan) -> anyhow::Result<()> {
        let Some(binary) = &self.before else {
            let is_named = self.contestants.contains(&Group::Before);
            ensure!(!is_named, "the contestant `before` needs --before BINARY");
            return Ok(());
        };
        let binary = binary.canonicalize().with_context(|| format!("--before {}", binary.display()))?;
        ensure!(binary.is_file(), "--before {} is not a file", binary.display());
        let contract = contract(&binary);
        let knows = |path| has_path(&contract, path);
        for workload in &mut plan.workloads {
            let gateway = workload.contestants.iter().position(|it| *it == Contestant::Gateway);
            if let Some(gateway) =
                gateway.filter(|_| workload.traffic.operation.contract_path().is_none_or(knows))
            {
                workload.contestants.insert(gateway + 1, Contestant::Before);
            }
        }
        plan.before = Some(binary);
        Ok(())
    }

    /// `--before` alone is enough to choose `before`.
    fn is_chosen(&self, contestant: Contestant) -> bool {
        self.contestants.is_empty()
            || contestant == Contestant::Before
            || self.contestants.contains(&Group::of(contestant))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;

    use super::*;
    use crate::plan::Workload;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        choice: Choice,
    }

    fn plan(options: &[&str]) -> anyhow::Result<Plan> {
        CommandLine::try_parse_from(["bench"].iter().chain(options))?.choice.plan()
    }

    fn names(options: &[&str]) -> Vec<String> {
        let plan = plan(options).expect("the options are right");
        plan.workloads.into_iter().map(|workload| workload.name).collect()
    }

    #[test]
    fn a_whole_name_is_one_workload_and_a_beginning_is_several() {
        assert_eq!(names(&["--only", "publish-1,quorum"]), ["publish-1", "quorum"]);
        assert_eq!(names(&["--only", "rpc"]), ["rpc-1", "rpc-64", "rpc-256"]);
        assert!(plan(&["--only", "publish-64,quorom"]).is_err());
    }

    #[test]
    fn contestants_are_chosen_in_every_workload_and_workloads_without_one_are_left_out() {
        let plan = plan(&["--contestants", "direct,floor"]).expect("the options are right");
        for workload in &plan.workloads {
            for contestant in &workload.contestants {
                assert!(contestant.is_direct() || *contestant == Contestant::Floor, "{contestant:?}");
            }
        }
        assert!(plan.workloads.iter().all(|workload| workload.name != "idle"));
        assert!(self::plan(&["--only", "idle", "--contestants", "floor"]).is_err());
    }

    /// Writes a program that takes the place of another gateway.
    fn program(name: &str, script: &str) -> String {
        let file = std::env::temp_dir().join(format!("harness-{name}-{}", std::process::id()));
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("it is written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("it is executable");
        file.to_str().expect("its path is UTF-8").to_owned()
    }

    /// The workloads of the plan in which `before` does not take part.
    fn without_before(binary: &str) -> Vec<String> {
        let plan = plan(&["--before", binary, "--contestants", "gateway"]).expect("the options are right");
        assert_eq!(plan.workloads.len(), Plan::full().workloads.len());
        let takes_part = |it: &Workload| it.contestants == [Contestant::Gateway, Contestant::Before];
        plan.workloads.into_iter().filter(|it| !takes_part(it)).map(|it| it.name).collect()
    }

    #[test]
    fn the_binary_before_runs_wherever_the_gateway_does_and_its_contract_has_the_path() {
        let new = program(
            "new",
            "[ \"$1\" = openapi ] && echo '\"/publish/{exchange}/batch\" \"/publish/{exchange}/stream\" \
             \"/queues/{name}/messages/pull\"'",
        );
        assert_eq!(without_before(&new), Vec::<String>::new());
        let bulk =
            program("bulk", "echo '{\"/publish/{exchange}/batch\": {}, \"/publish/{exchange}/stream\": {}}'");
        let consuming = [
            "pull-100-classic",
            "pull-100-quorum",
            "pull-1-classic",
            "pull-1-quorum",
            "one-worker",
            "long-poll",
            "settle-own",
            "settle-elsewhere",
            "waiting",
        ];
        assert_eq!(without_before(&bulk), consuming);
        let old = program("old", "echo unknown command >&2; exit 2");
        let without = without_before(&old);
        assert!(
            ["batch-classic", "stream-long", "waiting"]
                .iter()
                .all(|name| without.contains(&(*name).to_owned()))
        );
        assert!(!without.contains(&"publish-64".to_owned()));
        for file in [new, bulk, old] {
            std::fs::remove_file(file).expect("it is there");
        }
        assert!(self::plan(&["--before", "target/no-such-binary"]).is_err());
        assert!(self::plan(&["--contestants", "before"]).is_err());
    }
}
