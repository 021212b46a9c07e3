//! Several policies at several sizes over one trace.

use super::Cache;
use super::policies::{Adaptive, Lfu, Lru, S3Fifo, Sampled, Sampling, WTinyLfu};
use super::trace::{Event, Format, Reader, TraceError};

/// Window of the W-TinyLFU that does not adapt, in percent.
const FIXED_WINDOW_PERCENT: u64 = 1;

/// Makes a cache of so many bytes.
pub type Make = fn(u64) -> Box<dyn Cache + Send + Sync>;

/// The policies by the names under which they can be asked for.
pub const POLICIES: [(&str, Make); 8] = [
    ("tinylfu", |bytes| Box::new(Adaptive::new(bytes))),
    ("lru", |bytes| Box::new(Lru::new(bytes))),
    ("lfu", |bytes| Box::new(Lfu::new(bytes))),
    ("s3-fifo", |bytes| Box::new(S3Fifo::new(bytes))),
    ("w-tinylfu-1", |bytes| {
        Box::new(WTinyLfu::new(bytes, FIXED_WINDOW_PERCENT))
    }),
    ("sampled-lru", |bytes| {
        Box::new(Sampled::new(bytes, Sampling::Lru))
    }),
    ("sampled-lfu", |bytes| {
        Box::new(Sampled::new(bytes, Sampling::Lfu))
    }),
    ("random", |bytes| {
        Box::new(Sampled::new(bytes, Sampling::Random))
    }),
];

/// What one policy made of the trace at one size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    pub policy: String,
    /// Memory of the cache in bytes.
    pub memory: u64,
    pub reads: u64,
    pub hits: u64,
    pub read_bytes: u64,
    pub hit_bytes: u64,
}

struct Lane {
    outcome: Outcome,
    make: Make,
    cache: Option<Box<dyn Cache + Send + Sync>>,
}

/// A simulation under way.
pub struct Simulation {
    reader: Reader,
    lanes: Vec<Lane>,
    events: Vec<Event>,
    threads: usize,
    count: u64,
}

impl Simulation {
    /// `policies` by name, each at each of the sizes `memory` in bytes. Fails with the name that is not known.
    pub fn new(
        policies: &[String],
        memory: &[u64],
        format: Format,
        object_bytes: u64,
        overhead: u64,
    ) -> Result<Self, String> {
        let mut lanes = Vec::new();
        for name in policies {
            let (_, make) = POLICIES
                .iter()
                .find(|(known, _)| known == name)
                .ok_or_else(|| name.clone())?;
            lanes.extend(memory.iter().map(|bytes| Lane {
                outcome: Outcome {
                    policy: name.clone(),
                    memory: *bytes,
                    reads: 0,
                    hits: 0,
                    read_bytes: 0,
                    hit_bytes: 0,
                },
                make: *make,
                cache: None,
            }));
        }
        Ok(Self {
            reader: Reader::new(format, object_bytes, overhead),
            lanes,
            events: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            count: 0,
        })
    }

    /// Takes the next piece of the trace. Returns the requests so far.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<u64, TraceError> {
        let read = self.reader.feed(bytes, &mut self.events);
        self.run();
        read.map(|()| self.count)
    }

    /// Takes what is left, and tells what came of it.
    pub fn finish(&mut self) -> Result<Vec<Outcome>, TraceError> {
        self.reader.finish(&mut self.events)?;
        self.run();
        Ok(self.lanes.iter().map(|lane| lane.outcome.clone()).collect())
    }

    fn run(&mut self) {
        let shift = self.reader.sample_shift();
        let each = self.lanes.len().div_ceil(self.threads).max(1);
        let events = &self.events;
        std::thread::scope(|scope| {
            for lanes in self.lanes.chunks_mut(each) {
                scope.spawn(move || lanes.iter_mut().for_each(|lane| lane.run(events, shift)));
            }
        });
        self.count += self.events.len() as u64;
        self.events.clear();
    }
}

impl Lane {
    fn run(&mut self, events: &[Event], shift: u32) {
        // A sample of the keys is as a whole trace to as much less memory.
        let bytes = self.outcome.memory >> shift;
        let cache = self.cache.get_or_insert_with(|| (self.make)(bytes));
        for event in events {
            let hit = cache.request(event.hash, event.cost);
            if event.read {
                self.outcome.reads += 1;
                self.outcome.read_bytes += event.cost;
            }
            if event.read && hit {
                self.outcome.hits += 1;
                self.outcome.hit_bytes += event.cost;
            }
        }
    }
}
