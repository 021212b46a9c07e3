//! Requests of users who may not do everything, and what becomes of clients when users change.

use super::{ClientId, Node};
use crate::engine::{DeniedWhat, DeniedWhere, UsersChange};

const NO_KEY: &[u8] = b"-NOPERM No permissions to access a key\r\n";

fn node() -> Node {
    let mut node = Node::start(&[
        ("maxclients", "100"),
        ("proto-max-bulk-len", "1000000000"),
        ("client-query-buffer-limit", "1000000000"),
        ("slowlog-log-slower-than", "-1"),
        ("acllog-max-len", "128"),
        ("maxmemory", "1000000000"),
        ("maxmemory-policy", "noeviction"),
    ]);
    node.set_user("u", "on >p ~u:* &u.* +@all");
    node
}

impl Node {
    /// Changes a user on all workers.
    fn set_user(&mut self, name: &str, rules: &str) {
        let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
        let change = UsersChange::Set {
            name: name.as_bytes(),
            rules: &rules,
        };
        for engine in &mut self.engines {
            engine.change_users(&change, None).unwrap();
        }
        self.settle();
    }

    /// A client that is logged in.
    fn client_of(&mut self, name: &str) -> ClientId {
        let client = self.connect(0);
        assert_eq!(
            self.ask(client, &[b"AUTH", name.as_bytes(), b"p"]),
            b"+OK\r\n"
        );
        client
    }
}

#[test]
fn keys_of_every_shard_are_checked() {
    let mut node = node();
    let client = node.client_of("u");
    for number in 0..20 {
        let key = format!("{number}");
        let own = format!("u:{number}");
        assert_eq!(
            node.ask(client, &[b"SET", own.as_bytes(), b"v"]),
            b"+OK\r\n"
        );
        assert_eq!(node.ask(client, &[b"SET", key.as_bytes(), b"v"]), NO_KEY);
        assert_eq!(node.ask(client, &[b"GET", key.as_bytes()]), NO_KEY);
        assert_eq!(
            node.ask(
                client,
                &[b"MSET", own.as_bytes(), b"v", key.as_bytes(), b"v"]
            ),
            NO_KEY
        );
    }
    let denials = node.engines[0].denials();
    assert!(
        denials
            .iter()
            .all(|entry| entry.what == DeniedWhat::Key && entry.user == b"u")
    );
    assert_eq!(denials[0].object, b"19");
    assert_eq!(
        (denials[0].count, denials[0].context),
        (3, DeniedWhere::TopLevel)
    );
}

#[test]
fn a_long_value_for_a_forbidden_key_is_refused_and_forgotten() {
    let mut node = node();
    let client = node.client_of("u");
    let value = vec![b'x'; 1 << 20];
    for key in [&b"a"[..], b"b", b"c", b"d"] {
        assert_eq!(node.ask(client, &[b"SET", key, &value]), NO_KEY);
    }
    for key in [&b"u:a"[..], b"u:b", b"u:c", b"u:d"] {
        assert_eq!(node.ask(client, &[b"SET", key, &value]), b"+OK\r\n");
        assert_eq!(node.ask(client, &[b"STRLEN", key]), b":1048576\r\n");
    }
    for (key, is_received_in_place) in [(&b"u:x"[..], true), (b"x", false)] {
        let request = super::encoded(&[b"SET", key, &value]);
        let (first, rest) = request.split_at(1 << 19);
        node.send(client, first, usize::MAX, false);
        let session = &node.engines[0].sessions[node.clients[client].at.index];
        assert_eq!(session.incoming.is_some(), is_received_in_place);
        node.send(client, rest, usize::MAX, false);
        node.replies(client);
    }
    let begun = node.ask(client, &[b"PUT_STREAM", b"BEGIN", b"a"]);
    assert_eq!(begun, NO_KEY);
}

#[test]
fn a_transaction_is_checked_when_it_is_queued_and_when_it_runs() {
    let mut node = node();
    let client = node.client_of("u");
    node.ask(client, &[b"MULTI"]);
    assert_eq!(node.ask(client, &[b"GET", b"other"]), NO_KEY);
    assert!(node.ask(client, &[b"EXEC"]).starts_with(b"-EXECABORT"));
    assert_eq!(node.engines[0].denials()[0].context, DeniedWhere::Multi);
    node.ask(client, &[b"MULTI"]);
    node.ask(client, &[b"SET", b"u:a", b"1"]);
    node.ask(client, &[b"SET", b"u:b", b"1"]);
    node.set_user("u", "resetkeys ~u:a");
    assert_eq!(
        String::from_utf8(node.ask(client, &[b"EXEC"])).unwrap(),
        "*2\r\n+OK\r\n-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
         This command is no longer allowed for the following reason: no permission to touch the specified keys\r\n"
    );
}

#[test]
fn clients_of_a_user_who_is_gone_are_closed() {
    let mut node = node();
    node.set_user("v", "on >p");
    let (gone, other, asker) = (
        node.client_of("u"),
        node.client_of("v"),
        node.client_of("u"),
    );
    let by = node.clients[asker].at;
    let change = UsersChange::Remove { names: &[b"u"] };
    for engine in &mut node.engines {
        assert_eq!(engine.change_users(&change, Some(by.client)), Ok(1));
    }
    assert!(node.is_dropped(gone));
    assert!(!node.is_dropped(other) && !node.is_dropped(asker));
    assert!(node.engines[0].is_closing(by));
    let again = node.connect(0);
    assert!(
        node.ask(again, &[b"AUTH", b"u", b"p"])
            .starts_with(b"-WRONGPASS")
    );
}

#[test]
fn listeners_to_what_is_forbidden_now_are_closed() {
    let mut node = node();
    let listeners: Vec<ClientId> = (0..3).map(|_| node.client_of("u")).collect();
    node.ask(listeners[0], &[b"SUBSCRIBE", b"u.a"]);
    node.ask(listeners[1], &[b"SUBSCRIBE", b"u.b"]);
    node.ask(listeners[2], &[b"PSUBSCRIBE", b"u.*"]);
    node.set_user("u", "resetchannels &u.a");
    let dropped: Vec<bool> = listeners
        .iter()
        .map(|&client| node.is_dropped(client))
        .collect();
    assert_eq!(dropped, [false, true, true]);
}

#[test]
fn the_default_user_decides_what_nobody_may_do() {
    let mut node = node();
    let before = node.connect(1);
    node.set_user("default", "resetpass >p");
    let after = node.connect(1);
    assert_eq!(node.ask(before, &[b"PING"]), b"+PONG\r\n");
    assert_eq!(
        node.ask(after, &[b"PING"]),
        b"-NOAUTH Authentication required.\r\n"
    );
    assert_eq!(node.ask(after, &[b"AUTH", b"p"]), b"+OK\r\n");
    assert_eq!(node.ask(after, &[b"RESET"]), b"+RESET\r\n");
    assert_eq!(
        node.ask(after, &[b"PING"]),
        b"-NOAUTH Authentication required.\r\n"
    );
    node.set_user("default", "nopass -ping");
    let denied = b"-NOPERM User default has no permissions to run the 'ping' command\r\n";
    assert_eq!(node.ask(after, &[b"PING"]), denied);
    assert_eq!(node.ask(before, &[b"PING"]), denied);
    node.set_user("default", "off");
    let third = node.connect(0);
    assert_eq!(
        node.ask(third, &[b"PING"]),
        b"-NOAUTH Authentication required.\r\n"
    );
}
