//! What Python may ask a worker, for the commands that look at the node.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use yggdrasil_core::commands::{CommandError, encoding_name};
use yggdrasil_core::engine::{ClientFilter, ClientInfo, ClientKind, LatencyEvent, Listener, Page};
use yggdrasil_core::keyspace::Value;
use yggdrasil_core::resp::ArgsBuffer;
use yggdrasil_core::stats::StatsReader;

use crate::errors::{ReplyError, to_python};
use crate::worker::Worker;

/// A client under the names of CLIENT LIST.
pub fn client_dict<'py>(py: Python<'py>, info: &ClientInfo) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let listener = match info.listener {
        Listener::Common => "common",
        Listener::Own => "own",
        Listener::Unix => "unix",
    };
    dict.set_item("id", info.id)?;
    dict.set_item("addr", &info.address)?;
    dict.set_item("laddr", &info.local_address)?;
    dict.set_item("fd", info.descriptor)?;
    dict.set_item("name", &info.name)?;
    dict.set_item("age", info.age_seconds)?;
    dict.set_item("idle", info.idle_seconds)?;
    dict.set_item("flags", &info.flags)?;
    dict.set_item("db", info.db)?;
    dict.set_item("user", &info.user)?;
    dict.set_item("sub", info.channels)?;
    dict.set_item("psub", info.patterns)?;
    dict.set_item("ssub", info.sharded_channels)?;
    dict.set_item("multi", info.multi)?;
    dict.set_item("watch", info.watches)?;
    dict.set_item("qbuf", info.input_bytes)?;
    dict.set_item("qbuf-free", info.input_free_bytes)?;
    dict.set_item("obl", info.output_bytes)?;
    dict.set_item("oll", info.reply_slots)?;
    dict.set_item("omem", info.output_memory_bytes)?;
    dict.set_item("rbs", info.output_buffer_bytes)?;
    dict.set_item("tot-mem", info.total_memory_bytes)?;
    dict.set_item("cmd", &info.command)?;
    dict.set_item("redir", info.redirect)?;
    dict.set_item("resp", info.protocol)?;
    dict.set_item("lib-name", &info.library_name)?;
    dict.set_item("lib-ver", &info.library_version)?;
    dict.set_item("listener", listener)?;
    dict.set_item("tls", info.secure)?;
    dict.set_item("tot-cmds", info.commands)?;
    dict.set_item("tot-net-in", info.input_total)?;
    dict.set_item("tot-net-out", info.output_total)?;
    Ok(dict)
}

/// A filter from keyword arguments, each of which may be None.
fn client_filter(given: Option<&Bound<'_, PyDict>>) -> PyResult<ClientFilter> {
    let mut filter = ClientFilter::default();
    let Some(given) = given else {
        return Ok(filter);
    };
    for (name, value) in given.iter() {
        match name.extract::<String>()?.as_str() {
            _ if value.is_none() => {}
            "ids" => filter.ids = Some(value.extract()?),
            "address" => filter.address = Some(value.extract()?),
            "local_address" => filter.local_address = Some(value.extract()?),
            "kind" => {
                filter.kind = Some(match value.extract::<String>()?.as_str() {
                    "normal" => ClientKind::Normal,
                    "pubsub" => ClientKind::PubSub,
                    _ => ClientKind::Replication,
                });
            }
            "user" => filter.user = Some(value.extract()?),
            "age_s_min" => filter.age_seconds_min = Some(value.extract()?),
            "except_id" => filter.except = Some(value.extract()?),
            other => return Err(to_python(format!("{other:?} is no filter of clients"))),
        }
    }
    Ok(filter)
}

/// Counters and gauges of a worker, by name.
fn counters_dict<'py>(py: Python<'py>, stats: &StatsReader) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in stats.counters() {
        dict.set_item(name, value as i64)?;
    }
    Ok(dict)
}

