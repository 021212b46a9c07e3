//! Replies that are made in steps: what they give, beside what else happens meanwhile.

use std::collections::BTreeSet;

use super::staged::OPTIONS;
use super::*;

/// Elements of a collection whose reply goes in steps.
pub(super) const MANY: usize = 5_000;

impl Node {
    /// Gives a client its request and lets each engine do one round of work, until `enough`.
    pub(super) fn in_rounds(
        &mut self,
        id: ClientId,
        args: &[&[u8]],
        mut enough: impl FnMut(&mut Self) -> bool,
    ) {
        self.put(id, &encoded(args));
        while !enough(self) {
            for worker in 0..self.engines.len() {
                self.deliver(worker);
                let wakes = self.engines[worker].take_wakes();
                for other in (0..self.engines.len()).filter(|other| wakes & (1 << other) != 0) {
                    self.engines[other].poll();
                }
            }
        }
    }

    /// Makes a collection of [`MANY`] elements by a command of one.
    pub(super) fn fill(
        &mut self,
        id: ClientId,
        command: &[u8],
        key: &[u8],
        of: impl Fn(usize) -> Vec<Vec<u8>>,
    ) {
        for first in (0..MANY).step_by(500) {
            let mut args = vec![command.to_vec(), key.to_vec()];
            args.extend((first..first + 500).flat_map(&of));
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            self.ask(id, &args);
        }
    }
}

pub(super) fn number(index: usize) -> Vec<u8> {
    format!("element {index:05}").into_bytes()
}

/// The bulk strings of a reply that is a flat array of them, or a map or a set.
pub(super) fn strings(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = reply.split(|byte| *byte == b'\n').skip(1);
    let mut all = Vec::new();
    while let Some(header) = lines.next() {
        if header.first() == Some(&b'$') {
            let text = lines.next().unwrap();
            all.push(text[..text.len() - 1].to_vec());
        }
    }
    all
}

/// A key of each shard: commands of a client of worker 0 are its own, and another's.
pub(super) fn keys_of_shards(node: &Node) -> Vec<Vec<u8>> {
    let named = (0..100).map(|index| format!("key {index}").into_bytes());
    let named: Vec<_> = named.collect();
    let of = |shard| {
        named
            .iter()
            .find(|key| node.engines[0].owner_of(key) == shard)
    };
    (0..node.engines.len())
        .map(|shard| of(shard).unwrap().clone())
        .collect()
}

#[test]
fn a_list_is_given_as_it_was_whatever_comes_meanwhile() {
    let mut node = Node::start(&OPTIONS);
    for key in keys_of_shards(&node) {
        let (reader, writer) = (node.connect(0), node.connect(0));
        node.fill(writer, b"rpush", &key, |index| vec![number(index)]);
        let mut changes = 0;
        node.in_rounds(reader, &[b"lrange", &key, b"0", b"-1"], |node| {
            changes += 1;
            match changes {
                3 => node.put(writer, &encoded(&[b"lpush", &key, b"new"])),
                5 => node.put(writer, &encoded(&[b"ltrim", &key, b"0", b"10"])),
                7 => node.put(writer, &encoded(&[b"del", &key])),
                _ => {}
            }
            changes > 20
        });
        node.settle();
        let reply = node.replies(reader);
        assert!(reply.starts_with(format!("*{MANY}\r\n").as_bytes()));
        let expected: Vec<_> = (0..MANY).map(number).collect();
        assert!(strings(&reply) == expected);
        assert_eq!(node.replies(writer), b":5001\r\n+OK\r\n:1\r\n");
        assert!(
            node.engines
                .iter()
                .all(|engine| engine.steps.rests.is_empty())
        );
    }
}

