"""OBJECT: encodings, reference counts, idle times."""

from tests.targets import Target, configured
from tests.wire import OK, Error, Wire

NO_LFU = (
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
    "between policies at runtime LRU and LFU data will take some time to adjust."
)


def test_encodings_after_changes(c: Wire, target: Target) -> None:
    """Redis names what a value has been through, ours how it is kept: any of the names is right then."""
    steps = [
        ("SET n 9999", "APPEND n 1", b"raw"),
        ("PING", "INCR n", b"int"),
        ("PING", "SETRANGE n 0 8", b"raw"),
        ("PING", "INCRBYFLOAT n 1", b"embstr"),
        ("SET n short", "APPEND n er", b"raw"),
        ("DEL n", "APPEND n 12", b"int"),
        ("DEL n", "SETRANGE n 0 12", b"raw"),
        ("SET n short", "GETSET n 12", b"int"),
        ("SET source text", "COPY source n REPLACE", b"embstr"),
        (f"SET source {'a' * 45}", "RENAME source n", b"raw"),
    ]
    for before, change, encoding in steps:
        c.do(before)
        c.do(change)
        found = c("OBJECT", "ENCODING", "n")
        assert found == encoding or (not target.is_peer and found in (b"int", b"embstr", b"raw")), (change, found)


def test_freq_under_an_lfu_policy(c: Wire) -> None:
    with configured(c, maxmemory_policy="allkeys-lfu"):
        assert c("SET", "k", "v") == OK
        assert c("OBJECT", "FREQ", "k") in range(256)
        assert isinstance(c("OBJECT", "IDLETIME", "k"), Error)
        assert c("OBJECT", "FREQ", "absent") is None


def test_help(c: Wire) -> None:
    lines = c("OBJECT", "HELP")
    assert lines[0] == "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert {"ENCODING <key>", "FREQ <key>", "IDLETIME <key>", "REFCOUNT <key>", "HELP"} <= set(lines)
