//! A seeded simulation of nodes: several engines in one process, clients that send any mix of requests in any pieces
//! and leave when they like, readers that pause, workers that are killed; messages come late and in any order.
//!
//! After each run every request was answered or its connection had ended, nothing is held that nobody waits for, and
//! the replies are those of some order of the requests. `YGGDRASIL_SIMULATE_SEEDS` says how many seeds are run, and
//! `YGGDRASIL_SIMULATE_SEED` runs one again.

mod chance;
mod elements;
mod leftovers;
mod lists;
mod logs;
mod model;
mod order;
mod replies;
mod sorted_sets;
mod streams;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use chance::Chance;
use order::{Happened, Verdict, explain, suspects};
pub(super) use replies::reply_end;
use world::{Plan, World};

const SEEDS: u64 = 3000;
const STEPS_MAX: usize = 20_000;
const FAILURES_SHOWN: usize = 20;

fn plan_of(seed: u64) -> Plan {
    let mut random = Chance::new(seed ^ 0x51);
    let modelled = random.percent(60);
    let small = !modelled && random.percent(40);
    let (leaving, killing) = (random.percent(40), random.percent(20));
    Plan {
        shards: 1 + random.below(3),
        clients: 1 + random.below(4),
        operations: 10 + random.below(40),
        modelled,
        leaving,
        killing,
        // The successor of a killed worker would have to come back with its log.
        logging: !killing && random.percent(40),
        memory: small.then_some(2_000_000),
    }
}

fn simulate(seed: u64) -> (Verdict, Vec<Happened>) {
    let plan = plan_of(seed);
    let mut world = World::new(seed, plan);
    for _ in 0..STEPS_MAX {
        if world.is_asked() {
            break;
        }
        world.step();
    }
    world.finish();
    world.check_nothing_is_left();
    let judged = plan.modelled && !plan.killing;
    let verdict = if judged {
        explain(&world.history)
    } else {
        Verdict::Explained
    };
    (verdict, world.history)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs one seed; what was wrong with it.
fn failure(seed: u64) -> Result<Verdict, String> {
    match catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
        Ok((Verdict::Impossible, mut history)) => {
            let suspects = suspects(&mut history);
            let lines: Vec<_> = (0..)
                .zip(&history)
                .map(|(at, happened)| {
                    let mark = if suspects.contains(&at) { "!" } else { " " };
                    format!("{mark} {happened}")
                })
                .collect();
            let lines = lines.join("\n");
            Err(format!(
                "no order gives these replies (! where there would be one without it):\n{lines}"
            ))
        }
        Ok((verdict, _)) => Ok(verdict),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text.unwrap_or_else(|| "a panic".into()))
        }
    }
}

#[test]
fn whatever_happens_every_request_is_answered_and_nothing_is_left() {
    if let Some(seed) = number("YGGDRASIL_SIMULATE_SEED") {
        println!("{:?}", plan_of(seed));
        if let Err(text) = failure(seed) {
            panic!("seed {seed}: {text}");
        }
        return;
    }
    let seeds = number("YGGDRASIL_SIMULATE_SEEDS").unwrap_or(SEEDS);
    let first = number("YGGDRASIL_SIMULATE_FIRST").unwrap_or(0);
    let (mut undecided, mut failed) = (0, Vec::new());
    for seed in first..first + seeds {
        match failure(seed) {
            Ok(verdict) => undecided += u64::from(verdict == Verdict::Undecided),
            Err(text) => failed.push((seed, text.lines().next().unwrap_or_default().to_owned())),
        }
    }
    let shown = &failed[..failed.len().min(FAILURES_SHOWN)];
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed (YGGDRASIL_SIMULATE_SEED=... runs one again): {shown:#?}",
        failed.len()
    );
    assert!(
        undecided * 100 <= seeds,
        "{undecided} of {seeds} could not be judged"
    );
}
