use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use serde_json::{Value, json};

use crate::args::Options;
use crate::cluster::Slots;
use crate::error::Error;
use crate::histogram::Histogram;
use crate::workload::{Request, Source, Verdict, Workload, describe};

const READ_BYTES: usize = 256 * 1024;
const EVENTS_MAX: usize = 256;
/// A server that is silent for this long has lost a reply.
const STALL_SECONDS: u64 = 60;
const SAMPLES_KEPT: usize = 5;

/// A connection and the batch it has under way: the next batch is sent when the last reply is there.
struct Client {
    stream: TcpStream,
    owner: usize,
    pending: Vec<Request>,
    answered: usize,
    sent_at: Instant,
    out: Vec<u8>,
    written: usize,
    wants_write: bool,
    /// The beginning of a reply whose end has not come yet.
    partial: Vec<u8>,
}

impl Client {
    fn connect(address: &str, owner: usize, depth: usize) -> Result<Self, Error> {
        let connect = || {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        };
        Ok(Self {
            stream: connect().map_err(|source| Error::Connect {
                address: address.to_owned(),
                source,
            })?,
            owner,
            pending: Vec::with_capacity(depth),
            answered: 0,
            sent_at: Instant::now(),
            out: Vec::new(),
            written: 0,
            wants_write: false,
            partial: Vec::new(),
        })
    }

    /// Writes what the socket takes; `true` when all of it is out.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// What the replies told.
struct Tally {
    operations: u64,
    errors: u64,
    samples: Vec<String>,
    latencies: Histogram,
}

impl Tally {
    fn wrong(&mut self, count: u64, words: impl FnOnce() -> String) {
        self.errors += count;
        if self.samples.len() < SAMPLES_KEPT {
            self.samples.push(words());
        }
    }
}

struct Drive {
    workload: Workload,
    source: Source,
    depth: usize,
    ops_left: u64,
    deadline: Option<Instant>,
    epoll: OwnedFd,
    clients: Vec<Client>,
    busy: usize,
    buffer: Vec<u8>,
    tally: Tally,
}

/// Runs the load to its end.
pub fn run(options: &Options) -> Result<Value, Error> {
    let slots = options
        .cluster
        .then(|| Slots::ask(&options.address))
        .transpose()?;
    let addresses = slots.as_ref().map_or_else(
        || vec![options.address.clone()],
        |slots| slots.addresses.clone(),
    );
    let connections = options.connections.max(addresses.len());
    let mut clients = Vec::with_capacity(connections);
    for at in 0..connections {
        let owner = at % addresses.len();
        clients.push(Client::connect(&addresses[owner], owner, options.depth)?);
    }
    let workload = Workload::new(options.value_bytes);
    let mut drive = Drive {
        buffer: vec![0; READ_BYTES + 2 * workload.reply_bytes_max()],
        workload,
        source: Source::new(options, slots),
        depth: options.depth,
        ops_left: options.ops.unwrap_or(u64::MAX),
        deadline: None,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        clients,
        busy: 0,
        tally: Tally {
            operations: 0,
            errors: 0,
            samples: Vec::new(),
            latencies: Histogram::new(),
        },
    };
    let start = Instant::now();
    drive.begin()?;
    // Not before: the shortest run has its first batches too.
    drive.deadline = options.duration.map(|duration| start + duration);
    drive.until_idle()?;
    let seconds = start.elapsed().as_secs_f64();
    let tally = &drive.tally;
    Ok(json!({
        "operations": tally.operations,
        "seconds": seconds,
        "operations_per_second": (tally.operations as f64 / seconds).round(),
        "connections": connections,
        "owners": addresses.len(),
        "latency_us": tally.latencies.to_json(),
        "errors": tally.errors,
        "samples": tally.samples,
    }))
}

impl Drive {
    fn begin(&mut self) -> Result<(), Error> {
        for at in 0..self.clients.len() {
            epoll::add(
                &self.epoll,
                &self.clients[at].stream,
                epoll::EventData::new_u64(at as u64),
                epoll::EventFlags::IN,
            )?;
            self.send_batch(at, Instant::now())?;
        }
        Ok(())
    }

