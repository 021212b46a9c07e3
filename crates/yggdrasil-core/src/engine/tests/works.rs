//! Changes in steps inside of transactions and scripts: what they leave, and who is served meanwhile.

use std::collections::BTreeSet;

use super::rests::{MANY, keys_of_shards, number, strings};
use super::staged::OPTIONS;
use super::{ClientId, Node, encoded};

/// What a client sends that has its requests executed as one transaction.
fn transaction(steps: &[&[&[u8]]]) -> Vec<u8> {
    let steps = steps.iter().copied().map(encoded);
    let [first, last] = [b"multi".as_slice(), b"exec"].map(|word| encoded(&[word]));
    std::iter::once(first)
        .chain(steps)
        .chain([last])
        .collect::<Vec<_>>()
        .concat()
}

fn by_score(index: usize) -> Vec<Vec<u8>> {
    vec![index.to_string().into_bytes(), number(index)]
}

impl Node {
    /// Lets a client send requests, and others ask until it has its last reply. Gives what it has got, the PINGs that
    /// were answered meanwhile by the owner of a key, and the numbers of members that were seen there.
    fn beside(
        &mut self,
        client: ClientId,
        requests: &[u8],
        key: &[u8],
        end: &[u8],
    ) -> (Vec<u8>, usize, BTreeSet<String>) {
        let owner = self.engines[0].owner_of(key);
        let (pings, looks) = (self.connect(owner), self.connect(owner));
        self.put(client, requests);
        self.put(looks, &encoded(&[b"zcard", key]));
        let mut rounds = 0;
        while !self.clients[client].received.ends_with(end) {
            self.put(pings, &encoded(&[b"ping"]));
            self.rounds(1);
            rounds += 1;
            assert!(rounds < 1000, "no end of it");
        }
        let answered = self.replies(pings).len() / b"+PONG\r\n".len();
        self.settle();
        let seen = String::from_utf8(self.replies(looks)).unwrap();
        let seen = seen.split_terminator("\r\n").map(str::to_owned).collect();
        (self.replies(client), answered, seen)
    }
}

#[test]
fn a_change_inside_of_exec_is_made_in_steps() {
    for shards in [1, 2] {
        let mut node = Node::with_shards(shards, &OPTIONS);
        let client = node.connect(0);
        let keys = keys_of_shards(&node);
        for key in &keys {
            node.fill(client, b"zadd", key, by_score);
            let cut: &[&[u8]] = &[b"zremrangebyrank", key, b"0", b"2999"];
            let count: &[&[u8]] = &[b"zcard", key];
            let steps = [cut, count, cut, &[b"zadd", key, b"1", b"new"], count];
            let end = b"*5\r\n:3000\r\n:2000\r\n:2000\r\n:1\r\n:1\r\n";
            let (_, answered, seen) = node.beside(client, &transaction(&steps), key, end);
            assert!(answered > 5, "{answered} PINGs in {shards} shards");
            let possible = [":5000", ":1"].map(str::to_owned);
            assert!(seen.is_subset(&BTreeSet::from(possible)), "{seen:?}");
        }
    }
}

#[test]
fn a_result_inside_of_exec_is_stored_in_steps() {
    for shards in [1, 2] {
        let mut node = Node::with_shards(shards, &OPTIONS);
        let client = node.connect(0);
        for key in keys_of_shards(&node) {
            node.fill(client, b"zadd", &key, by_score);
            let copy = [&b"{"[..], &key, b"} copy"].concat();
            let steps: [&[&[u8]]; 3] = [
                &[b"zunionstore", &copy, b"2", &key, &copy],
                &[b"zcard", &copy],
                &[b"zrangestore", &key, &copy, b"0", b"1499"],
            ];
            let end = b"*3\r\n:5000\r\n:5000\r\n:1500\r\n";
            let (_, answered, seen) = node.beside(client, &transaction(&steps), &key, end);
            assert!(answered > 8, "{answered} PINGs in {shards} shards");
            let possible = [":5000", ":1500"].map(str::to_owned);
            assert!(seen.is_subset(&BTreeSet::from(possible)), "{seen:?}");
            let left = strings(&node.ask(client, &[b"zrange", &key, b"0", b"-1"]));
            assert!(left.into_iter().eq((0..1500).map(number)));
        }
    }
}

