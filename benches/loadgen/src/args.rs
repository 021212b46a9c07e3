use std::time::Duration;

use lexopt::prelude::*;

use crate::error::Error;
use crate::{long, many, near, probe};

pub const USAGE: &str = "\
loadgen MODE --address HOST:PORT [options]

modes
  run      random or sequential GET and SET for --seconds or --ops
  load     SET of every key once
  verify   GET of every key once
  idle     open --connections, print a line, hold them until a line arrives on standard input
  ping     PING on one connection every --interval-us, for --seconds or until a line arrives on standard input
  get      the same with GET of a random key of --keys with --value-bytes
  mget     MGET of all --keys with --value-bytes, for --seconds or until a line arrives
  long     SET (GET with --get-share 100) of --keys values (1 if not given) of --value-bytes in turn, for --ops,
           --seconds or until a line arrives
  near     random reads through shared memory, --address being the path of the near socket
  chase    accesses to --value-bytes of own memory, each dependent on the one before; no --address

options
  --connections N   default 50 (load, verify: 4)
  --depth N         requests sent at once on a connection, default 1 (load, verify: 128)
  --get-share P     percentage of GET, default 100
  --keys N          keys key:000000000000 .. N-1, 16 bytes each, default 100000
  --value-bytes N   default 64
  --order O         random (default) or sequential
  --ops N           end after N requests
  --seconds S       end after S seconds
  --cluster         ask CLUSTER SLOTS, send each key to the address that owns it
  --seed N          of the random numbers, default 1
  --interval-us N   default 200
  --skew S          near: keys are chosen by Zipf's distribution with this exponent (0 to less than 1), not equally

A value begins with its key, so that a reply to GET can be checked. Exit status 1 means that replies were wrong.";

#[derive(Debug)]
pub enum Command {
    Help,
    Drive(Options),
    Idle { address: String, connections: usize },
    Probe(probe::Options),
    Many(many::Options),
    Chase { bytes: usize, seed: u64 },
    Long(long::Options),
    Near(near::Options),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Random,
    /// From the first key to the last, and again from the first.
    Sequential,
    /// From the first key to the last, then the run ends.
    Once,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub address: String,
    pub connections: usize,
    pub depth: usize,
    pub get_share: u32,
    pub keys: u64,
    pub value_bytes: usize,
    pub order: Order,
    pub ops: Option<u64>,
    pub duration: Option<Duration>,
    pub cluster: bool,
    pub seed: u64,
}

/// The command line as given, before a mode has filled in its defaults.
#[derive(Default)]
struct Given {
    mode: Option<String>,
    help: bool,
    address: Option<String>,
    connections: Option<usize>,
    depth: Option<usize>,
    get_share: Option<u32>,
    keys: Option<u64>,
    value_bytes: Option<usize>,
    order: Option<String>,
    ops: Option<u64>,
    seconds: Option<f64>,
    cluster: bool,
    seed: Option<u64>,
    interval_us: Option<u64>,
    skew: Option<f64>,
}

