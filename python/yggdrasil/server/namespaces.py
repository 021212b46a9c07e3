"""Prefixes of keys with promises of their own: how they are written, and where they are kept."""

import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BeforeValidator

from yggdrasil.server.files import replace_file

_FILE_NAME = "namespaces.txt"
NAMESPACE_TABLES = "namespace"
"""The name of their tables in the configuration file."""
NAMESPACES_MAX = 128
ACKS = ("none", "fast", "sync")
"""The promises that can be given today."""
STRONG = "strong needs replicas, of which there are none yet: use fast or sync"


@dataclass(frozen=True, slots=True)
class Namespace:
    """The promise for keys that begin with a prefix."""

    prefix: bytes
    ack: str
    may_lower: bool = False
    """A connection may ask for less."""


def parse_namespaces(text: str) -> dict[bytes, Namespace]:
    """Reads groups of `PREFIX ACK`, by prefix; ValueError says what is wrong."""
    words = text.split()
    if len(words) % 2:
        raise ValueError("not groups of a prefix and a promise")
    found: dict[bytes, Namespace] = {}
    for quoted, promise in zip(words[::2], words[1::2], strict=True):
        one = make_namespace(urllib.parse.unquote_to_bytes(quoted), promise.removesuffix("+"), promise.endswith("+"))
        if one.prefix in found:
            raise ValueError("a prefix twice")
        found[one.prefix] = one
    if len(found) > NAMESPACES_MAX:
        raise ValueError(f"more than {NAMESPACES_MAX} namespaces")
    return found


def make_namespace(prefix: bytes, ack: str, may_lower: bool) -> Namespace:
    """One of these parts; ValueError says what is wrong."""
    if ack == "strong":
        raise ValueError(STRONG)
    if ack not in ACKS or not prefix or (ack == "none" and may_lower):
        raise ValueError("a prefix that is not empty and none, fast or sync are needed; none cannot be lowered")
    return Namespace(prefix, ack, may_lower)


def namespaces_text(namespaces: Iterable[Namespace]) -> str:
    """The groups that `parse_namespaces` reads, in order."""
    ordered = sorted(namespaces, key=lambda one: one.prefix)
    return " ".join(f"{urllib.parse.quote(one.prefix)} {one.ack}{'+' * one.may_lower}" for one in ordered)


def with_promise(text: str, quoted: str, promise: str) -> str:
    """The groups with another one for a prefix, or without one where nothing is promised."""
    words = text.split()
    others = [pair for pair in zip(words[::2], words[1::2], strict=True) if pair[0] != quoted]
    return " ".join(f"{prefix} {said}" for prefix, said in [*others, (quoted, promise)] if said)


def engine_text(text: str) -> str:
    """The same for the engine."""
    found = parse_namespaces(text).values()
    return " ".join(f"{one.ack}:{int(one.may_lower)}:{one.prefix.hex()}" for one in found)


def from_tables(tables: list[Any]) -> str:
    """The groups that tables of the configuration file stand for; ValueError says what is wrong."""
    found: list[Namespace] = []
    for table in tables:
        if not isinstance(table, dict) or not {"prefix", "ack"} <= table.keys() <= {"prefix", "ack", "lower"}:
            raise ValueError("a namespace has prefix and ack, and perhaps lower")
        prefix, ack, lower = table["prefix"], table["ack"], table.get("lower", False)
        if not isinstance(prefix, str) or not isinstance(ack, str) or not isinstance(lower, bool):
            raise ValueError("prefix and ack are texts, and lower is true or false")
        found.append(make_namespace(prefix.encode(), ack, lower))
    return _check(namespaces_text(found))


def to_tables(text: str) -> list[dict[str, str | bool]]:
    """Tables that stand for the groups; UnicodeDecodeError where a prefix is no text."""
    return [
        {"prefix": one.prefix.decode(), "ack": one.ack} | ({"lower": True} if one.may_lower else {})
        for one in parse_namespaces(text).values()
    ]


def keep_namespaces(directory: Path, text: str) -> None:
    """Keeps what was set at run time for the next start."""
    replace_file(directory / _FILE_NAME, f"{text}\n".encode())


def kept_namespaces(directory: Path) -> str | None:
    """What was set at run time, before anything else; ValueError says what is wrong with it."""
    try:
        return _check((directory / _FILE_NAME).read_text().strip())
    except FileNotFoundError:
        return None


def _check(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    return namespaces_text(parse_namespaces(value).values())


check_namespaces = BeforeValidator(_check)
"""The one way in which the engine and CONFIG GET see them."""
