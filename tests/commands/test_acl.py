"""Users over sockets: what has to do with time, other workers, files, or near readers."""

import os
import signal
from pathlib import Path

import pytest
from tests.node import Node, NodeError
from tests.targets import Target
from tests.wire import OK, Wire, eventually, info, pairs

from yggdrasil.client.near import NearReader, NearRefusedError

DEFAULT = b"user default on nopass sanitize-payload ~* &* +@all"


def client(node: Node | Target, worker: int = 0, *login: str) -> Wire:
    connection = Wire(node.host, node.worker_ports[worker])
    if login:
        assert connection("AUTH", *login) == OK
    return connection


def test_every_worker_knows_a_change_before_it_is_answered(node3: Target) -> None:
    with client(node3) as first, client(node3, 1) as second, client(node3, 2) as third:
        for number in range(20):
            assert first("ACL", "SETUSER", "u", "on", ">p", "~*", "+@all") == OK
            assert second("ACL", "USERS") == third("ACL", "USERS") == [b"default", b"u"]
            assert third("AUTH", "u", "p") == OK
            assert second("ACL", "SETUSER", "u", "resetkeys", f"~{number}") == OK
            assert "No permissions to access a key" in str(third("GET", "x"))
            assert third("AUTH", "default", "") == OK
            assert third("ACL", "DELUSER", "u") == 1
            assert first("ACL", "LIST") == second("ACL", "LIST") == [DEFAULT]


def test_clients_of_a_user_who_is_gone_are_closed_on_every_worker(node3: Target) -> None:
    with client(node3) as admin:
        admin("ACL", "SETUSER", "u", "on", ">p", "+@all", "~*")
        users = [client(node3, worker, "u", "p") for worker in range(3)]
        asker = users[2]
        assert asker("ACL", "DELUSER", "u") == 1, "who asks has its answer"
        for connection in users:
            eventually(connection.is_closed)
            connection.close()
        assert admin("ACL", "LIST") == [DEFAULT]


def test_clients_are_killed_by_their_user(node3: Target) -> None:
    with client(node3) as admin:
        admin("ACL", "SETUSER", "u", "on", ">p", "+@all", "~*")
        users = [client(node3, worker, "u", "p") for worker in range(3)]
        assert b" user=u " in users[0]("CLIENT", "INFO")
        assert admin("CLIENT", "KILL", "USER", "u") == 3
        for connection in users:
            eventually(connection.is_closed)
            connection.close()
        admin("ACL", "DELUSER", "u")


def test_the_log_has_one_order_over_all_workers(node_target: Target) -> None:
    with node_target.connect() as admin:
        admin("ACL", "LOG", "RESET")
        admin("ACL", "SETUSER", "u", "on", ">p", "~own", "+@all", "-incr")
        for port in node_target.worker_ports:
            with Wire(node_target.host, port) as user:
                user("AUTH", "u", "wrong")
                user("AUTH", "u", "p")
                user("INCR", "own")
                user("GET", "other")
        log = [pairs(entry) for entry in admin("ACL", "LOG")]
        workers = len(node_target.worker_ports)
        assert [(entry[b"reason"], entry[b"object"]) for entry in log] == [
            (b"key", b"other"),
            (b"command", b"incr"),
            (b"auth", b"AUTH"),
        ]
        assert {entry[b"count"] for entry in log} == {workers}
        assert {entry[b"username"] for entry in log} == {b"u"}
        assert {entry[b"context"] for entry in log} == {b"toplevel"}
        ids = [entry[b"entry-id"] for entry in log]
        assert ids == sorted(ids, reverse=True)
        assert all(0 <= float(entry[b"age-seconds"]) < 60 for entry in log)
        assert all(b"cmd=" in entry[b"client-info"] for entry in log)
        assert all(entry[b"timestamp-created"] <= entry[b"timestamp-last-updated"] for entry in log)
        assert {kind: info(admin, "stats")[f"acl_access_denied_{kind}"] != "0" for kind in ("auth", "cmd", "key")} == {
            "auth": True,
            "cmd": True,
            "key": True,
        }
        admin("ACL", "LOG", "RESET")
        admin("ACL", "DELUSER", "u")