#[test]
fn replies_stay_in_order_behind_a_long_one() {
    let mut node = Node::start(&OPTIONS);
    let keys = keys_of_shards(&node);
    let client = node.connect(0);
    for key in &keys {
        node.fill(client, b"sadd", key, |index| vec![number(index)]);
    }
    let mut requests = Vec::new();
    for key in &keys {
        requests.extend(encoded(&[b"incr", b"counter"]));
        requests.extend(encoded(&[b"smembers", key]));
        requests.extend(encoded(&[b"scard", key]));
        requests.extend(encoded(&[b"srandmember", key, b"-2000"]));
        requests.extend(encoded(&[b"spop", key]));
    }
    node.send(client, &requests, usize::MAX, false);
    let reply = node.replies(client);
    let lines: Vec<_> = reply.split(|byte| *byte == b'\n').collect();
    let headers: Vec<_> = lines
        .iter()
        .filter(|line| matches!(line.first(), Some(b'*' | b':')))
        .map(|line| String::from_utf8_lossy(line).trim().to_owned())
        .collect();
    let expected = |count| {
        [
            format!(":{count}"),
            "*5000".into(),
            ":5000".into(),
            "*2000".into(),
        ]
    };
    assert_eq!(headers, [expected(1), expected(2)].concat());
    assert_eq!(strings(&reply).len(), 2 * (MANY + 2000 + 1));
}

#[test]
fn nothing_is_left_of_a_client_that_leaves() {
    let mut node = Node::start(&OPTIONS);
    for key in keys_of_shards(&node) {
        let client = node.connect(0);
        node.fill(client, b"rpush", &key, |index| vec![number(index)]);
        let mut rounds = 0;
        node.in_rounds(client, &[b"lrange", &key, b"0", b"-1"], |_| {
            rounds += 1;
            rounds > 2
        });
        node.reconnect(client);
        node.ask(client, &[b"del", &key]);
        node.wait(1000);
        assert!(
            node.engines
                .iter()
                .all(|engine| engine.steps.rests.is_empty())
        );
    }
}

#[test]
fn a_client_that_does_not_read_costs_no_more_than_a_part() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let client = node.connect(0);
    let long = vec![b'x'; 1000];
    node.fill(client, b"rpush", b"list", |_| vec![long.clone()]);
    let at = node.clients[client].at;
    node.put(client, &encoded(&[b"lrange", b"list", b"0", b"-1"]));
    let engine = &mut node.engines[0];
    let mut ready = Vec::new();
    for _ in 0..100 {
        engine.take_ready(&mut ready);
        engine.step();
    }
    assert!(!engine.has_steps());
    assert!(engine.sessions[at.index].output.held() < 400_000);
    let mut received = 0;
    while let bytes = engine.unsent_copy(at, 1 << 20)
        && !bytes.is_empty()
    {
        received += bytes.len();
        engine.sent(at, bytes.len(), true);
        engine.step();
    }
    assert_eq!(
        received,
        b"*5000\r\n".len() + MANY * (b"$1000\r\n\r\n".len() + 1000)
    );
}

#[test]
fn a_muted_client_gets_nothing_of_a_long_reply() {
    let mut node = Node::start(&OPTIONS);
    for key in keys_of_shards(&node) {
        let client = node.connect(0);
        node.fill(client, b"rpush", &key, |index| vec![number(index)]);
        node.send(
            client,
            &encoded(&[b"client", b"reply", b"skip"]),
            usize::MAX,
            false,
        );
        assert_eq!(node.ask(client, &[b"lrange", &key, b"0", b"-1"]), b"");
        assert_eq!(node.ask(client, &[b"llen", &key]), b":5000\r\n");
    }
}