#[test]
fn a_change_of_a_script_is_made_in_steps() {
    let cut = b"local n = redis.call('zremrangebyrank', KEYS[1], 0, 2999) \
                return {n, redis.call('zcard', KEYS[1]), redis.call('zadd', KEYS[1], 1, 'new')}";
    for shards in [1, 2] {
        let mut node = Node::with_shards(shards, &OPTIONS);
        let client = node.connect(0);
        let keys = keys_of_shards(&node);
        for key in &keys {
            let script: &[&[u8]] = &[b"eval", cut, b"1", key];
            // Of a script that names a key of each shard, the worker of its client has them all.
            let over_all = [&[&b"eval"[..], cut, b"2", key][..], &[&keys[0]]].concat();
            let over_all = over_all.as_slice();
            let ways: [(Vec<u8>, &[u8]); 3] = [
                (encoded(script), b"*3\r\n:3000\r\n:2000\r\n:1\r\n"),
                (encoded(over_all), b"*3\r\n:3000\r\n:2000\r\n:1\r\n"),
                (
                    transaction(&[script, &[b"zcard", key]]),
                    b"*2\r\n*3\r\n:3000\r\n:2000\r\n:1\r\n:2001\r\n",
                ),
            ];
            for (requests, end) in ways {
                node.ask(client, &[b"del", key]);
                node.fill(client, b"zadd", key, by_score);
                let (_, answered, seen) = node.beside(client, &requests, key, end);
                assert!(answered > 5, "{answered} PINGs in {shards} shards");
                let possible = [":5000", ":2001"].map(str::to_owned);
                assert!(seen.is_subset(&BTreeSet::from(possible)), "{seen:?}");
            }
        }
    }
}

#[test]
fn what_is_undone_behind_a_change_in_steps_leaves_that_whole() {
    let mut options = OPTIONS;
    options[1].1 = "30000000";
    options[2].1 = "50000000";
    options[4].1 = "10000000";
    let mut node = Node::start(&options);
    let client = node.connect(0);
    let keys = keys_of_shards(&node);
    let [own, other] = [0, 1].map(|at| keys[at].as_slice());
    node.fill(client, b"zadd", other, by_score);
    let name = [&b"{"[..], other, b"} name"].concat();
    let large = vec![b'v'; 18_000_000];
    let steps: [&[&[u8]]; 3] = [
        &[b"zremrangebyrank", other, b"0", b"2999"],
        &[b"mset", &name, b"v", other, b"v", own, &large],
        &[b"exists", &name],
    ];
    let requests = transaction(&steps);
    node.send(client, &requests, usize::MAX, false);
    let replies = String::from_utf8(node.replies(client)).unwrap();
    let reply = replies.rsplit("+QUEUED\r\n").next().unwrap();
    assert!(reply.starts_with("*3\r\n:3000\r\n-OOM"), "{reply}");
    assert!(reply.ends_with(":0\r\n"), "{reply}");
    let left = strings(&node.ask(client, &[b"zrange", other, b"0", b"-1"]));
    assert!(left.into_iter().eq((3000..MANY).map(number)));
}

#[test]
fn a_change_for_a_worker_that_dies_is_made_whole() {
    let mut node = Node::start(&OPTIONS);
    let (client, looks) = (node.connect(0), node.connect(1));
    let key = keys_of_shards(&node).remove(1);
    node.fill(client, b"zadd", &key, by_score);
    let steps: [&[&[u8]]; 2] = [
        &[b"zremrangebyrank", &key, b"0", b"2999"],
        &[b"zadd", &key, b"1", b"new"],
    ];
    node.put(client, &transaction(&steps));
    while !node.engines[1].has_steps() {
        node.rounds(1);
    }
    node.engines[1].step();
    assert!(node.engines[1].reserved.is_some());
    let _ = node.engines[1].control.next_incarnation(0);
    node.engines[1].poll();
    assert!(node.engines[1].reserved.is_none());
    node.put(looks, &encoded(&[b"zcard", &key]));
    node.deliver(1);
    assert_eq!(node.replies(looks), b":2000\r\n");
}