    fn until_idle(&mut self) -> Result<(), Error> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let timeout = Timespec {
            tv_sec: STALL_SECONDS as i64,
            tv_nsec: 0,
        };
        while self.busy > 0 {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(0) => {
                    return Err(Error::Stalled {
                        seconds: STALL_SECONDS,
                        outstanding: self.outstanding(),
                    });
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                self.serve(event.data.u64() as usize, event.flags)?;
            }
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.clients
            .iter()
            .map(|client| client.pending.len() - client.answered)
            .sum()
    }

    fn serve(&mut self, at: usize, flags: epoll::EventFlags) -> Result<(), Error> {
        if flags.contains(epoll::EventFlags::OUT) && !self.write(at)? {
            return Ok(());
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
        {
            self.read(at)?;
        }
        Ok(())
    }

    /// Sends the next batch of a connection whose replies are all there, unless the run is over.
    fn send_batch(&mut self, at: usize, now: Instant) -> Result<(), Error> {
        let client = &mut self.clients[at];
        client.pending.clear();
        client.answered = 0;
        client.out.clear();
        client.written = 0;
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(());
        }
        while client.pending.len() < self.depth && self.ops_left > 0 {
            let Some(request) = self.source.next(client.owner) else {
                break;
            };
            self.workload.append(request, &mut client.out);
            client.pending.push(request);
            self.ops_left -= 1;
        }
        if client.pending.is_empty() {
            return Ok(());
        }
        self.busy += 1;
        client.sent_at = Instant::now();
        self.write(at).map(|_| ())
    }

    /// `false` when the connection is lost.
    fn write(&mut self, at: usize) -> Result<bool, Error> {
        let client = &mut self.clients[at];
        let wants_write = match client.flush() {
            Ok(done) => !done,
            Err(error) => {
                self.lose(at, &error.to_string())?;
                return Ok(false);
            }
        };
        if wants_write != client.wants_write {
            client.wants_write = wants_write;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, wants_write);
            let data = epoll::EventData::new_u64(at as u64);
            epoll::modify(&self.epoll, &client.stream, data, flags)?;
        }
        Ok(true)
    }

    fn read(&mut self, at: usize) -> Result<(), Error> {
        let client = &mut self.clients[at];
        let kept = client.partial.len();
        if self.buffer.len() < kept + READ_BYTES {
            self.buffer.resize(kept + READ_BYTES, 0);
        }
        self.buffer[..kept].copy_from_slice(&client.partial);
        let length = match client.stream.read(&mut self.buffer[kept..]) {
            Ok(0) => return self.lose(at, "closed by the server"),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return self.lose(at, &error.to_string()),
        };
        let now = Instant::now();
        let (replies, consumed, malformed) = self.check(at, kept + length);
        let client = &mut self.clients[at];
        let latency = now - client.sent_at;
        self.tally.latencies.record(latency, replies);
        self.tally.operations += replies;
        if malformed {
            return self.lose(at, "replies that are not RESP");
        }
        client.partial.clear();
        client
            .partial
            .extend_from_slice(&self.buffer[consumed..kept + length]);
        if client.answered < client.pending.len() || client.pending.is_empty() {
            return Ok(());
        }
        self.busy -= 1;
        self.send_batch(at, now)
    }

    /// Compares the replies in the buffer with what was asked: how many, how many bytes, and whether they are RESP.
    fn check(&mut self, at: usize, filled: usize) -> (u64, usize, bool) {
        let client = &mut self.clients[at];
        let mut consumed = 0;
        let mut replies = 0;
        while let Some(&request) = client.pending.get(client.answered) {
            let bytes = &self.buffer[consumed..filled];
            let length = match self.workload.check(request, bytes) {
                Verdict::Right { length } => length,
                Verdict::Wrong { length } => {
                    self.tally.wrong(1, || describe(request, bytes));
                    length
                }
                Verdict::Incomplete => return (replies, consumed, false),
                Verdict::Malformed => {
                    self.tally.wrong(1, || describe(request, bytes));
                    return (replies, consumed, true);
                }
            };
            consumed += length;
            client.answered += 1;
            replies += 1;
        }
        if consumed < filled {
            self.tally.wrong(1, || "bytes nobody asked for".to_owned());
            return (replies, consumed, true);
        }
        (replies, consumed, false)
    }