#[test]
fn every_kind_is_given_whole() {
    let mut node = Node::start(&OPTIONS);
    let keys = keys_of_shards(&node);
    let client = node.connect(0);
    for protocol in ["2", "3"] {
        node.ask(client, &[b"hello", protocol.as_bytes()]);
        for key in &keys {
            let mut expected: Vec<_> = (0..MANY).map(number).collect();
            let get = |node: &mut Node, args: &[&[u8]]| {
                let mut all = strings(&node.ask(client, args));
                all.sort();
                all
            };
            node.ask(client, &[b"del", key]);
            node.fill(client, b"hset", key, |index| {
                vec![number(index), b"v".to_vec()]
            });
            assert!(get(&mut node, &[b"hkeys", key]) == expected);
            assert_eq!(get(&mut node, &[b"hvals", key]).len(), MANY);
            assert_eq!(get(&mut node, &[b"hgetall", key]).len(), 2 * MANY);
            assert!(get(&mut node, &[b"hrandfield", key, b"5000"]) == expected);
            assert_eq!(get(&mut node, &[b"hrandfield", key, b"-9000"]).len(), 9000);
            let some = get(&mut node, &[b"hrandfield", key, b"2500"]);
            assert_eq!(some.len(), 2500);
            assert!(some.is_sorted_by(|one, next| one < next));
            node.ask(client, &[b"del", key]);
            node.fill(client, b"sadd", key, |index| vec![number(index)]);
            assert!(get(&mut node, &[b"smembers", key]) == expected);
            assert!(get(&mut node, &[b"srandmember", key, b"5000"]) == expected);
            node.ask(client, &[b"del", key]);
            node.fill(client, b"zadd", key, |index| {
                vec![index.to_string().into_bytes(), number(index)]
            });
            assert!(get(&mut node, &[b"zrandmember", key, b"5000"]) == expected);
            let range = strings(&node.ask(client, &[b"zrange", key, b"1", b"-2"]));
            assert!(range == expected[1..MANY - 1]);
            let range = strings(&node.ask(client, &[b"zrange", key, b"1", b"-3", b"rev"]));
            expected.reverse();
            assert!(range == expected[1..MANY - 2]);
            node.ask(client, &[b"del", key]);
        }
    }
}

#[test]
fn a_transaction_gives_several_long_replies_as_they_were() {
    let mut node = Node::start(&OPTIONS);
    let client = node.connect(0);
    let keys = keys_of_shards(&node);
    for key in &keys {
        node.fill(client, b"rpush", key, |index| vec![number(index)]);
    }
    let mut requests = encoded(&[b"multi"]);
    for key in &keys {
        requests.extend(encoded(&[b"lrange", key, b"0", b"-1"]));
        requests.extend(encoded(&[b"ltrim", key, b"4999", b"-1"]));
        requests.extend(encoded(&[b"lrange", key, b"0", b"-1"]));
    }
    requests.extend(encoded(&[b"exec"]));
    requests.extend(encoded(&[b"ping"]));
    node.send(client, &requests, usize::MAX, false);
    let reply = node.replies(client);
    let begins = [
        b"+OK\r\n".as_slice(),
        &b"+QUEUED\r\n".repeat(6),
        b"*6\r\n*5000\r\n",
    ]
    .concat();
    assert!(reply.starts_with(&begins));
    assert!(reply.ends_with(b"+OK\r\n*1\r\n$13\r\nelement 04999\r\n+PONG\r\n"));
    let one: Vec<_> = (0..MANY).chain([MANY - 1]).map(number).collect();
    assert!(strings(&reply) == [one.clone(), one].concat());
    assert!(
        node.engines
            .iter()
            .all(|engine| engine.steps.rests.is_empty())
    );
}

/// Sets of numbers of which each client command adds some.
fn sets(node: &mut Node, id: ClientId, command: &[u8], keys: &[Vec<u8>]) -> Vec<BTreeSet<usize>> {
    let of = [(0, 3000, 1), (1000, 6000, 2), (0, 5000, 3)];
    let all = of.iter().zip(keys).map(|((from, to, step), key)| {
        let members: BTreeSet<usize> = (*from..*to).step_by(*step).collect();
        for some in members.iter().collect::<Vec<_>>().chunks(500) {
            let mut args = vec![command.to_vec(), key.clone()];
            for member in some {
                if command == b"zadd" {
                    args.push((*member % 7).to_string().into_bytes());
                }
                args.push(number(**member));
            }
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            node.ask(id, &args);
        }
        members
    });
    all.collect()
}

