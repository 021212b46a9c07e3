"""Transcripts over sockets: our node gives the replies of Redis, and Redis gave them."""

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.peer import PeerMissingError
from tests.targets import Target
from tests.transcripts import recorded
from tests.transcripts.notation import (
    AnyOrder,
    Anything,
    Apart,
    NotationError,
    Range,
    fits,
    format_reply,
    format_words,
    in_protocol,
    joined,
    parse,
    parse_reply,
    parse_words,
)
from tests.transcripts.replay import differences, name, sections, transcripts, written
from tests.wire import NULL_ARRAY, Boolean, Double, Error, MapReply, Push, SetReply, Verbatim

CASES = {
    "+OK": ("OK", "OK"),
    "-ERR no, not so": (Error("ERR no, not so"), Error("ERR no, not so")),
    "-7": (-7, -7),
    r'"a\r\n\x00"*2"!"': (b"a\r\n\0a\r\n\0!", b"a\r\n\0a\r\n\0!"),
    "null": (None, None),
    "null-array": (NULL_ARRAY, None),
    "[1, null, []]": ([1, None, []], [1, None, []]),
    '{"a": set [+b]}': ([b"a", ["b"]], MapReply([(b"a", SetReply(["b"]))])),
    "push [true, double 1.5]": ([1, b"1.5"], Push([Boolean(value=True), Double("1.5")])),
    'text "ab"': (b"ab", Verbatim("txt", b"ab")),
}


@pytest.mark.all_servers
@pytest.mark.parametrize("path", transcripts(), ids=name)
def test_replies_are_those_of_the_transcript(target: Target, resp: int, path: Path) -> None:
    found = [line for section in sections(path) for line in differences(section, resp, target.connect)]
    assert not found, "\n".join(found)


def test_redis_has_confirmed_every_transcript() -> None:
    """A transcript that has changed is shown to the peer; without one, this fails until it was."""
    changed = recorded.unconfirmed()
    if not changed:
        return
    try:
        peer = recorded.started()
    except PeerMissingError as missing:
        pytest.fail(
            f"{', '.join(map(name, changed))} changed: run `make transcripts` where there is a peer ({missing})"
        )
    with closing(peer):
        every = [(section, resp) for path in changed for section in sections(path) for resp in (2, 3)]
        found = [line for section, resp in every for line in differences(section, resp, peer.connect)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", CASES)
def test_a_reply_stands_for_both_protocols(text: str) -> None:
    resp2, resp3 = CASES[text]
    reply = parse_reply(text)
    assert fits(in_protocol(reply, 2), resp2)
    assert fits(in_protocol(reply, 3), resp3)
    assert not fits(in_protocol(reply, 2), "other")
    assert fits(in_protocol(joined(resp2, resp3), 2), resp2)
    assert fits(in_protocol(joined(resp2, resp3), 3), resp3)
    assert fits(in_protocol(parse_reply(format_reply(reply)), 3), resp3)


def test_replies_that_are_not_known_exactly() -> None:
    assert fits(Range(5, 7), 7)
    assert not fits(Range(5, 7), 8)
    assert not fits(Range(0, 1), True)
    assert fits(AnyOrder([1, Range(2, 3), Anything()]), SetReply([None, 3, 1]))
    assert not fits(AnyOrder([1, 2]), [1, 1])
    assert not fits(AnyOrder([1]), b"1")
    assert isinstance(joined(Error("ERR"), 1), Apart)


@pytest.mark.parametrize(
    "text", ['## a\nGET "k\n', "## a\nGET k\n  ?\n", "## a\nGET k\n  [1\n", "GET k\n", "## a\n  +OK\n"]
)
def test_what_is_no_transcript_is_refused(text: str) -> None:
    with pytest.raises(NotationError, match=r"^name:\d"):
        parse(text, "name")


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=2).map(lambda unit: unit * 40), min_size=1, max_size=4))
def test_requests_are_read_as_they_were_written(words: list[bytes]) -> None:
    assert parse_words(format_words(words)) == words


def test_recording_keeps_the_rest_of_the_text() -> None:
    text = '# About.\n\n## one\nSET k v\n  +OK\n\n# Why.\nb> GET k\n  nothing\nb>\n  "v"\n'
    assert written(text, parse(text, "name")) == text
