//! Rules, and what they allow.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Denial, RuleError, User, Users, UsersError};
use crate::commands::Registry;
use crate::resp::ArgsBuffer;

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

/// Users with one that these rules make.
fn users(table: &Registry, rules: &str) -> Users {
    let mut users = Users::new(table);
    users.set(table, b"u", &words(rules)).unwrap();
    users
}

fn user(table: &Registry, rules: &str) -> Arc<User> {
    Arc::clone(users(table, rules).get(b"u").unwrap())
}

fn check(table: &Registry, user: &User, request: &str) -> Result<(), Denial> {
    let args: ArgsBuffer = words(request).into_iter().collect();
    let command = table.lookup(&args.as_args()).unwrap();
    user.check(command, table.spec(command), &args.as_args())
}

/// The line of a user that these rules make.
fn line(rules: &str) -> String {
    let table = Registry::new();
    String::from_utf8(user(&table, rules).line()).unwrap()
}

fn error(rule: &str) -> RuleError {
    let table = Registry::new();
    match users(&table, "on").set(&table, b"u", &[rule.as_bytes()]) {
        Err(UsersError::Rule { error, .. }) => error,
        other => panic!("{rule}: {other:?}"),
    }
}

#[test]
fn a_user_is_described_by_rules_that_make_it() {
    for (rules, described) in [
        ("on", "on sanitize-payload resetchannels -@all"),
        (
            "on nopass ~* &* +@all",
            "on nopass sanitize-payload ~* &* +@all",
        ),
        (
            "~a* %R~b* %R~c %W~c &ch* +@read -get +set",
            "off sanitize-payload ~a* %R~b* ~c resetchannels &ch* -@all +@read -get +set",
        ),
        (
            "(~x* +set) ( %RW~y )",
            "off sanitize-payload resetchannels -@all (~x* resetchannels -@all +set) (~y resetchannels -@all)",
        ),
        (
            "+client|id -client +get +GET +select|0 +echo +@all -echo -select",
            "off sanitize-payload resetchannels +@all -echo -select",
        ),
        (
            "+select|0 +client|id -client",
            "off sanitize-payload resetchannels -@all +select|0 -client",
        ),
        (
            "skip-sanitize-payload ~ %R",
            "off skip-sanitize-payload ~ resetchannels -@all",
        ),
    ] {
        let expected = format!("user u {described}");
        assert_eq!(line(rules), expected, "{rules}");
        let again = described.strip_prefix("off ").unwrap_or(described);
        assert_eq!(line(again), expected, "{rules}");
    }
}

#[test]
fn wrong_rules_are_named() {
    for (rule, expected) in [
        ("%", RuleError::Syntax),
        ("%~a", RuleError::Syntax),
        ("%RR~a", RuleError::Syntax),
        ("~a b", RuleError::Syntax),
        ("&a\tb", RuleError::Syntax),
        ("of", RuleError::Syntax),
        ("+", RuleError::Unknown),
        ("-", RuleError::Unknown),
        ("+@", RuleError::Unknown),
        ("+nope", RuleError::Unknown),
        ("+client|nope", RuleError::Unknown),
        ("-select|0", RuleError::Unknown),
        ("+get|", RuleError::Syntax),
        ("+client|id|x", RuleError::SubcommandArgument),
        ("#abc", RuleError::BadHash),
        ("!abc", RuleError::BadHash),
        ("<abc", RuleError::NoSuchPassword),
        ("(~* ~a)", RuleError::AfterAllKeys),
        ("(&* &a)", RuleError::AfterAllChannels),
    ] {
        assert_eq!(error(rule), expected, "{rule}");
    }
    let table = Registry::new();
    let unmatched = users(&table, "on").set(&table, b"u", &words("(+get ~a"));
    assert_eq!(unmatched, Err(UsersError::Unmatched(b"(+get".to_vec())));
}

#[test]
fn a_wrong_rule_changes_nothing() {
    let table = Registry::new();
    let mut users = users(&table, "on ~a +get");
    let before = users.get(b"u").unwrap().line();
    assert!(users.set(&table, b"u", &words("off +nope")).is_err());
    assert_eq!(users.get(b"u").unwrap().line(), before);
    assert!(users.set(&table, b"v", &words("+nope")).is_err());
    assert!(users.get(b"v").is_none());
    assert!(users.load(&table, b"user v on\nuser w +nope", "f").is_err());
    assert!(users.get(b"v").is_none());
}

#[test]
fn commands_keys_and_channels_are_checked() {
    let table = Registry::new();
    let user = user(
        &table,
        "on ~own:* %R~in:* %W~out:* &news.* +get +set +copy +exists +mget +publish +psubscribe +client|id +select|0 \
         (~second +append)",
    );
    for (request, expected) in [
        ("GET own:1", Ok(())),
        ("GET in:1", Ok(())),
        ("GET out:1", Err(Denial::Key(1))),
        ("SET out:1 v", Ok(())),
        ("SET out:1 v GET", Err(Denial::Key(1))),
        ("SET in:1 v", Err(Denial::Key(1))),
        ("EXISTS out:1 in:1", Ok(())),
        ("MGET own:1 in:1 other", Err(Denial::Key(3))),
        ("COPY in:1 out:1", Ok(())),
        ("COPY out:1 in:1", Err(Denial::Key(1))),
        ("APPEND own:1 v", Err(Denial::Key(1))),
        ("APPEND second v", Ok(())),
        ("GET second", Err(Denial::Key(1))),
        ("DEL own:1", Err(Denial::Command)),
        ("CLIENT ID", Ok(())),
        ("CLIENT GETNAME", Err(Denial::Command)),
        ("SELECT 0", Ok(())),
        ("SELECT 1", Err(Denial::Command)),
        ("PUBLISH news.today m", Ok(())),
        ("PUBLISH other m", Err(Denial::Channel(1))),
        ("PSUBSCRIBE news.*", Ok(())),
        ("PSUBSCRIBE news.t*", Err(Denial::Channel(1))),
        ("AUTH u p", Ok(())),
    ] {
        assert_eq!(check(&table, &user, request), expected, "{request}");
    }
}