#[test]
fn combinations_of_large_sets_are_those_of_small_ones() {
    for (shards, kind) in [(1, &b"sadd"[..]), (2, b"sadd"), (1, b"zadd"), (2, b"zadd")] {
        let mut node = Node::with_shards(shards, &OPTIONS);
        let client = node.connect(0);
        let keys: Vec<_> = (0..3)
            .map(|key| format!("key {key}").into_bytes())
            .collect();
        let sets = sets(&mut node, client, kind, &keys);
        let union: BTreeSet<_> = sets.iter().flatten().copied().collect();
        let all = |member: &usize| sets.iter().all(|set| set.contains(member));
        let inter: BTreeSet<_> = union.iter().copied().filter(all).collect();
        let rest = |member: &usize| !sets[1].contains(member) && !sets[2].contains(member);
        let diff: BTreeSet<_> = sets[0].iter().copied().filter(rest).collect();
        let mut ask = |verb: &str, more: &[&[u8]]| {
            let name = match kind {
                b"sadd" => format!("s{verb}"),
                _ => format!("z{verb}"),
            };
            let mut args = vec![name.as_bytes()];
            if kind == b"zadd" {
                args.push(b"3");
            }
            args.extend(keys.iter().map(Vec::as_slice));
            args.extend(more);
            let reply = node.ask(client, &args);
            let mut given = strings(&reply);
            given.sort();
            (given, reply)
        };
        let texts = |set: &BTreeSet<usize>| -> Vec<_> { set.iter().copied().map(number).collect() };
        assert!(ask("union", &[]).0 == texts(&union));
        assert!(ask("inter", &[]).0 == texts(&inter));
        assert!(ask("diff", &[]).0 == texts(&diff));
        for (verb, expected) in [("union", &union), ("inter", &inter), ("diff", &diff)] {
            let (name, read): (_, [&[u8]; 4]) = match kind {
                b"sadd" => (format!("s{verb}store"), [b"smembers", b"made", b"", b""]),
                _ => (format!("z{verb}store"), [b"zrange", b"made", b"0", b"-1"]),
            };
            let mut args: Vec<&[u8]> = vec![name.as_bytes(), b"made"];
            args.extend((kind == b"zadd").then_some(&b"3"[..]));
            args.extend(keys.iter().map(Vec::as_slice));
            let count = format!(":{}\r\n", expected.len());
            assert_eq!(node.ask(client, &args), count.as_bytes());
            let read = read.into_iter().filter(|word| !word.is_empty());
            let mut made = strings(&node.ask(client, &read.collect::<Vec<_>>()));
            made.sort();
            assert!(made == texts(expected));
        }
        let mut ask = |verb: &str, more: &[&[u8]]| {
            let name = format!("z{verb}");
            let mut args = vec![name.as_bytes(), b"3"];
            args.extend(keys.iter().map(Vec::as_slice));
            args.extend(more);
            node.ask(client, &args)
        };
        if kind == b"zadd" {
            let reply = ask("inter", &[b"aggregate", b"max", b"withscores"]);
            let of_pairs = strings(&reply);
            let pairs: Vec<_> = of_pairs.chunks(2).collect();
            assert_eq!(pairs.len(), inter.len());
            let ordered = |pairs: &[Vec<u8>]| (pairs[1].clone(), pairs[0].clone());
            assert!(pairs.iter().map(|pair| ordered(pair)).is_sorted());
            assert!(pairs.iter().all(|pair| {
                let member = String::from_utf8_lossy(&pair[0][8..])
                    .parse::<usize>()
                    .unwrap();
                pair[1] == (member % 7).to_string().as_bytes()
            }));
        }
    }
}

#[test]
fn the_number_of_an_intersection_ends_at_its_limit() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let client = node.connect(0);
    let keys = [b"a".to_vec(), b"b".to_vec()];
    let sets = sets(&mut node, client, b"sadd", &keys);
    let count = sets[0].intersection(&sets[1]).count();
    let whole = node.ask(client, &[b"sintercard", b"2", b"a", b"b"]);
    assert_eq!(whole, format!(":{count}\r\n").into_bytes());
    for limit in [1, 700, count, count + 1] {
        let text = limit.to_string();
        let args: [&[u8]; 6] = [b"sintercard", b"2", b"a", b"b", b"limit", text.as_bytes()];
        let expected = format!(":{}\r\n", limit.min(count));
        assert_eq!(node.ask(client, &args), expected.as_bytes());
    }
}

