"""CLIENT TRACKING over workers: clients that hear for others, prefixes, and the limit of what is remembered."""

from functools import partial

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Push, Wire, eventually

CHANNEL = b"__redis__:invalidate"
KEYS = [f"key:{number}".encode() for number in range(12)]


def everywhere(target: Target, resp: int) -> list[Wire]:
    """A connection to each worker."""
    return [target.connect(resp, port=port) for port in target.worker_ports]


def has_gone(asker: Wire, client_id: object) -> bool:
    return f"id={client_id} " not in str(asker("CLIENT", "LIST"))


def invalidated(*keys: bytes) -> Push:
    return Push([b"invalidate", list(keys)])


@pytest.mark.both_protocols
def test_another_client_hears(target: Target, resp: int) -> None:
    writer = target.connect(2)
    for hearer in everywhere(target, resp):
        client_id = hearer("CLIENT", "ID")
        hearer("SUBSCRIBE", CHANNEL)
        for reader in everywhere(target, 2):
            assert reader("CLIENT", "TRACKING", "ON", "REDIRECT", client_id) == OK
            assert reader("CLIENT", "GETREDIR") == client_id
            for key in KEYS:
                reader("GET", key)
            for key in KEYS:
                writer("SET", key, "v")
            heard = [hearer.read() for _ in KEYS]
            if resp == 2:
                assert sorted(heard) == sorted([b"message", CHANNEL, [key]] for key in KEYS)
            else:
                assert sorted(push.items[1] for push in heard) == sorted([key] for key in KEYS)
            reader("CLIENT", "TRACKING", "OFF")


def test_a_client_that_should_hear_has_gone(target: Target) -> None:
    writer = target.connect(2)
    for hearer, reader in zip(everywhere(target, 3), everywhere(target, 3), strict=True):
        client_id = hearer("CLIENT", "ID")
        assert reader("CLIENT", "TRACKING", "ON", "REDIRECT", client_id) == OK
        reader("GET", "k")
        hearer.close()
        writer("CLIENT", "KILL", "ID", client_id)
        eventually(partial(has_gone, writer, client_id))
        writer("SET", "k", "v")
        assert reader.read() == Push([b"tracking-redir-broken", client_id])
        assert "R" in str(reader("CLIENT", "INFO")).split("flags=")[1].split()[0]


def test_prefixes_are_heard_whoever_owns_the_keys(target: Target) -> None:
    readers = everywhere(target, 3)
    for reader in readers:
        assert reader("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "key:") == OK
    for writer in everywhere(target, 2):
        for key in KEYS:
            writer("SET", key, "v")
            writer("SET", b"other:" + key, "v")
        for reader in readers:
            heard: set[bytes] = set()
            while len(heard) < len(KEYS):
                push = reader.read()
                assert isinstance(push, Push)
                heard |= set(push.items[1])
            assert heard == set(KEYS)


def test_what_is_not_remembered_any_more_is_told(node_target: Target) -> None:
    reader = node_target.connect(3)
    with configured(reader, tracking_table_max_keys=6):
        reader("CLIENT", "TRACKING", "ON")
        many = [f"many:{number}".encode() for number in range(60)]
        reader.send_raw(b"".join(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key) for key in many))
        replies = 0
        forgotten: set[bytes] = set()
        while replies < len(many) or len(forgotten) < len(many) - 6:
            reply = reader.read()
            if isinstance(reply, Push):
                forgotten |= set(reply.items[1])
            else:
                replies += 1
        assert forgotten <= set(many)


def test_the_first_read_behind_a_change_of_the_own_shard_is_told_again(target: Target) -> None:
    reader, writer = target.connect(3), target.connect(2)
    reader("CLIENT", "TRACKING", "ON")
    for number in range(50):
        reader("GET", KEYS[number % len(KEYS)])
        writer("SET", KEYS[number % len(KEYS)], number)
        assert reader.read() == invalidated(KEYS[number % len(KEYS)])