/// A worker's statistics: counters and gauges by name; "commands": by name, group, calls, nanoseconds, rejected, failed
/// and histogram (pairs of upper bound in us and calls; the last bound is None).
pub fn stats_dict<'py>(
    py: Python<'py>,
    stats: &StatsReader,
    names: &[String],
) -> PyResult<Bound<'py, PyDict>> {
    let dict = counters_dict(py, stats)?;
    let commands = PyDict::new(py);
    for (index, name) in names.iter().enumerate() {
        let counted = stats.command(index);
        if counted == Default::default() {
            continue;
        }
        let (group, name) = name.split_once(':').unwrap_or(("", name));
        let row = PyDict::new(py);
        row.set_item("group", group)?;
        row.set_item("calls", counted.calls)?;
        row.set_item("nanoseconds", counted.nanoseconds)?;
        row.set_item("rejected", counted.rejected)?;
        row.set_item("failed", counted.failed)?;
        let histogram = stats.histogram(index);
        let bounds = histogram
            .iter()
            .enumerate()
            .map(|(bucket, calls)| (yggdrasil_core::stats::bucket_upper_bound_us(bucket), *calls));
        row.set_item("histogram", bounds.collect::<Vec<_>>())?;
        commands.set_item(name, row)?;
    }
    dict.set_item("commands", commands)?;
    Ok(dict)
}

/// Where the next page of clients begins, and the id and the line of each client of this one.
type Lines = (Option<usize>, Vec<(u64, String)>);

/// A key, and what becomes of it.
type UsedKey<'py> = (Bound<'py, PyBytes>, Vec<&'static str>);

/// Kind, milliseconds of the longest, and the events.
type Latency = (&'static str, u64, Vec<(u64, u64)>);

type Slow<'py> = (
    u64,
    u64,
    u64,
    Vec<Bound<'py, PyBytes>>,
    u64,
    String,
    Bound<'py, PyBytes>,
);

impl Worker {
    fn check_shard(&self, shard: usize) -> PyResult<()> {
        if shard < self.control.shape().shards {
            return Ok(());
        }
        Err(to_python(format!("there is no shard {shard}")))
    }
}