#[test]
fn a_search_in_a_long_list_is_one_in_a_short_one() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let client = node.connect(0);
    node.fill(client, b"rpush", b"list", |index| {
        vec![number(index % 1000)]
    });
    let mut ask = |more: &[&[u8]]| {
        let sought = number(7);
        let args = [&[b"lpos", b"list", sought.as_slice()][..], more].concat();
        String::from_utf8(node.ask(client, &args)).unwrap()
    };
    assert_eq!(ask(&[]), ":7\r\n");
    assert_eq!(ask(&[b"rank", b"3"]), ":2007\r\n");
    assert_eq!(ask(&[b"rank", b"-2"]), ":3007\r\n");
    assert_eq!(ask(&[b"rank", b"6"]), "$-1\r\n");
    assert_eq!(
        ask(&[b"count", b"2", b"rank", b"2"]),
        "*2\r\n:1007\r\n:2007\r\n"
    );
    assert_eq!(
        ask(&[b"count", b"0", b"rank", b"-4"]),
        "*2\r\n:1007\r\n:7\r\n"
    );
    assert_eq!(
        ask(&[b"count", b"0", b"maxlen", b"2008"]),
        "*3\r\n:7\r\n:1007\r\n:2007\r\n"
    );
    assert_eq!(
        ask(&[b"count", b"0", b"maxlen", b"2007", b"rank", b"-1"]),
        "*2\r\n:4007\r\n:3007\r\n"
    );
}

#[test]
fn a_long_sort_is_a_sort() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let client = node.connect(0);
    let scrambled = |index: usize| vec![(index * 7919 % 1709).to_string().into_bytes()];
    node.fill(client, b"rpush", b"list", scrambled);
    let mut numbers: Vec<usize> = (0..MANY).map(|index| index * 7919 % 1709).collect();
    numbers.sort_unstable();
    let texts = |numbers: &[usize]| -> Vec<_> {
        let texts = numbers.iter().map(|number| number.to_string().into_bytes());
        texts.collect()
    };
    let ascending = strings(&node.ask(client, &[b"sort", b"list"]));
    assert!(ascending == texts(&numbers));
    let limited: [&[u8]; 5] = [b"sort", b"list", b"limit", b"100", b"2000"];
    assert!(strings(&node.ask(client, &limited)) == texts(&numbers[100..2100]));
    numbers.reverse();
    let descending = strings(&node.ask(client, &[b"sort_ro", b"list", b"desc"]));
    assert!(descending == texts(&numbers));
    let mut by_text = texts(&numbers);
    by_text.sort();
    assert!(strings(&node.ask(client, &[b"sort", b"list", b"alpha"])) == by_text);
    node.ask(client, &[b"rpush", b"list", b"no number"]);
    let error = b"-ERR One or more scores can't be converted into double\r\n";
    assert_eq!(node.ask(client, &[b"sort", b"list"]), error);
}