pub fn parse(mut parser: lexopt::Parser) -> Result<Command, Error> {
    let mut given = Given::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => given.help = true,
            Long("address") => given.address = Some(parser.value()?.string()?),
            Long("connections") => given.connections = Some(parser.value()?.parse()?),
            Long("depth") => given.depth = Some(parser.value()?.parse()?),
            Long("get-share") => given.get_share = Some(parser.value()?.parse()?),
            Long("keys") => given.keys = Some(parser.value()?.parse()?),
            Long("value-bytes") => given.value_bytes = Some(parser.value()?.parse()?),
            Long("order") => given.order = Some(parser.value()?.string()?),
            Long("ops") => given.ops = Some(parser.value()?.parse()?),
            Long("seconds") => given.seconds = Some(parser.value()?.parse()?),
            Long("cluster") => given.cluster = true,
            Long("seed") => given.seed = Some(parser.value()?.parse()?),
            Long("interval-us") => given.interval_us = Some(parser.value()?.parse()?),
            Long("skew") => given.skew = Some(parser.value()?.parse()?),
            Value(mode) if given.mode.is_none() => given.mode = Some(mode.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    given.resolve()
}

impl Given {
    fn resolve(self) -> Result<Command, Error> {
        if self.help {
            return Ok(Command::Help);
        }
        let seed = self.seed.unwrap_or(1);
        if self.mode.as_deref() == Some("chase") {
            let bytes = at_least_one("--value-bytes", self.value_bytes.unwrap_or(1 << 20))?;
            return Ok(Command::Chase { bytes, seed });
        }
        let address = self.address.clone().ok_or(Error::Option {
            option: "--address",
            expected: "given as HOST:PORT",
        })?;
        let duration = self.duration()?;
        match self.mode.as_deref() {
            Some("run") => self.run(address, duration),
            Some("load") => self.once(address, 0),
            Some("verify") => self.once(address, 100),
            Some("idle") => Ok(Command::Idle {
                address,
                connections: at_least_one("--connections", self.connections.unwrap_or(50))?,
            }),
            Some(mode @ ("ping" | "get")) => Ok(Command::Probe(probe::Options {
                address,
                interval: Duration::from_micros(self.interval_us.unwrap_or(200)),
                duration,
                seed,
                values: (mode == "get").then_some(probe::Values {
                    keys: self.keys.unwrap_or(100_000).max(1),
                    bytes: self.value_bytes.unwrap_or(64),
                }),
            })),
            Some("mget") => Ok(Command::Many(many::Options {
                address,
                keys: self.keys.unwrap_or(10_000).max(1),
                value_bytes: self.value_bytes.unwrap_or(64),
                duration,
            })),
            Some("near") => Ok(Command::Near(near::Options {
                path: address,
                keys: self.keys.unwrap_or(100_000).max(2),
                value_bytes: self.value_bytes.unwrap_or(64),
                seed,
                skew: self.skew()?,
                duration: duration.unwrap_or(Duration::from_secs(2)),
            })),
            Some("long") => Ok(Command::Long(long::Options {
                address,
                value_bytes: self.value_bytes.unwrap_or(1 << 20),
                keys: self.keys.unwrap_or(1).max(1),
                reads: self.get_share.unwrap_or(0) > 0,
                ops: self.ops,
                duration,
            })),
            _ => Err(Error::Option {
                option: "MODE",
                expected: "run, load, verify, idle, ping, get, mget, long, near or chase",
            }),
        }
    }

    fn skew(&self) -> Result<Option<f64>, Error> {
        let is_known = self.skew.is_none_or(|skew| (0.0..1.0).contains(&skew));
        is_known.then_some(self.skew).ok_or(Error::Option {
            option: "--skew",
            expected: "0 to less than 1",
        })
    }

    fn duration(&self) -> Result<Option<Duration>, Error> {
        self.seconds
            .map(|seconds| {
                Duration::try_from_secs_f64(seconds).map_err(|_| Error::Option {
                    option: "--seconds",
                    expected: "a number of seconds",
                })
            })
            .transpose()
    }

    fn run(self, address: String, duration: Option<Duration>) -> Result<Command, Error> {
        if self.ops.is_none() && duration.is_none() {
            return Err(Error::Option {
                option: "--ops or --seconds",
                expected: "given, so that the run ends",
            });
        }
        let order = match self.order.as_deref() {
            None | Some("random") => Order::Random,
            Some("sequential") => Order::Sequential,
            Some(_) => {
                return Err(Error::Option {
                    option: "--order",
                    expected: "random or sequential",
                });
            }
        };
        let get_share = self.get_share.unwrap_or(100);
        self.options(address, (50, 1), get_share, order, duration)
    }

    fn once(self, address: String, get_share: u32) -> Result<Command, Error> {
        self.options(address, (4, 128), get_share, Order::Once, None)
    }

    fn options(
        self,
        address: String,
        (connections, depth): (usize, usize),
        get_share: u32,
        order: Order,
        duration: Option<Duration>,
    ) -> Result<Command, Error> {
        if get_share > 100 {
            return Err(Error::Option {
                option: "--get-share",
                expected: "0 to 100",
            });
        }
        let keys = self.keys.unwrap_or(100_000);
        if keys == 0 || keys > 1_000_000_000_000 {
            return Err(Error::Option {
                option: "--keys",
                expected: "1 to 10^12",
            });
        }
        Ok(Command::Drive(Options {
            address,
            connections: at_least_one("--connections", self.connections.unwrap_or(connections))?,
            depth: at_least_one("--depth", self.depth.unwrap_or(depth))?,
            get_share,
            keys,
            value_bytes: self.value_bytes.unwrap_or(64),
            order,
            ops: self.ops,
            duration,
            cluster: self.cluster,
            seed: self.seed.unwrap_or(1),
        }))
    }
}

fn at_least_one(option: &'static str, number: usize) -> Result<usize, Error> {
    if number == 0 {
        return Err(Error::Option {
            option,
            expected: "at least 1",
        });
    }
    Ok(number)
}