#[pymethods]
impl Worker {
    /// All rows of the command table.
    fn commands<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        crate::rows::rows(py, self.engine.borrow().table())
    }

    /// The keys of a request with their uses, for COMMAND GETKEYSANDFLAGS.
    fn command_keys<'py>(
        &self,
        py: Python<'py>,
        args: Vec<Vec<u8>>,
    ) -> PyResult<Vec<UsedKey<'py>>> {
        let buffer: ArgsBuffer = args.iter().map(Vec::as_slice).collect();
        let engine = self.engine.borrow();
        let keys = engine.table().keys_of(&buffer.as_args());
        let keys = keys.map_err(|error: CommandError| ReplyError::new_err(error.to_string()))?;
        let keys = keys.into_iter();
        Ok(keys
            .map(|(key, key_use)| (PyBytes::new(py, key), key_use.to_vec()))
            .collect())
    }

    /// The worker's own clients that fit a filter, under the names of CLIENT LIST.
    #[pyo3(signature = (**filter))]
    fn clients<'py>(
        &self,
        py: Python<'py>,
        filter: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let filter = client_filter(filter)?;
        let (_, clients) = self.engine.borrow().clients(&filter, Page::ALL);
        clients.iter().map(|info| client_dict(py, info)).collect()
    }

    /// Ids and lines of CLIENT LIST of the worker's own clients that fit a filter: those of so many places, from a
    /// place on. Where to go on, if there is more.
    #[pyo3(signature = (start, places, **filter))]
    fn client_lines(
        &self,
        start: usize,
        places: usize,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Lines> {
        let filter = client_filter(filter)?;
        let engine = self.engine.borrow();
        let page = Page {
            from: start,
            places,
        };
        let (next, clients) = engine.clients(&filter, page);
        let line = |info: &ClientInfo| (info.id, info.line(engine.shard_index()));
        Ok((next, clients.iter().map(line).collect()))
    }

    /// Closes clients of this worker that fit a filter, page by page as `client_lines`. Where to go on, if there is
    /// more, and how many were closed.
    #[pyo3(signature = (start, places, **filter))]
    fn kill_clients(
        &self,
        py: Python<'_>,
        start: usize,
        places: usize,
        filter: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(Option<usize>, usize)> {
        let filter = client_filter(filter)?;
        let page = Page {
            from: start,
            places,
        };
        let killed = self.engine.borrow_mut().kill_clients(&filter, page);
        self.settle(py)?;
        Ok(killed)
    }

    /// Closes a client of this worker at once, or after the replies that are due; false when it is not here.
    #[pyo3(signature = (client_id, *, at_once))]
    fn kill_client(&self, py: Python<'_>, client_id: u64, at_once: bool) -> PyResult<bool> {
        let killed = self.engine.borrow_mut().kill_client(client_id, at_once);
        self.settle(py)?;
        Ok(killed)
    }

    /// Lets a client of this worker go on that waits for a change of a key, as if its time was over or with an error;
    /// false when none waits here.
    #[pyo3(signature = (client_id, *, with_error))]
    fn unblock_client(&self, py: Python<'_>, client_id: u64, with_error: bool) -> PyResult<bool> {
        let waited = self.engine.borrow_mut().unblock(client_id, with_error);
        self.settle(py)?;
        Ok(waited)
    }

    /// Pauses this worker's clients until a moment in Unix ms.
    fn pause(&self, until_ms: u64, writes_only: bool) {
        self.engine.borrow_mut().pause(until_ms, writes_only);
    }

    /// The place of a client of this worker; `None` when it is not here.
    fn place_of_client(&self, client_id: u64) -> Option<usize> {
        let session = self.engine.borrow().session_of(client_id);
        session.map(|session| session.index)
    }

    /// Looks which workers have clients that hear of all keys with a prefix.
    fn hear_broadcasts(&self) {
        self.engine.borrow_mut().hear_broadcasts();
    }

    /// Ends a pause.
    fn unpause(&self, py: Python<'_>) -> PyResult<()> {
        self.engine.borrow_mut().unpause();
        self.settle(py)
    }

    /// Statistics of any worker; of this one by default.
    #[pyo3(signature = (shard = None))]
    fn stats<'py>(&self, py: Python<'py>, shard: Option<usize>) -> PyResult<Bound<'py, PyDict>> {
        let own = self.engine.borrow().shard_index();
        let shard = shard.unwrap_or(own);
        self.check_shard(shard)?;
        stats_dict(
            py,
            &self.control.stats(shard),
            &self.control.command_names(),
        )
    }

    /// Counters and gauges of any worker, without those of commands.
    fn counters<'py>(&self, py: Python<'py>, shard: usize) -> PyResult<Bound<'py, PyDict>> {
        self.check_shard(shard)?;
        counters_dict(py, &self.control.stats(shard))
    }

    /// Error replies by prefix.
    fn errors(&self) -> Vec<(String, u64)> {
        self.engine.borrow().errors()
    }

    /// What the arena is used for, in bytes, and the sessions' buffers. A limit of 0 is none.
    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let engine = self.engine.borrow();
        let memory = engine.memory();
        let dict = PyDict::new(py);
        let limited = memory.limit != u64::MAX;
        dict.set_item("limit", if limited { memory.limit } else { 0 })?;
        dict.set_item("used", memory.used)?;
        dict.set_item("peak", memory.peak)?;
        dict.set_item("entries", memory.entries)?;
        dict.set_item("index", memory.index)?;
        dict.set_item("overhead", memory.overhead)?;
        dict.set_item("live", memory.live)?;
        dict.set_item("sessions", engine.session_bytes())?;
        let (heap, heap_free) = engine.heap();
        dict.set_item("heap", heap)?;
        dict.set_item("heap_free", heap_free)?;
        Ok(dict)
    }

    /// Gives memory that the shard keeps for later back to the system.
    fn purge(&self) {
        self.engine.borrow_mut().purge();
        self.heap.borrow_mut().trim();
    }

    /// Records requests for one key in `2^shift` until the next call, or none without it. Gives what was recorded since
    /// the last call: records, their number, how many found no room, and the time in Unix us.
    #[pyo3(signature = (shift))]
    fn record<'py>(
        &self,
        py: Python<'py>,
        shift: Option<u8>,
    ) -> (Bound<'py, PyBytes>, u64, u64, u64) {
        let recorded = self.engine.borrow_mut().record(shift);
        let bytes = PyBytes::new(py, &recorded.bytes);
        let (requests, dropped) = (recorded.requests, recorded.dropped);
        (bytes, requests, dropped, recorded.until_us)
    }

    /// Requests that took long, newest first: id, Unix time in us, microseconds, arguments, the client's id, address
    /// and name; the last two are empty for a client of another worker.
    fn slowlog<'py>(&self, py: Python<'py>) -> Vec<Slow<'py>> {
        let entries = self.engine.borrow().slowlog();
        entries
            .into_iter()
            .map(|entry| {
                let args = entry.args.iter().map(|arg| PyBytes::new(py, arg)).collect();
                (
                    entry.id,
                    entry.time_us,
                    entry.microseconds,
                    args,
                    entry.client,
                    entry.address,
                    PyBytes::new(py, &entry.name),
                )
            })
            .collect()
    }

    /// Forgets them.
    fn slowlog_reset(&self) {
        self.engine.borrow_mut().slowlog_reset();
    }

    /// Latency events by kind: the milliseconds of the longest, and those that are kept, oldest first, each with its
    /// Unix time in s and its milliseconds.
    fn latency(&self) -> Vec<Latency> {
        let histories = self.engine.borrow().latency();
        let pair = |event: &LatencyEvent| (event.time, event.milliseconds);
        histories
            .into_iter()
            .map(|(kind, history)| {
                let events = history.events.iter().map(pair).collect();
                (kind, history.longest, events)
            })
            .collect()
    }

    /// Forgets the latency events of one kind, or of all; how many kinds that were.
    #[pyo3(signature = (event = None))]
    fn latency_reset(&self, event: Option<&str>) -> usize {
        self.engine.borrow_mut().latency_reset(event)
    }

    /// Sets counters to zero.
    fn reset_stats(&self) {
        self.engine.borrow_mut().reset_stats();
    }

    /// Index of the own shard.
    #[getter]
    fn shard(&self) -> usize {
        self.engine.borrow().shard_index()
    }

    /// Number of shards of the node.
    #[getter]
    fn shards(&self) -> usize {
        self.control.shape().shards
    }

    /// The shard that owns a key.
    fn owner_of(&self, key: &[u8]) -> usize {
        self.engine.borrow().owner_of(key)
    }

    /// The shard of a hash slot.
    fn shard_of_slot(&self, slot: u16) -> usize {
        self.control.shape().shard_of_slot(slot)
    }

    /// The first and the last hash slot of a shard.
    fn slots_of_shard(&self, shard: usize) -> (u16, u16) {
        self.control.shape().slots_of_shard(shard)
    }

    /// Keys of database 0 in a hash slot of the own shard.
    fn slot_len(&self, slot: u16) -> u64 {
        self.engine.borrow().slot_len(slot)
    }

    /// Up to `count` of them.
    fn keys_in_slot<'py>(
        &self,
        py: Python<'py>,
        slot: u16,
        count: usize,
    ) -> Vec<Bound<'py, PyBytes>> {
        let keys = self.engine.borrow_mut().keys_in_slot(slot, count);
        keys.iter().map(|key| PyBytes::new(py, key)).collect()
    }

    /// Keys, expiring keys and hashes with expiring fields of one database of the own shard.
    fn database_len(&self, db: u8) -> (u64, u64, u64) {
        self.engine.borrow().database_len(db)
    }

    /// Own channels with their number of listeners.
    fn channels<'py>(
        &self,
        py: Python<'py>,
        pattern: Option<&[u8]>,
        sharded: bool,
    ) -> Vec<(Bound<'py, PyBytes>, usize)> {
        let channels = self.engine.borrow().channels(pattern, sharded);
        channels
            .iter()
            .map(|(name, count)| (PyBytes::new(py, name), *count))
            .collect()
    }

    /// The patterns that own clients listen to.
    fn patterns<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let patterns = self.engine.borrow().patterns();
        patterns
            .iter()
            .map(|pattern| PyBytes::new(py, pattern))
            .collect()
    }

    /// A key of the own shard: bytes (in the arena), length, encoding, expire_at (Unix ms or None), access bits, idle
    /// seconds, version.
    fn describe_key<'py>(
        &self,
        py: Python<'py>,
        db: u8,
        key: &[u8],
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let engine = self.engine.borrow();
        let described = engine.entry(db, key, |view, bytes| {
            let length = match view.value {
                Value::Int(number) => number.to_string().len() as u64,
                value => value.stored_len(),
            };
            (
                encoding_name(view),
                length,
                bytes,
                view.expire_at,
                view.version,
                view.access,
                engine.idle_seconds(view),
            )
        });
        let Some((encoding, length, bytes, expire_at, version, access, idle)) = described else {
            return Ok(None);
        };
        let dict = PyDict::new(py);
        dict.set_item("bytes", bytes)?;
        dict.set_item("length", length)?;
        dict.set_item("encoding", encoding)?;
        dict.set_item("expire_at", expire_at)?;
        dict.set_item("version", version)?;
        dict.set_item("access", access)?;
        dict.set_item("idle", idle)?;
        Ok(Some(dict))
    }
}