#[test]
fn a_user_with_all_rights_is_not_checked() {
    let table = Registry::new();
    for (rules, expected) in [
        ("+@all ~* &*", true),
        ("+@all -get +get ~* &*", true),
        ("+@all -get ~* &*", false),
        ("+@all ~* ", false),
        ("+@all ~** &*", false),
        ("(+@all ~* &*)", true),
    ] {
        let user = user(&table, rules);
        assert_eq!(user.is_unrestricted(), expected, "{rules}");
    }
    assert!(Users::new(&table).default_user().is_unrestricted());
}

#[test]
fn what_a_user_may_read_by_itself_is_told_by_prefixes() {
    let table = Registry::new();
    let commands = ["get", "mget"].map(|name| table.find(name.as_bytes()).unwrap());
    for (rules, expected) in [
        ("+@all ~*", None),
        ("+@read %R~*", None),
        (
            "+@read ~a:* %R~b:* %W~c:* ~d ~e*f* ~g\\\\*",
            Some(vec!["a:", "b:"]),
        ),
        ("+get ~a:*", Some(vec![])),
        ("+set ~a:* (+get +mget ~b:*)", Some(vec!["b:"])),
    ] {
        let user = user(&table, rules);
        let prefixes = user.readable_prefixes(&commands);
        let expected = expected.map(|prefixes: Vec<&str>| {
            let bytes = prefixes.into_iter().map(str::as_bytes);
            bytes.collect::<Vec<_>>()
        });
        assert_eq!(prefixes, expected, "{rules}");
    }
    let users = Users::known_of(&table, b"user u on nopass +@all -config ~k*").unwrap();
    assert!(users.log_in(b"u", b"").is_some());
}

#[test]
fn passwords_are_right_or_wrong() {
    let table = Registry::new();
    let users = users(&table, "on >one >two");
    for (password, expected) in [("one", true), ("two", true), ("On", false), ("", false)] {
        let found = users.log_in(b"u", password.as_bytes()).is_some();
        assert_eq!(found, expected, "{password}");
    }
    assert!(users.log_in(b"nobody", b"one").is_none());
    assert!(users.log_in(b"default", b"anything").is_some());
    let mut users = users;
    for (rules, expected) in [
        ("<one", [false, true]),
        ("nopass", [true, true]),
        ("off", [false, false]),
        ("on resetpass", [false, false]),
    ] {
        users.set(&table, b"u", &words(rules)).unwrap();
        let found = [&b"one"[..], b"two"].map(|word| users.log_in(b"u", word).is_some());
        assert_eq!(found, expected, "{rules}");
    }
}

#[test]
fn a_list_replaces_all_users() {
    let table = Registry::new();
    let mut users = users(&table, "on");
    let list = b"\n  user default on nopass ~* &* +@all -flushall\r\nuser v on >p (~a +get)\n\n";
    users.load(&table, list, "acl").unwrap();
    let names: Vec<_> = users.iter().map(|user| user.name().to_vec()).collect();
    assert_eq!(names, [b"default".to_vec(), b"v".to_vec()]);
    assert!(!users.default_user().is_unrestricted());
    let wrong = b"nobody\nuser\nuser a on +nope >p\nuser a on\nuser b (~a\nuser c ~* ~a #x +never";
    let found = users.load(&table, wrong, "acl").unwrap_err().to_string();
    assert_eq!(
        found,
        "acl:1 should start with user keyword followed by the username. acl:2 should start with user keyword followed \
         by the username. acl:3: Error in applying operation '+nope': Unknown command or category name in ACL. WARNING: \
         Duplicate user 'a' found on line 4. acl:5: Unmatched parenthesis in selector definition.acl:6: Adding a \
         pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' \
         to start with an empty list of patterns. acl:6: Error in applying operation '+never': Unknown command or \
         category name in ACL. WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    );
}

proptest! {
    #[test]
    fn any_rules_are_taken_or_refused(rules in proptest::collection::vec(
        proptest::collection::vec(prop_oneof![proptest::sample::select(&b"~%RW&+-@|()<>#! *getall"[..]), any::<u8>()], 0..12),
        0..8,
    )) {
        let table = Registry::new();
        let mut users = Users::new(&table);
        let rules: Vec<&[u8]> = rules.iter().map(Vec::as_slice).collect();
        if users.set(&table, b"u", &rules).is_ok() {
            let line = users.get(b"u").unwrap().line();
            // What a list cannot hold is no word of it.
            if !line.contains(&b'\n') && !line.contains(&b'\r') {
                users.load(&table, &line, "f").unwrap();
                prop_assert_eq!(users.get(b"u").unwrap().line(), line);
            }
        }
    }

    #[test]
    fn any_list_is_taken_or_refused(list in proptest::collection::vec(
        prop_oneof![proptest::sample::select(&b"user u\n(~)+@>"[..]), any::<u8>()], 0..64,
    )) {
        let table = Registry::new();
        let _ = Users::new(&table).load(&table, &list, "f");
    }
}