#[test]
fn a_long_range_of_a_stream_is_given_from_either_end() {
    let mut node = Node::with_shards(1, &OPTIONS);
    let client = node.connect(0);
    for index in 1..=MANY {
        let id = format!("{index}-1");
        node.ask(client, &[b"xadd", b"stream", id.as_bytes(), b"f", b"v"]);
    }
    node.ask(client, &[b"xdel", b"stream", b"2500-1"]);
    let mut ids = |args: &[&[u8]]| {
        let reply = node.ask(client, args);
        let all: Vec<usize> = strings(&reply)
            .chunks(3)
            .map(|entry| {
                String::from_utf8_lossy(&entry[0])
                    .split('-')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        assert!(reply.starts_with(format!("*{}\r\n", all.len()).as_bytes()));
        all
    };
    let expected: Vec<usize> = (1..=MANY).filter(|index| *index != 2500).collect();
    assert_eq!(ids(&[b"xrange", b"stream", b"-", b"+"]), expected);
    assert_eq!(
        ids(&[b"xrange", b"stream", b"(1-1", b"+", b"count", b"2000"]),
        expected[1..2001]
    );
    let back: Vec<_> = expected.iter().rev().copied().collect();
    assert_eq!(ids(&[b"xrevrange", b"stream", b"+", b"-"]), back);
    assert_eq!(
        ids(&[b"xrevrange", b"stream", b"+", b"3", b"count", b"3000"]),
        back[..3000]
    );
}

#[test]
fn a_removal_in_steps_is_one_change() {
    let mut node = Node::start(&OPTIONS);
    let (client, other) = (node.connect(0), node.connect(0));
    for key in keys_of_shards(&node) {
        let by_score = |index: usize| vec![index.to_string().into_bytes(), number(index)];
        node.fill(client, b"zadd", &key, by_score);
        let mut rounds = 0;
        let pop: [&[u8]; 3] = [b"zpopmax", &key, b"3000"];
        node.put(other, &encoded(&[b"ping"]));
        node.in_rounds(client, &pop, |node| {
            rounds += 1;
            node.put(other, &encoded(&[b"ping"]));
            node.put(other, &encoded(&[b"zcard", &key]));
            rounds > 12
        });
        node.settle();
        let popped: Vec<_> = (2000..MANY).rev().map(number).collect();
        let given = strings(&node.replies(client));
        assert!(given.chunks(2).map(|pair| &pair[0]).eq(&popped));
        let seen = String::from_utf8(node.replies(other)).unwrap();
        let counts: BTreeSet<&str> = seen
            .split("\r\n")
            .filter(|line| line.starts_with(':'))
            .collect();
        assert!(
            counts.is_subset(&BTreeSet::from([":5000", ":2000"])),
            "{counts:?}"
        );
        assert!(counts.contains(":2000"));
        assert_eq!(
            node.ask(client, &[b"zremrangebyrank", &key, b"1", b"-2"]),
            b":1998\r\n"
        );
        let left = strings(&node.ask(client, &[b"zrange", &key, b"0", b"-1"]));
        assert_eq!(left, [number(0), number(1999)]);
        node.ask(client, &[b"del", &key]);
    }
}

#[test]
fn long_removals_leave_what_they_should() {
    let mut node = Node::start(&OPTIONS);
    let client = node.connect(0);
    for key in keys_of_shards(&node) {
        node.fill(client, b"rpush", &key, |index| vec![number(index)]);
        let popped = strings(&node.ask(client, &[b"rpop", &key, b"2000"]));
        assert!(popped.into_iter().eq((3000..MANY).rev().map(number)));
        assert_eq!(
            node.ask(client, &[b"ltrim", &key, b"1500", b"-501"]),
            b"+OK\r\n"
        );
        let left = strings(&node.ask(client, &[b"lrange", &key, b"0", b"-1"]));
        assert!(left.into_iter().eq((1500..2500).map(number)));
        node.fill(client, b"rpush", &key, |_| vec![b"same".to_vec()]);
        assert_eq!(
            node.ask(client, &[b"lrem", &key, b"-4000", b"same"]),
            b":4000\r\n"
        );
        assert_eq!(node.ask(client, &[b"llen", &key]), b":2000\r\n");
        assert_eq!(node.ask(client, &[b"ltrim", &key, b"1", b"0"]), b"+OK\r\n");
        node.fill(client, b"sadd", &key, |index| vec![number(index)]);
        let mut popped = strings(&node.ask(client, &[b"spop", &key, b"3000"]));
        assert_eq!(popped.len(), 3000);
        popped.extend(strings(&node.ask(client, &[b"smembers", &key])));
        popped.sort();
        assert!(popped.into_iter().eq((0..MANY).map(number)));
        let mut requests = encoded(&[b"multi"]);
        requests.extend(encoded(&[b"spop", &key, b"1500"]));
        requests.extend(encoded(&[b"scard", &key]));
        requests.extend(encoded(&[b"exec"]));
        node.send(client, &requests, usize::MAX, false);
        assert!(node.replies(client).ends_with(b":500\r\n"));
        node.ask(client, &[b"del", &key]);
    }
}

#[test]
fn a_long_range_is_stored_as_a_short_one() {
    let mut node = Node::start(&OPTIONS);
    let (client, other) = (node.connect(0), node.connect(0));
    for key in keys_of_shards(&node) {
        let by_score = |index: usize| vec![index.to_string().into_bytes(), number(index)];
        node.fill(client, b"zadd", &key, by_score);
        let name = [&b"{"[..], &key, b"} copy"].concat();
        let ranges: [(&[&[u8]], std::ops::Range<usize>); 3] = [
            (&[b"0", b"-1"], 0..MANY),
            (&[b"(999", b"4000", b"byscore"], 1000..4001),
            (&[b"10", b"2009", b"rev"], 2990..4990),
        ];
        for (range, expected) in ranges {
            let request = [&[&b"zrangestore"[..], &name, &key][..], range].concat();
            let mut rounds = 0;
            node.in_rounds(client, &request, |node| {
                rounds += 1;
                node.put(other, &encoded(&[b"zcard", &name]));
                !node.clients[client].received.is_empty()
            });
            node.settle();
            assert!(rounds > 3, "{rounds} rounds");
            let count = format!(":{}\r\n", expected.len());
            assert_eq!(node.replies(client), count.as_bytes());
            // Nobody sees a part of it.
            let seen = String::from_utf8(node.replies(other)).unwrap();
            let seen: BTreeSet<&str> = seen.split_inclusive('\n').collect();
            assert!(
                seen.is_subset(&BTreeSet::from([":0\r\n", &count])),
                "{seen:?}"
            );
            let stored = strings(&node.ask(client, &[b"zrange", &name, b"0", b"-1"]));
            assert!(stored.into_iter().eq(expected.map(number)));
            node.ask(client, &[b"del", &name]);
        }
    }
}

/// A request, its reply, and how many entries are left.
type Trimmed<'a> = (&'a [&'a [u8]], &'a [u8], usize);

#[test]
fn a_long_stream_is_trimmed_as_a_short_one() {
    let mut node = Node::start(&OPTIONS);
    let (client, other) = (node.connect(0), node.connect(0));
    for key in keys_of_shards(&node) {
        let requests: [Trimmed<'_>; 4] = [
            (&[b"xtrim", &key, b"maxlen", b"4000"], b":1000\r\n", 4000),
            (&[b"xtrim", &key, b"maxlen", b"10"], b":4990\r\n", 10),
            (
                &[b"xadd", &key, b"maxlen", b"7", b"9000-1", b"f", b"v"],
                b"$6\r\n9000-1\r\n",
                7,
            ),
            (
                &[b"xadd", &key, b"minid", b"9000-2", b"9000-1", b"f", b"v"],
                b"$6\r\n9000-1\r\n",
                0,
            ),
        ];
        for (request, expected, left) in requests {
            for index in 1..=MANY {
                let id = format!("{index}-1");
                node.ask(client, &[b"xadd", &key, id.as_bytes(), b"f", b"v"]);
            }
            let mut rounds = 0;
            node.in_rounds(client, request, |node| {
                rounds += 1;
                node.put(other, &encoded(&[b"xlen", &key]));
                !node.clients[client].received.is_empty()
            });
            node.settle();
            assert_eq!(node.replies(client), expected);
            assert!(left == 4000 || rounds > 8, "{rounds} rounds");
            let seen = String::from_utf8(node.replies(other)).unwrap();
            let seen: BTreeSet<&str> = seen.split_inclusive('\n').collect();
            let count = format!(":{left}\r\n");
            assert!(
                seen.is_subset(&BTreeSet::from([":5000\r\n", &count])),
                "{seen:?}"
            );
            assert_eq!(node.ask(client, &[b"xlen", &key]), count.as_bytes());
            node.ask(client, &[b"del", &key]);
        }
    }
}
