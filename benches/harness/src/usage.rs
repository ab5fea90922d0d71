//! The CPU and memory of processes, from /proc: CPU in ticks of 10 ms, peak memory.

use std::time::{Duration, Instant};

use anyhow::Context;
use procfs::process::{Process, Stat, all_processes};

use crate::spec::Spec;

/// A group that uses at most this number of ticks between two looks is idle.
const REST: u64 = 1;
const GLANCE: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);

/// CPU time of processes since they began, user and system.
///
/// # Errors
/// When a process has ended: a contestant that crashes has no figures.
pub fn cpu(pids: &[i32]) -> anyhow::Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let stat = process(*pid)?.stat()?;
        ticks += stat.utime + stat.stime;
    }
    Ok(Duration::from_secs(1) * u32::try_from(ticks)? / u32::try_from(procfs::ticks_per_second())?)
}

/// CPU up to now, in seconds.
pub struct Spent {
    /// Of the contestant.
    pub contestant: f64,
    /// Of RabbitMQ.
    pub broker: f64,
    /// Of the load generator.
    pub load: f64,
}

impl Spent {
    /// Looks at the processes of a run; `itself` is the load generator.
    ///
    /// # Errors
    /// When a process has ended.
    pub fn now(spec: &Spec, itself: i32) -> anyhow::Result<Self> {
        let cpu = |pids: &[i32]| Ok::<_, anyhow::Error>(cpu(pids)?.as_secs_f64());
        Ok(Self { contestant: cpu(&spec.contestant)?, broker: cpu(&spec.broker)?, load: cpu(&[itself])? })
    }
}

/// Resets the peak memory.
///
/// # Errors
/// When a process has ended.
pub fn forget_peaks(pids: &[i32]) -> anyhow::Result<()> {
    const PEAK_RSS: &str = "5";
    for pid in pids {
        std::fs::write(format!("/proc/{pid}/clear_refs"), PEAK_RSS).with_context(|| gone(*pid))?;
    }
    Ok(())
}

/// Peak memory since the reset, in bytes, of all processes together.
///
/// # Errors
/// When a process has ended.
pub fn peak_memory(pids: &[i32]) -> anyhow::Result<u64> {
    let peak = |pid: &i32| Ok(process(*pid)?.status()?.vmhwm.context("no VmHWM in /proc")? * 1024);
    pids.iter().map(peak).sum()
}

/// Memory now, in bytes.
///
/// # Errors
/// When a process has ended.
pub fn memory(pids: &[i32]) -> anyhow::Result<u64> {
    let now = |pid: &i32| Ok(process(*pid)?.status()?.vmrss.context("no VmRSS in /proc")? * 1024);
    pids.iter().map(now).sum()
}

/// The processes of a group.
///
/// # Errors
/// When /proc cannot be read.
pub fn group(leader: i32) -> anyhow::Result<Vec<i32>> {
    Ok(stats(leader)?.map(|stat| stat.pid).collect())
}

/// Waits until none of the groups uses CPU any more, so that the remaining work of one run does not affect the next.
///
/// # Errors
/// When /proc cannot be read.
pub async fn rest(leaders: &[i32]) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let earlier = ticks(leaders)?;
        tokio::time::sleep(GLANCE).await;
        if ticks(leaders)?.saturating_sub(earlier) <= REST {
            break;
        }
    }
    Ok(())
}

fn ticks(leaders: &[i32]) -> anyhow::Result<u64> {
    let of_group = |leader: &i32| Ok(stats(*leader)?.map(|stat| stat.utime + stat.stime).sum::<u64>());
    leaders.iter().map(of_group).sum()
}

fn stats(leader: i32) -> anyhow::Result<impl Iterator<Item = Stat>> {
    let all = all_processes()?.filter_map(|process| process.ok()?.stat().ok());
    Ok(all.filter(move |stat| stat.pgrp == leader && stat.state != 'Z'))
}

fn process(pid: i32) -> anyhow::Result<Process> {
    Process::new(pid).with_context(|| gone(pid))
}

fn gone(pid: i32) -> String {
    format!("process {pid} is gone")
}
