use crate::args::{Options, Order};
use crate::cluster;
use crate::reply::{self, NoReply, Reply};

pub const KEY_BYTES: usize = 16;
const KEY_PREFIX: &[u8; 4] = b"key:";
const DIGIT_PAIRS: usize = (KEY_BYTES - KEY_PREFIX.len()) / 2;
const OK: &[u8] = b"+OK\r\n";

/// A request under way: the number of its key, and whether it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub key: u64,
    pub is_get: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right {
        length: usize,
    },
    Wrong {
        length: usize,
    },
    Incomplete,
    /// Not RESP: nothing after it can be trusted.
    Malformed,
}

/// Requests and the replies they must get. Both are templates in which the key's digits are replaced.
pub struct Workload {
    get: Vec<u8>,
    set: Vec<u8>,
    /// Where the key's digits begin in `get` and in `set`.
    get_digits: usize,
    set_digits: usize,
    /// Where the value begins in `set`, and how many bytes of it come from the key.
    set_value: usize,
    embedded: usize,
    got_head: Vec<u8>,
    got_tail: Vec<u8>,
}

impl Workload {
    pub fn new(value_bytes: usize) -> Self {
        let embedded = value_bytes.min(KEY_BYTES);
        let filler: Vec<u8> = (embedded..value_bytes)
            .map(|at| b'a' + (at % 26) as u8)
            .collect();
        let zero = key_bytes(0);
        let get_head = b"*2\r\n$3\r\nGET\r\n$16\r\n";
        let set_head = b"*3\r\n$3\r\nSET\r\n$16\r\n";
        let got_head = format!("${value_bytes}\r\n").into_bytes();
        let got_tail = [&filler[..], b"\r\n"].concat();
        let set_value = set_head.len() + KEY_BYTES + 2 + got_head.len();
        Self {
            get: [get_head, &zero[..], b"\r\n"].concat(),
            set: [
                set_head,
                &zero[..],
                b"\r\n",
                &got_head,
                &zero[KEY_BYTES - embedded..],
                &got_tail,
            ]
            .concat(),
            get_digits: get_head.len(),
            set_digits: set_head.len(),
            set_value,
            embedded,
            got_head,
            got_tail,
        }
    }

    pub fn append(&self, request: Request, out: &mut Vec<u8>) {
        let key = key_bytes(request.key);
        let start = out.len();
        if request.is_get {
            out.extend_from_slice(&self.get);
            out[start + self.get_digits..][..KEY_BYTES].copy_from_slice(&key);
        } else {
            out.extend_from_slice(&self.set);
            out[start + self.set_digits..][..KEY_BYTES].copy_from_slice(&key);
            out[start + self.set_value..][..self.embedded]
                .copy_from_slice(&key[KEY_BYTES - self.embedded..]);
        }
    }

    /// The longest reply that is right; errors may be longer.
    pub fn reply_bytes_max(&self) -> usize {
        self.got_head.len() + self.embedded + self.got_tail.len()
    }

    /// Appends the right reply to a GET of this key.
    pub fn append_answer(&self, key: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.got_head);
        out.extend_from_slice(&key_bytes(key)[KEY_BYTES - self.embedded..]);
        out.extend_from_slice(&self.got_tail);
    }

    /// Checks the reply at the front of `bytes` against the request it answers.
    pub fn check(&self, request: Request, bytes: &[u8]) -> Verdict {
        if !request.is_get {
            if bytes.starts_with(OK) {
                return Verdict::Right { length: OK.len() };
            }
        } else if self.holds_value(request.key, bytes) {
            return Verdict::Right {
                length: self.reply_bytes_max(),
            };
        }
        match reply::parse(bytes) {
            Ok((_, length)) => Verdict::Wrong { length },
            Err(NoReply::Incomplete) => Verdict::Incomplete,
            Err(NoReply::Malformed) => Verdict::Malformed,
        }
    }

    fn holds_value(&self, key: u64, bytes: &[u8]) -> bool {
        let Some(rest) = bytes.strip_prefix(&self.got_head[..]) else {
            return false;
        };
        let key = key_bytes(key);
        let Some(rest) = rest.strip_prefix(&key[KEY_BYTES - self.embedded..]) else {
            return false;
        };
        rest.starts_with(&self.got_tail)
    }
}

