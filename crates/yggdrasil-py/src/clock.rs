//! The system's clocks, for the engine.
#![allow(unsafe_code)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use yggdrasil_core::engine::Clock;

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn unix_ms() -> u64 {
    since_epoch().as_millis() as u64
}

fn unix_us() -> u64 {
    since_epoch().as_micros() as u64
}

/// The processor's time stamp counter: a tenth of the cost of asking the system.
#[cfg(target_arch = "x86_64")]
fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The processor's virtual counter.
#[cfg(target_arch = "aarch64")]
fn ticks() -> u64 {
    let ticks: u64;
    // SAFETY: reads a register that Linux lets every process read.
    unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
    ticks
}

/// Measures the counter against the system's clock, for 5 ms.
pub fn system_clock() -> Clock {
    let (start, started) = (ticks(), Instant::now());
    while started.elapsed() < Duration::from_millis(5) {
        std::hint::spin_loop();
    }
    let (counted, elapsed) = (ticks().wrapping_sub(start).max(1), started.elapsed());
    let ns_per_tick = (elapsed.as_nanos() << 32) / u128::from(counted);
    Clock {
        unix_ms,
        unix_us,
        ticks,
        ns_per_tick: u64::try_from(ns_per_tick).unwrap_or(1 << 32),
    }
}