    /// Gives a connection up; its missing replies count as errors.
    fn lose(&mut self, at: usize, reason: &str) -> Result<(), Error> {
        let client = &mut self.clients[at];
        let missing = client.pending.len() - client.answered;
        if !client.pending.is_empty() {
            self.busy -= 1;
        }
        client.pending.clear();
        client.answered = 0;
        self.tally.wrong(missing.max(1) as u64, || {
            format!("connection lost with {missing} replies due: {reason}")
        });
        epoll::delete(&self.epoll, &client.stream)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Order;
    use std::collections::HashMap;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    /// Serves GET and SET of this workload's shape, a few bytes at a time; `spoil` may change a reply.
    fn serve(listener: &TcpListener, connections: usize, spoil: fn(u64, Vec<u8>) -> Vec<u8>) {
        let mut stored: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        let mut count = 0;
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut bytes = Vec::new();
            let mut chunk = [0; 4096];
            loop {
                let length = stream.read(&mut chunk).unwrap_or(0);
                if length == 0 {
                    break;
                }
                bytes.extend_from_slice(&chunk[..length]);
                let mut out = Vec::new();
                while let Ok((request, used)) = crate::reply::parse(&bytes) {
                    let reply = answer(&mut stored, &request);
                    count += 1;
                    out.extend(spoil(count, reply));
                    bytes.drain(..used);
                }
                for piece in out.chunks(1_000) {
                    let _ = stream.write_all(piece);
                }
            }
        }
    }

    fn answer(
        stored: &mut HashMap<Vec<u8>, Vec<u8>>,
        request: &crate::reply::Reply<'_>,
    ) -> Vec<u8> {
        use crate::reply::Reply::{Array, Bulk};
        let Array(parts) = request else {
            unreachable!()
        };
        match &parts[..] {
            [Bulk(b"SET"), Bulk(key), Bulk(value)] => {
                stored.insert(key.to_vec(), value.to_vec());
                b"+OK\r\n".to_vec()
            }
            [Bulk(b"GET"), Bulk(key)] => stored.get(*key).map_or(b"$-1\r\n".to_vec(), |value| {
                [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
            }),
            _ => b"-ERR unknown\r\n".to_vec(),
        }
    }

    fn options(address: String, get_share: u32, order: Order) -> Options {
        Options {
            address,
            connections: 1,
            depth: 32,
            get_share,
            keys: 500,
            value_bytes: 700,
            order,
            ops: (order == Order::Random).then_some(2_000),
            duration: None,
            cluster: false,
            seed: 7,
        }
    }

    #[test]
    fn what_was_loaded_is_verified_and_mixed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || serve(&listener, 3, |_, reply| reply));
        for (get_share, order, operations) in [
            (0, Order::Once, 500),
            (100, Order::Once, 500),
            (50, Order::Random, 2_000),
        ] {
            let result = run(&options(address.clone(), get_share, order)).unwrap();
            assert_eq!(result["errors"], 0, "{result}");
            assert_eq!(result["operations"], operations);
        }
        server.join().unwrap();
    }

    #[test]
    fn a_wrong_reply_is_counted_and_shown() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let spoil = |count, reply| match count {
            100 => b"-OOM full\r\n".to_vec(),
            _ => reply,
        };
        let server = thread::spawn(move || serve(&listener, 1, spoil));
        let result = run(&options(address, 0, Order::Once)).unwrap();
        server.join().unwrap();
        assert_eq!(result["errors"], 1);
        assert_eq!(result["operations"], 500);
        assert_eq!(result["samples"][0], "SET of key 99: error OOM full");
    }

    #[test]
    fn a_lost_connection_ends_the_run_with_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || drop(listener.accept().unwrap()));
        let mut options = options(address, 0, Order::Once);
        options.duration = Some(Duration::from_secs(5));
        let result = run(&options).unwrap();
        server.join().unwrap();
        assert!(result["errors"].as_u64().unwrap() >= 32, "{result}");
    }
}