/// Words for a wrong reply, short enough to print.
pub fn describe(request: Request, bytes: &[u8]) -> String {
    let asked = if request.is_get { "GET" } else { "SET" };
    let got = match reply::parse(bytes) {
        Ok((Reply::Error(text), _)) => format!("error {}", String::from_utf8_lossy(text)),
        Ok((Reply::Bulk(value), _)) => format!(
            "{} bytes beginning {:?}",
            value.len(),
            String::from_utf8_lossy(&value[..value.len().min(32)])
        ),
        Ok((other, _)) => format!("{other:?}"),
        Err(_) => format!(
            "no RESP: {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(32)])
        ),
    };
    format!("{asked} of key {}: {got}", request.key)
}

pub fn key_bytes(key: u64) -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    bytes[..KEY_PREFIX.len()].copy_from_slice(KEY_PREFIX);
    let mut rest = key;
    for pair in (0..DIGIT_PAIRS).rev() {
        let two = (rest % 100) as u8;
        rest /= 100;
        let at = KEY_PREFIX.len() + 2 * pair;
        bytes[at] = b'0' + two / 10;
        bytes[at + 1] = b'0' + two % 10;
    }
    bytes
}

/// Which request comes next, for each owner of keys (one owner unless the clients know the cluster).
pub struct Source {
    random: u64,
    keys: u64,
    order: Order,
    get_share: u64,
    slots: Option<cluster::Slots>,
    /// The next key to look at, by owner; sequential orders only.
    next: Vec<u64>,
}

impl Source {
    pub fn new(options: &Options, slots: Option<cluster::Slots>) -> Self {
        let owners = slots.as_ref().map_or(1, |slots| slots.addresses.len());
        Self {
            random: options.seed,
            keys: options.keys,
            order: options.order,
            get_share: u64::from(options.get_share),
            slots,
            next: vec![0; owners],
        }
    }

    /// The next request that goes to `owner`, or `None` when it has had all its keys.
    pub fn next(&mut self, owner: usize) -> Option<Request> {
        let key = loop {
            let key = match self.order {
                Order::Random => self.random_below(self.keys),
                Order::Sequential => {
                    let key = self.next[owner];
                    self.next[owner] = (key + 1) % self.keys;
                    key
                }
                Order::Once => {
                    let key = self.next[owner];
                    if key == self.keys {
                        return None;
                    }
                    self.next[owner] = key + 1;
                    key
                }
            };
            if self
                .slots
                .as_ref()
                .is_none_or(|slots| slots.owner(&key_bytes(key)) == owner)
            {
                break key;
            }
        };
        let is_get = match self.get_share {
            0 => false,
            100 => true,
            share => self.random_below(100) < share,
        };
        Some(Request { key, is_get })
    }

    fn random_below(&mut self, limit: u64) -> u64 {
        random_below(&mut self.random, limit)
    }
}

