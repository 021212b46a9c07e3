//! Scripts of SCRIPT LOAD are known to the successor of a worker.

use proptest::prelude::*;

use super::libraries::OPTIONS;
use super::{ClientId, Node};

const UNKNOWN: &[u8] = b"-NOSCRIPT No matching script. Please use EVAL.\r\n";

impl Node {
    /// Loads a script at the first worker; its hash.
    fn keep_script(&mut self, client: ClientId, body: &str) -> Vec<u8> {
        let reply = self.ask(client, &[b"SCRIPT", b"LOAD", body.as_bytes()]);
        reply[5..45].to_vec()
    }

    fn eval_known(&mut self, client: ClientId, sha: &[u8]) -> Vec<u8> {
        self.ask(client, &[b"EVALSHA", sha, b"0"])
    }

    /// The second worker asks the first one until that has nothing more to tell; how often.
    fn learn(&mut self) -> usize {
        for times in 1.. {
            let (asked, question) = self.engines[1].ask_for_scripts();
            let answer = self.engines[0].tell_scripts(&question);
            if !self.engines[1].learn_scripts(asked, &answer) {
                return times;
            }
        }
        unreachable!()
    }
}

#[test]
fn a_successor_learns_the_scripts_that_were_loaded() {
    let mut node = Node::with_shards(2, &OPTIONS);
    let (first, second) = (node.connect(0), node.connect(1));
    let mut shas = Vec::new();
    for number in 0..3 {
        let body = format!("return {number} --{}", "x".repeat(200_000));
        shas.push(node.keep_script(first, &body));
    }
    node.succeed(1);
    assert_eq!(node.eval_known(second, &shas[0]), UNKNOWN);
    assert!(node.learn() > 2, "an answer has its limit");
    for (number, sha) in shas.iter().enumerate() {
        let reply = format!(":{number}\r\n").into_bytes();
        assert_eq!(node.eval_known(second, sha), reply);
    }
}

#[test]
fn a_successor_does_not_learn_what_was_forgotten_meanwhile() {
    let mut node = Node::with_shards(2, &OPTIONS);
    let (first, second) = (node.connect(0), node.connect(1));
    let sha = node.keep_script(first, "return 1");
    node.succeed(1);
    let (asked, question) = node.engines[1].ask_for_scripts();
    let answer = node.engines[0].tell_scripts(&question);
    assert_eq!(node.ask(first, &[b"SCRIPT", b"FLUSH"]), b"+OK\r\n");
    assert!(
        node.engines[1].learn_scripts(asked, &answer),
        "it asks again"
    );
    assert_eq!(node.eval_known(second, &sha), UNKNOWN);
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange_to_be_learnt_from(bytes: Vec<u8>) {
        let mut node = Node::with_shards(1, &OPTIONS);
        node.engines[0].tell_scripts(&bytes);
        node.engines[0].learn_scripts(0, &bytes);
    }
}
