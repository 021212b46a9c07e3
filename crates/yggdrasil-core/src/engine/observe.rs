//! What can be asked of an engine: slow requests, latency events, errors, monitors.

use std::collections::{BTreeMap, VecDeque};

use super::Engine;
use super::links::Envelope;
use super::session::{Gates, Session};
use crate::commands::CommandId;
use crate::resp::Args;
use crate::ring::FrameKind;
use crate::stats::Counter;

/// Arguments of a slow request that are kept, and bytes of each, as Redis does.
const SLOW_ARGUMENTS_MAX: usize = 32;
const SLOW_ARGUMENT_BYTES_MAX: usize = 128;
/// Events kept for each kind of latency.
const LATENCY_EVENTS_MAX: usize = 160;

/// A request that took long.
#[derive(Clone, Debug)]
pub struct SlowEntry {
    /// Rises over all workers of the node.
    pub id: u64,
    /// Unix time in microseconds.
    pub time_us: u64,
    pub microseconds: u64,
    pub args: Vec<Vec<u8>>,
    /// Id of the client.
    pub client: u64,
    /// The client's address and name; empty for a client of another worker.
    pub address: String,
    pub name: Vec<u8>,
}

/// Something that took longer than `latency-monitor-threshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyEvent {
    /// Unix time in seconds.
    pub time: u64,
    pub milliseconds: u64,
}

/// The events of one kind.
#[derive(Clone, Debug, Default)]
pub struct LatencyHistory {
    /// Those that are kept, oldest first.
    pub events: VecDeque<LatencyEvent>,
    /// The longest there was, in milliseconds, though it may not be kept any more.
    pub longest: u64,
}

/// What is kept for questions.
pub(super) struct Observations {
    pub slowlog: VecDeque<SlowEntry>,
    /// A request that takes so long is looked at.
    pub slow_ns: u64,
    monitors: Vec<usize>,
    errors: BTreeMap<String, u64>,
    pub latency: BTreeMap<&'static str, LatencyHistory>,
}

impl Default for Observations {
    fn default() -> Self {
        Self {
            slowlog: VecDeque::new(),
            slow_ns: u64::MAX,
            monitors: Vec::new(),
            errors: BTreeMap::new(),
            latency: BTreeMap::new(),
        }
    }
}

/// Prefixes that are counted by themselves at most; clients must not fill the memory with invented ones.
const ERROR_PREFIXES_MAX: usize = 128;

impl Observations {
    /// Counts an error reply by its prefix.
    pub fn count_error(&mut self, reply: &[u8]) {
        let prefix = reply.get(1..).unwrap_or_default();
        let end = prefix
            .iter()
            .position(|byte| !byte.is_ascii_uppercase())
            .unwrap_or(prefix.len());
        let prefix = String::from_utf8_lossy(&prefix[..end]).into_owned();
        if let Some(count) = self.errors.get_mut(&prefix) {
            *count += 1;
        } else if self.errors.len() < ERROR_PREFIXES_MAX {
            self.errors.insert(prefix, 1);
        }
    }
}

impl Engine {
    /// Options that the hot path reads in another unit.
    pub(super) fn apply_thresholds(&mut self) {
        let slow_us = u64::try_from(self.options.slowlog_slower_than_us).unwrap_or(u64::MAX);
        let latency_us = match self.options.latency_threshold_ms {
            0 => u64::MAX,
            threshold => threshold.saturating_mul(1000),
        };
        self.observations.slow_ns = slow_us.min(latency_us).saturating_mul(1000);
    }

    /// A request took at least as long as one of the thresholds. `index` is the session if it is one of this worker;
    /// a request without a client is part of one that is noted elsewhere.
    #[cold]
    pub(super) fn note_slow(
        &mut self,
        client: u64,
        index: Option<usize>,
        command: CommandId,
        args: &Args<'_>,
        nanoseconds: u64,
    ) {
        let spec = self.table.spec(command);
        let microseconds = nanoseconds / 1000;
        let threshold = self.options.latency_threshold_ms;
        if threshold != 0 && microseconds / 1000 >= threshold {
            let fast = spec.flags.has(crate::commands::Flags::FAST);
            self.note_latency(
                if fast { "fast-command" } else { "command" },
                microseconds / 1000,
            );
        }
        let logs = u64::try_from(self.options.slowlog_slower_than_us)
            .is_ok_and(|limit| microseconds >= limit);
        if !logs
            || spec.flags.has(crate::commands::Flags::SKIP_SLOWLOG)
            || self.options.slowlog_len_max == 0
            || client == 0
        {
            return;
        }
        let session = index.and_then(|index| self.sessions.get(index));
        let entry = SlowEntry {
            id: self.control.next_slow_id(),
            time_us: (self.clock.unix_us)(),
            microseconds,
            args: shorten(&redacted(spec.name, args)),
            client,
            address: session
                .map(|session| session.address.clone())
                .unwrap_or_default(),
            name: session
                .and_then(Session::details)
                .map(|details| details.name.clone())
                .unwrap_or_default(),
        };
        self.observations.slowlog.push_front(entry);
        self.observations
            .slowlog
            .truncate(self.options.slowlog_len_max);
    }

    pub(super) fn note_latency(&mut self, event: &'static str, milliseconds: u64) {
        let time = self.now / 1000;
        let history = self.observations.latency.entry(event).or_default();
        history.longest = history.longest.max(milliseconds);
        let events = &mut history.events;
        match events.back_mut() {
            Some(last) if last.time == time => {
                last.milliseconds = last.milliseconds.max(milliseconds)
            }
            _ => events.push_back(LatencyEvent { time, milliseconds }),
        }
        if events.len() > LATENCY_EVENTS_MAX {
            events.pop_front();
        }
    }