#[test]
fn a_long_sort_is_stored_as_a_short_one() {
    let mut node = Node::start(&OPTIONS);
    let client = node.connect(0);
    let scrambled = |index: usize| (index * 7919 % MANY).to_string().into_bytes();
    for key in keys_of_shards(&node) {
        let name = [&b"{"[..], &key, b"} sorted"].concat();
        node.fill(client, b"rpush", &key, |index| vec![scrambled(index)]);
        let mut numbers: Vec<usize> = (0..MANY).collect();
        let mut texts: Vec<_> = (0..MANY).map(scrambled).collect();
        let places = texts.clone();
        texts.sort();
        let words = |numbers: &[usize]| -> Vec<Vec<u8>> {
            let words = numbers.iter().map(|number| number.to_string().into_bytes());
            words.collect()
        };
        let mut check = |options: &[&[u8]], expected: &[Vec<u8>]| {
            let request = [&[&b"sort"[..], &key], options, &[b"store", &name]].concat();
            let count = format!(":{}\r\n", expected.len());
            assert_eq!(node.ask(client, &request), count.as_bytes());
            let stored = node.ask(client, &[b"lrange", &name, b"0", b"-1"]);
            assert!(strings(&stored) == expected, "{options:?}");
            let request = [&[&b"sort"[..], &key], options].concat();
            assert!(
                strings(&node.ask(client, &request)) == expected,
                "{options:?}"
            );
        };
        check(&[], &words(&numbers));
        check(&[b"limit", b"10", b"3000"], &words(&numbers[10..3010]));
        check(&[b"limit", b"10", b"20"], &words(&numbers[10..30]));
        check(&[b"limit", b"6000", b"20"], &[]);
        check(&[b"alpha"], &texts);
        check(&[b"by", b"nosort"], &places);
        numbers.reverse();
        check(&[b"desc"], &words(&numbers));
        let back: Vec<_> = places.iter().rev().cloned().collect();
        check(&[b"by", b"nosort", b"desc"], &back);
        node.ask(client, &[b"rpush", &key, b"no number"]);
        node.ask(client, &[b"set", &name, b"v"]);
        let error = b"-ERR One or more scores can't be converted into double\r\n";
        assert_eq!(node.ask(client, &[b"sort", &key, b"store", &name]), error);
        assert_eq!(node.ask(client, &[b"get", &name]), b"$1\r\nv\r\n");
    }
}

#[test]
fn a_long_search_finds_what_is_near() {
    let mut node = Node::start(&OPTIONS);
    let client = node.connect(0);
    // On the equator, to the east: the distances have the order of the members.
    let degrees = |index: usize| format!("{}", index as f64 * 0.001).into_bytes();
    let name_of = |index: usize| number(index);
    for key in keys_of_shards(&node) {
        let stored = [&b"{"[..], &key, b"} near"].concat();
        node.fill(client, b"geoadd", &key, |index| {
            vec![degrees(index), b"0".to_vec(), name_of(index)]
        });
        let around: [&[u8]; 4] = [b"fromlonlat", b"0", b"0", b"byradius"];
        let mut find = |options: &[&[u8]]| {
            let request = [&[&b"geosearch"[..], &key], &around[..], options].concat();
            strings(&node.ask(client, &request))
        };
        // A degree has 111.2 km.
        let within: Vec<_> = (0..4000).map(name_of).collect();
        assert!(find(&[b"444.85", b"km", b"asc"]) == within);
        let mut any = find(&[b"444.85", b"km"]);
        any.sort();
        assert!(any == within);
        let back: Vec<_> = within.iter().rev().cloned().collect();
        assert!(find(&[b"444.85", b"km", b"desc"]) == back);
        assert!(find(&[b"444.85", b"km", b"desc", b"count", b"3"]) == back[..3]);
        assert!(find(&[b"444.85", b"km", b"count", b"2000"]) == within[..2000]);
        assert_eq!(find(&[b"444.85", b"km", b"count", b"7", b"any"]).len(), 7);
        let pairs = find(&[b"444.85", b"km", b"asc", b"withdist"]);
        assert_eq!(pairs.len(), 8000);
        assert_eq!(pairs[0], name_of(0));
        assert_eq!(pairs[2], name_of(1));
        let mut store = |options: &[&[u8]]| {
            let request = [
                &[&b"geosearchstore"[..], &stored, &key],
                &around[..],
                options,
            ];
            let count = node.ask(client, &request.concat());
            let members = node.ask(client, &[b"zrange", &stored, b"0", b"-1"]);
            (count, strings(&members))
        };
        let (count, members) = store(&[b"444.85", b"km", b"storedist"]);
        assert_eq!(count, b":4000\r\n");
        assert!(members == within);
        let (count, members) = store(&[b"444.85", b"km", b"count", b"1500", b"desc", b"storedist"]);
        assert_eq!(count, b":1500\r\n");
        assert!(members == within[2500..]);
        let (count, mut members) = store(&[b"444.85", b"km"]);
        members.sort();
        assert_eq!(count, b":4000\r\n");
        assert!(members == within);
    }
}