def test_users_of_the_configuration_and_of_a_successor(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('user = ["alice on >pw ~a* +@read +acl|whoami", "default on >word ~* &* +@all"]\n')
    with Node(shards=2, config=file) as node:
        with client(node) as connection:
            assert "NOAUTH" in str(connection("PING"))
            assert connection("AUTH", "alice", "pw") == OK
            assert connection("ACL", "WHOAMI") == b"alice"
        with client(node, 0, "word") as admin:
            assert admin("ACL", "SETUSER", "bob", "on", ">pw", "~b*", "+@all") == OK
            before = node.all_pids()["shard-1"]
            os.kill(before, signal.SIGKILL)
            eventually(lambda: node.pids().get("shard-1", before) != before)
            with client(node, 1, "bob", "pw") as bob:
                assert bob("ACL", "WHOAMI") == b"bob"
            with client(node, 1, "word") as other:
                users = other("ACL", "LIST")
            assert users == admin("ACL", "LIST")
            assert admin("CONFIG", "REWRITE") == OK
            assert admin("CONFIG", "GET", "user") == []
    with Node(shards=1, config=file) as node, client(node, 0, "word") as admin:
        assert admin("ACL", "LIST") == users


def test_an_acl_file_is_read_and_written(tmp_path: Path) -> None:
    file = tmp_path / "users.acl"
    file.write_text("user alice on >pw ~a* +@read\n\nuser default on nopass ~* &* +@all\n")
    with Node(shards=2, aclfile=file) as node, client(node) as admin, client(node, 1, "alice", "pw") as alice:
        assert alice("GET", "a") is None
        assert admin("ACL", "SETUSER", "bob", "on", "nopass") == OK
        assert admin("ACL", "SAVE") == OK
        assert file.read_text().splitlines() == [line.decode() for line in admin("ACL", "LIST")]
        before = admin("ACL", "LIST")
        file.write_text("user alice on +nope\nalice\n")
        reply = str(admin("ACL", "LOAD"))
        assert f"{file}:1: Error in applying operation '+nope'" in reply
        assert "no change to the previously active ACL rules was performed" in reply
        assert admin("ACL", "LIST") == before
        file.write_text("user alice on >other ~c* +@read\n")
        assert admin("ACL", "LOAD") == OK
        assert admin("ACL", "USERS") == [b"alice", b"default"]
        assert "No permissions" in str(alice("GET", "a")), "who is in has the new rules"
        file.unlink()
        assert "No such file" in str(admin("ACL", "LOAD"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"user": "alice on +nope"}, "user:1: Error in applying operation '+nope': Unknown command"),
        ({"user": "alice on (+get"}, "Unmatched parenthesis"),
        ({"aclfile": "absent.acl"}, "absent.acl cannot be read: No such file or directory"),
        ({"aclfile": "a.acl", "user": "alice on"}, "where no user is configured"),
        ({"user": "alice on\nalice off"}, "lines of a name and rules"),
    ],
)
def test_wrong_users_stop_the_start(options: dict[str, str], reason: str) -> None:
    with pytest.raises(NodeError, match=reason.replace("+", r"\+").replace("(", r"\(")):
        Node(shards=1, **options).__enter__()


def test_near_readers_are_users_too() -> None:
    with Node(shards=2) as node, client(node) as admin:
        admin("MSET", "a:1", "1", "b:1", "2")
        admin("ACL", "SETUSER", "reader", "on", ">pw", "%R~a:*", "~b", "+@read")
        admin("ACL", "SETUSER", "writer", "on", ">pw", "%W~a:*", "+@all")
        url = f"unix://{node.dir}/near.sock"
        reader = NearReader(url, username="reader", password="pw")
        assert reader.get("a:1") == b"1"
        with pytest.raises(NearRefusedError, match="begin with a: only"):
            reader.get("b:1")
        for name, word, reason in (("reader", "no", "password"), ("writer", "pw", "no rule"), ("x", "pw", "password")):
            with pytest.raises(NearRefusedError, match=reason):
                NearReader(url, username=name, password=word)
        admin("ACL", "SETUSER", "reader", "resetkeys", "%R~b:*")
        eventually(lambda: _read(reader, "b:1") == b"2")
        with pytest.raises(NearRefusedError):
            reader.get("a:1")
        admin("ACL", "DELUSER", "reader")
        eventually(lambda: isinstance(_read(reader, "b:1"), NearRefusedError))


def _read(reader: NearReader, key: str) -> bytes | Exception | None:
    try:
        return reader.get(key)
    except Exception as error:  # noqa: BLE001 - any of them is looked at
        return error


def test_passwords_are_not_shown(node3: Target) -> None:
    with client(node3) as admin, client(node3) as monitor:
        admin("CONFIG", "SET", "slowlog-log-slower-than", "0")
        monitor("MONITOR")
        admin("ACL", "SETUSER", "u", "on", ">hidden")
        assert admin("MIGRATE", "127.0.0.1", "1", "k", "0", "10", "AUTH2", "u", "hidden") == "NOKEY"
        admin("AUTH", "nobody", "hidden")
        log = admin("SLOWLOG", "GET", "-1")
        assert b"hidden" not in b" ".join(argument for entry in log for argument in entry[3])
        admin("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        admin("ACL", "DELUSER", "u")