    /// Requests that took long, newest first.
    #[must_use]
    pub fn slowlog(&self) -> Vec<SlowEntry> {
        self.observations.slowlog.iter().cloned().collect()
    }

    /// Forgets them.
    pub fn slowlog_reset(&mut self) {
        self.observations.slowlog.clear();
    }

    /// Latency events by kind.
    #[must_use]
    pub fn latency(&self) -> Vec<(&'static str, LatencyHistory)> {
        let histories = self.observations.latency.iter();
        histories
            .map(|(kind, history)| (*kind, history.clone()))
            .collect()
    }

    /// Forgets the events of one kind, or of all.
    pub fn latency_reset(&mut self, kind: Option<&str>) -> usize {
        let before = self.observations.latency.len();
        self.observations
            .latency
            .retain(|known, _| kind.is_some_and(|kind| kind != *known));
        before - self.observations.latency.len()
    }

    /// Error replies by prefix.
    #[must_use]
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.observations
            .errors
            .iter()
            .map(|(prefix, count)| (prefix.clone(), *count))
            .collect()
    }

    /// CONFIG RESETSTAT for this worker.
    pub fn reset_stats(&mut self) {
        self.stats.reset();
        self.observations.errors.clear();
        self.shard.reset_counters();
    }

    pub(super) fn enter_monitor(&mut self, index: usize) {
        if !self.sessions[index].gates.any(Gates::MONITOR) {
            self.sessions[index].gates.set(Gates::MONITOR, true);
            self.observations.monitors.push(index);
            self.stats.add(Counter::MonitorClients, 1);
            self.control.change_monitors(1);
            self.gate.set_monitored(true);
        }
    }

    pub(super) fn leave_monitor(&mut self, index: usize) {
        if self.sessions[index].gates.any(Gates::MONITOR) {
            self.sessions[index].gates.set(Gates::MONITOR, false);
            self.observations.monitors.retain(|&other| other != index);
            self.stats.subtract(Counter::MonitorClients, 1);
            self.control.change_monitors(-1);
        }
    }

    /// Tells all monitors of the node about a request.
    pub(super) fn feed_monitors(&mut self, index: usize, command: CommandId, args: &Args<'_>) {
        let session = &self.sessions[index];
        let name = self.table.spec(command).name;
        // A SELECT is shown in the database that it leads to.
        let selected =
            (name == "select").then(|| std::str::from_utf8(args.at(1)).ok()?.parse().ok());
        let db = selected
            .flatten()
            .filter(|db| usize::from(*db) < self.shape.databases)
            .unwrap_or(session.db);
        let from = format!("{db} {}", session.address);
        self.send_to_monitors(&from, command, args);
    }

    /// Shows a request of a script.
    pub(super) fn feed_monitors_of_script(&mut self, db: u8, command: CommandId, args: &Args<'_>) {
        self.send_to_monitors(&format!("{db} lua"), command, args);
    }

    fn send_to_monitors(&mut self, from: &str, command: CommandId, args: &Args<'_>) {
        let now = (self.clock.unix_us)();
        let name = self.table.spec(command).name;
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        let mut line = format!("+{seconds}.{micros:06} [{from}]").into_bytes();
        for arg in redacted(name, args) {
            line.push(b' ');
            quote(arg, &mut line);
        }
        line.extend_from_slice(b"\r\n");
        for shard in (0..self.shape.shards).filter(|&shard| shard != self.me) {
            if self.control.stats(shard).get(Counter::MonitorClients) > 0 {
                self.links
                    .send(shard, Envelope::new(FrameKind::Monitor, 0), &line);
            }
        }
        self.deliver_to_monitors(&line);
    }

    pub(super) fn deliver_to_monitors(&mut self, line: &[u8]) {
        for index in self.observations.monitors.clone() {
            self.sessions[index].output.buffer().extend_from_slice(line);
            self.touch(index);
            self.check_output(index);
        }
    }
}

/// The arguments of a request without passwords.
fn redacted<'a>(name: &str, args: &Args<'a>) -> Vec<&'a [u8]> {
    let mut shown: Vec<&[u8]> = args.iter().collect();
    let is = |place: usize, word: &[u8]| args.at(place).eq_ignore_ascii_case(word);
    for (place, arg) in shown.iter_mut().enumerate().skip(1) {
        let secret = match name {
            "auth" => true,
            "hello" => is(place - 1, b"auth") || (place > 2 && is(place - 2, b"auth")),
            "config|set" => is(place - 1, b"requirepass") || is(place - 1, b"tls-key-file-pass"),
            "acl|setuser" | "acl|deluser" | "acl|getuser" => place > 1,
            "migrate" => {
                let is_behind = |word: &[u8], by: usize| place >= by + 6 && is(place - by, word);
                is_behind(b"auth", 1) || is_behind(b"auth2", 1) || is_behind(b"auth2", 2)
            }
            _ => false,
        };
        if secret {
            *arg = b"(redacted)";
        }
    }
    shown
}

fn shorten(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let kept = if args.len() > SLOW_ARGUMENTS_MAX {
        SLOW_ARGUMENTS_MAX - 1
    } else {
        args.len()
    };
    let mut shortened: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .map(|arg| match arg.get(..SLOW_ARGUMENT_BYTES_MAX) {
            Some(head) if arg.len() > SLOW_ARGUMENT_BYTES_MAX => {
                let more = arg.len() - SLOW_ARGUMENT_BYTES_MAX;
                [head, format!("... ({more} more bytes)").as_bytes()].concat()
            }
            _ => arg.to_vec(),
        })
        .collect();
    if kept < args.len() {
        shortened.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    shortened
}

/// A string in double quotes with escapes, as MONITOR shows it.
fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}
