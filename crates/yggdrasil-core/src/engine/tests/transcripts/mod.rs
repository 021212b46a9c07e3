//! The transcripts of `tests/transcripts`, on one engine and on three, in both protocols, by way of each worker.

mod matching;
mod notation;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use self::notation::{Expected, Section, Step};
use super::{ClientId, Node};
use crate::resp::Protocol;

/// The end of the name of a section that needs commands written in Python: it is replayed over sockets only.
const OVER_SOCKETS: &str = " (over sockets)";

const OPTIONS: &[(&str, &str)] = &[
    ("maxclients", "10000"),
    ("proto-max-bulk-len", "536870912"),
    ("client-query-buffer-limit", "1073741824"),
    ("slowlog-log-slower-than", "-1"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
];

#[test]
fn replies_of_one_engine_are_those_of_redis() {
    assert_replies(1);
}

#[test]
fn replies_of_three_engines_are_those_of_redis() {
    assert_replies(3);
}

#[test]
fn transcripts_say_more_than_nothing() {
    let sections = all_sections();
    assert!(sections.len() > 100);
    for (place, section) in &sections {
        let says = |step: &Step| !step.replies.is_empty();
        let name = &section.name;
        assert!(!section.steps.is_empty(), "{place}: {name} has no request");
        assert!(
            section.steps.iter().all(says),
            "{place}: {name} lacks a reply"
        );
    }
}

/// Replays all sections, and fails with everything that differs.
fn assert_replies(shards: usize) {
    let mut differences = String::new();
    let mut node = Node::with_shards(shards, OPTIONS);
    for (place, section) in all_sections() {
        if section.name.ends_with(OVER_SOCKETS) {
            continue;
        }
        for protocol in [Protocol::Resp2, Protocol::Resp3] {
            for first in 0..shards {
                if let Err(found) = replay(&mut node, &section, protocol, first) {
                    let name = &section.name;
                    writeln!(
                        differences,
                        "{place}, {name}, {protocol:?}, by worker {first}: {found}"
                    )
                    .unwrap();
                }
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

/// Replays a section on a node that is emptied first. The connections are spread over the workers.
fn replay(
    node: &mut Node,
    section: &Section,
    protocol: Protocol,
    first: usize,
) -> Result<(), String> {
    let shards = node.engines.len();
    let admin = node.connect(first);
    assert_eq!(node.ask(admin, &[b"FLUSHALL"]), b"+OK\r\n");
    let mut open: Vec<(&str, ClientId, Protocol)> = Vec::new();
    let mut outcome = Ok(());
    for step in &section.steps {
        let at = open.iter().position(|(name, ..)| *name == step.connection);
        let at = at.unwrap_or_else(|| {
            let client = node.connect((first + open.len()) % shards);
            if protocol == Protocol::Resp3 {
                node.ask(client, &[b"HELLO", b"3"]);
            }
            open.push((&step.connection, client, protocol));
            open.len() - 1
        });
        let (_, client, spoken) = &mut open[at];
        if step.words.len() == 1 && step.words[0].eq_ignore_ascii_case(b"RESET") {
            *spoken = Protocol::Resp2;
        }
        outcome = ask(node, *client, step, *spoken);
        if outcome.is_err() {
            break;
        }
    }
    for (name, client, _) in &open {
        let rest = node.replies(*client);
        if outcome.is_ok() && !rest.is_empty() {
            outcome = Err(format!("connection '{name}' has more: {:?}", shown(&rest)));
        }
    }
    node.disconnect_all();
    for engine in &node.engines {
        engine.shard.check_invariants();
    }
    outcome
}

/// Sends the request of a step and takes its replies off what the client has received.
fn ask(node: &mut Node, client: ClientId, step: &Step, protocol: Protocol) -> Result<(), String> {
    if !step.words.is_empty() {
        let words: Vec<&[u8]> = step.words.iter().map(Vec::as_slice).collect();
        node.send(client, &super::encoded(&words), usize::MAX, false);
    }
    let received = node.replies(client);
    let mut rest = received.as_slice();
    for reply in &step.replies {
        rest = reply.taken_off(rest, protocol).ok_or_else(|| {
            let wanted = shown(&reply.example(protocol));
            format!(
                "line {}: got {:?}, expected {wanted:?}",
                step.line,
                shown(rest)
            )
        })?;
    }
    node.clients[client].received = rest.to_vec();
    Ok(())
}

/// The beginning of some bytes, for people.
fn shown(bytes: &[u8]) -> String {
    let start = bytes[..bytes.len().min(400)].escape_ascii();
    start.to_string()
}

/// The sections of all transcripts, each with the name of its file.
fn all_sections() -> Vec<(String, Section)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    let mut files: Vec<PathBuf> = entries(&folder)
        .iter()
        .flat_map(|inner| entries(inner))
        .collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "txt"));
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let place = file.strip_prefix(&folder).unwrap().display().to_string();
        let text = std::fs::read_to_string(&file).unwrap();
        let sections = notation::parse(&text).unwrap_or_else(|wrong| panic!("{place}:{wrong}"));
        found.extend(sections.into_iter().map(|section| (place.clone(), section)));
    }
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(listed) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    listed.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn replies_stand_for_both_protocols() {
    let cases: [(&str, &[u8], &[u8]); 12] = [
        ("+OK", b"+OK\r\n", b"+OK\r\n"),
        (
            "-ERR no, not so",
            b"-ERR no, not so\r\n",
            b"-ERR no, not so\r\n",
        ),
        ("-7", b":-7\r\n", b":-7\r\n"),
        (
            "\"a\\r\\n\\x00\"*2\"!\"",
            b"$9\r\na\r\n\0a\r\n\0!\r\n",
            b"$9\r\na\r\n\0a\r\n\0!\r\n",
        ),
        ("null", b"$-1\r\n", b"_\r\n"),
        ("null-array", b"*-1\r\n", b"_\r\n"),
        (
            "[1, null, []]",
            b"*3\r\n:1\r\n$-1\r\n*0\r\n",
            b"*3\r\n:1\r\n_\r\n*0\r\n",
        ),
        (
            "{\"a\": set [+b]}",
            b"*2\r\n$1\r\na\r\n*1\r\n+b\r\n",
            b"%1\r\n$1\r\na\r\n~1\r\n+b\r\n",
        ),
        (
            "push [true, double 1.5]",
            b"*2\r\n:1\r\n$3\r\n1.5\r\n",
            b">2\r\n#t\r\n,1.5\r\n",
        ),
        ("text \"ab\"", b"$2\r\nab\r\n", b"=6\r\ntxt:ab\r\n"),
        ("5..7", b":6\r\n", b":7\r\n"),
        (
            "any-order [1, 2..3, anything]",
            b"*3\r\n:3\r\n:1\r\n$-1\r\n",
            b"~3\r\n%1\r\n+a\r\n_\r\n:1\r\n:2\r\n",
        ),
    ];
    for (text, resp2, resp3) in cases {
        let reply = notation::parse_reply(text).unwrap();
        assert_eq!(
            reply.taken_off(resp2, Protocol::Resp2),
            Some(&b""[..]),
            "{text}"
        );
        assert_eq!(
            reply.taken_off(resp3, Protocol::Resp3),
            Some(&b""[..]),
            "{text}"
        );
        assert_eq!(
            reply.taken_off(b"+other\r\n", Protocol::Resp2),
            None,
            "{text}"
        );
        assert_eq!(
            reply.taken_off(&resp2[..resp2.len() - 1], Protocol::Resp2),
            None,
            "{text}"
        );
    }
    assert_eq!(
        Expected::Nothing.taken_off(b":1\r\n", Protocol::Resp2),
        Some(&b":1\r\n"[..])
    );
}

#[test]
fn what_is_no_transcript_is_refused() {
    for text in [
        "## a\nGET \"k\n",
        "## a\nGET k\n  ?\n",
        "## a\nGET k\n  [1\n",
        "GET k\n",
        "## a\n  +OK\n",
    ] {
        assert!(notation::parse(text).is_err(), "{text}");
    }
}