/// A random number from 0 to `limit - 1`.
pub fn random_below(state: &mut u64, limit: u64) -> u64 {
    let wide = u128::from(random_word(state)) * u128::from(limit);
    (wide >> 64) as u64
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn random_word(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Keys of which few are chosen often: the one of rank `r` with a probability of `1 / (r + 1)^skew`, by the method of
/// Gray et al. 1994. The ranks are spread over the keys.
pub struct Zipf {
    keys: u64,
    skew: f64,
    harmonic: f64,
    eta: f64,
}

impl Zipf {
    /// `skew` from 0 to less than 1.
    pub fn new(keys: u64, skew: f64) -> Self {
        let harmonic: f64 = (1..=keys).map(|rank| (rank as f64).powf(-skew)).sum();
        let first_two = 1.0 + 0.5_f64.powf(skew);
        let eta =
            (1.0 - (2.0 / keys as f64).powf(1.0 - skew)) / (1.0 - first_two / harmonic).max(1e-9);
        Self {
            keys,
            skew,
            harmonic,
            eta,
        }
    }

    pub fn next(&self, random: &mut u64) -> u64 {
        // A prime: every rank has a key of its own, unless the number of keys is a multiple of it.
        const SPREAD: u128 = 2_654_435_761;
        let share = (random_word(random) >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = self.rank(share).min(self.keys - 1);
        (u128::from(rank) * SPREAD % u128::from(self.keys)) as u64
    }

    fn rank(&self, share: f64) -> u64 {
        let scaled = share * self.harmonic;
        if scaled < 1.0 {
            0
        } else if scaled < 1.0 + 0.5_f64.powf(self.skew) {
            1
        } else {
            let base = self.eta * share - self.eta + 1.0;
            (self.keys as f64 * base.powf(1.0 / (1.0 - self.skew))) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_42: Request = Request {
        key: 42,
        is_get: true,
    };
    const SET_42: Request = Request {
        key: 42,
        is_get: false,
    };

    /// The value that a SET of the key carries, as a reply to GET would show it.
    fn stored(workload: &Workload, request: Request) -> Vec<u8> {
        let mut set = Vec::new();
        workload.append(
            Request {
                is_get: false,
                ..request
            },
            &mut set,
        );
        let at = workload.set_value - workload.got_head.len();
        set[at..].to_vec()
    }

    #[test]
    fn requests_are_resp_with_keys_of_sixteen_bytes() {
        let workload = Workload::new(20);
        let mut out = Vec::new();
        workload.append(GET_42, &mut out);
        workload.append(SET_42, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n\
             *3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$20\r\nkey:000000000042qrst\r\n"
        );
    }

    #[test]
    fn what_was_set_is_what_get_expects() {
        for value_bytes in [0, 1, 15, 16, 17, 64, 100_000] {
            let workload = Workload::new(value_bytes);
            let reply = stored(&workload, GET_42);
            let right = Verdict::Right {
                length: reply.len(),
            };
            assert_eq!(workload.check(GET_42, &reply), right);
            for end in 0..reply.len().min(100) {
                assert_eq!(workload.check(GET_42, &reply[..end]), Verdict::Incomplete);
            }
        }
    }

    #[test]
    fn every_other_reply_is_wrong() {
        let workload = Workload::new(64);
        let another = stored(
            &workload,
            Request {
                key: 43,
                is_get: true,
            },
        );
        let mut flipped = stored(&workload, GET_42);
        let at = flipped.len() - 5;
        flipped[at] ^= 1;
        for reply in [
            &another[..],
            &flipped,
            b"$-1\r\n",
            b"-ERR x\r\n",
            b"+OK\r\n",
        ] {
            let length = reply.len();
            assert_eq!(workload.check(GET_42, reply), Verdict::Wrong { length });
        }
        assert_eq!(
            workload.check(SET_42, b"-OOM x\r\n"),
            Verdict::Wrong { length: 8 }
        );
        assert_eq!(workload.check(SET_42, b"nonsense\r\n"), Verdict::Malformed);
    }

    #[test]
    fn few_keys_are_chosen_often() {
        let (zipf, mut random, mut counts) = (Zipf::new(1000, 0.99), 1, vec![0_u32; 1000]);
        for _ in 0..100_000 {
            counts[zipf.next(&mut random) as usize] += 1;
        }
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let share = |count: usize| counts[..count].iter().sum::<u32>() as f64 / 100_000.0;
        // The exact shares are 0.129 and 0.67.
        assert!((0.12..0.14).contains(&share(1)), "{}", share(1));
        assert!((0.63..0.71).contains(&share(100)), "{}", share(100));
        assert!(*counts.last().unwrap() > 0);
    }

    #[test]
    fn the_order_once_gives_every_key_to_its_owner() {
        let options = Options {
            address: String::new(),
            connections: 1,
            depth: 1,
            get_share: 0,
            keys: 1_000,
            value_bytes: 1,
            order: Order::Once,
            ops: None,
            duration: None,
            cluster: true,
            seed: 1,
        };
        let slots = cluster::Slots::halves("a:1", "b:2");
        let mut source = Source::new(&options, Some(slots));
        let mut seen = Vec::new();
        for owner in 0..2 {
            let keys: Vec<u64> = std::iter::from_fn(|| source.next(owner))
                .map(|request| request.key)
                .collect();
            assert!(keys.len() > 300);
            seen.extend(keys);
        }
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..1_000));
    }
}
