"""Changes of collections, each with what it makes of the value: a model of what a node has to keep."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Request = tuple[Any, ...]
Value = tuple[Any, ...]
"""What is in a collection, in an order of its own; empty for a key that does not exist."""
Change = Callable[[str, Value, random.Random, int], tuple[Request, Value]]

FEW = 4
MANY = 600
"""So many elements at once make a tree of a packed collection."""
MOST = 3000
ELEMENTS = 40
"""Elements, fields and members are drawn from so many, so that there are deletions and overwriting, too."""


@dataclass(frozen=True)
class Kind:
    """A kind of collection: how it is changed, read, and merged with another."""

    name: str
    changes: tuple[Change, ...]
    read: Callable[[str], Request]
    value: Callable[[Any], Value]
    merged: Callable[[str, str, Value, Value], tuple[Request, Value, Value]]
    """A request that changes two keys, the first one's from the second one's or the reverse, and what is in both."""


def drawn(draw: random.Random, version: int) -> list[bytes]:
    """Distinct elements: mostly few, now and then many."""
    if draw.randrange(40) == 0:
        return [b"%d-%d" % (version, number) for number in range(MANY)]
    return [b"e%d" % number for number in draw.sample(range(ELEMENTS), draw.randint(1, FEW))]


# Lists.


def push(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    new = [b"%d:" % version + one for one in drawn(draw, version)]
    if draw.randrange(2):
        return ("RPUSH", key, *new), (*value, *new)
    return ("LPUSH", key, *new), (*reversed(new), *value)


def pop(key: str, value: Value, draw: random.Random, _: int) -> tuple[Request, Value]:
    count = draw.randint(1, FEW)
    if draw.randrange(2):
        return ("LPOP", key, count), value[count:]
    return ("RPOP", key, count), value[: max(len(value) - count, 0)]


def set_element(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    if not value:
        return push(key, value, draw, version)
    place = draw.randrange(len(value))
    new = b"set %d" % version
    return ("LSET", key, place, new), (*value[:place], new, *value[place + 1 :])


def trim(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    if len(value) < MOST:
        return pop(key, value, draw, version)
    return ("LTRIM", key, 10, 19), value[10:20]


def moved(one: str, other: str, value: Value, others: Value) -> tuple[Request, Value, Value]:
    request = ("LMOVE", other, one, "RIGHT", "LEFT")
    return (request, (others[-1], *value), others[:-1]) if others else (request, value, others)


# Hashes, whose value is the sorted pairs.


def set_fields(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    new = dict.fromkeys(drawn(draw, version), b"%d" % version)
    return ("HSET", key, *[part for pair in new.items() for part in pair]), hash_of({**dict(value), **new})


def delete_fields(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    gone = [field for field, _ in value][:MOST] if len(value) > MOST else drawn(draw, version)
    return ("HDEL", key, *gone), tuple(pair for pair in value if pair[0] not in gone)


def count_field(key: str, value: Value, draw: random.Random, _: int) -> tuple[Request, Value]:
    fields, by = dict(value), draw.randint(-5, 5)
    fields[b"count"] = b"%d" % (int(fields.get(b"count", 0)) + by)
    return ("HINCRBY", key, "count", by), hash_of(fields)


def expire_field(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    field = drawn(draw, version)[0]
    return ("HPEXPIRE", key, 1, "FIELDS", 1, field), tuple(pair for pair in value if pair[0] != field)


def hash_of(fields: dict[bytes, bytes]) -> Value:
    return tuple(sorted(fields.items()))


# Sets, whose value is the sorted members.


def add(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    new = drawn(draw, version)
    return ("SADD", key, *new), tuple(sorted({*value, *new}))


def remove(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    gone = value[:MOST] if len(value) > MOST else drawn(draw, version)
    return ("SREM", key, *gone), tuple(one for one in value if one not in gone)


def united(one: str, other: str, value: Value, others: Value) -> tuple[Request, Value, Value]:
    return ("SUNIONSTORE", one, one, other), tuple(sorted({*value, *others})), others


# Sorted sets, whose value is the sorted pairs of member and score.


def score(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    new = {member: draw.randrange(1000) for member in drawn(draw, version)}
    return ("ZADD", key, *[part for member, one in new.items() for part in (one, member)]), scored(
        {**dict(value), **new}
    )


def rise(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    scores, member = dict(value), drawn(draw, version)[0]
    scores[member] = scores.get(member, 0) + 7
    return ("ZINCRBY", key, 7, member), scored(scores)


def lower(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    gone = [member for member, _ in value][:MOST] if len(value) > MOST else drawn(draw, version)
    return ("ZREM", key, *gone), tuple(pair for pair in value if pair[0] not in gone)


def pop_lowest(key: str, value: Value, draw: random.Random, _: int) -> tuple[Request, Value]:
    count = draw.randint(1, FEW)
    gone = sorted(value, key=lambda pair: (pair[1], pair[0]))[:count]
    return ("ZPOPMIN", key, count), tuple(pair for pair in value if pair not in gone)


def scored(scores: dict[bytes, int]) -> Value:
    return tuple(sorted(scores.items()))


def highest(one: str, other: str, value: Value, others: Value) -> tuple[Request, Value, Value]:
    scores = dict(value)
    for member, its in others:
        scores[member] = max(its, scores.get(member, its))
    return ("ZUNIONSTORE", one, 2, one, other, "AGGREGATE", "MAX"), scored(scores), others


# Streams, whose value is the pairs of id and version.


def append(key: str, value: Value, _: random.Random, version: int) -> tuple[Request, Value]:
    # Ids only rise, also where entries were removed.
    return ("XADD", key, f"{version}-1", "version", version), (*value, (b"%d-1" % version, b"%d" % version))


def delete_entries(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    # A stream without entries would still be one.
    if len(value) <= FEW:
        return append(key, value, draw, version)
    gone = draw.sample([entry for entry, _ in value], FEW)
    return ("XDEL", key, *gone), tuple(pair for pair in value if pair[0] not in gone)


def shorten(key: str, value: Value, draw: random.Random, version: int) -> tuple[Request, Value]:
    if not value:
        return append(key, value, draw, version)
    return ("XTRIM", key, "MAXLEN", "=", 20), value[-20:]


def copied(one: str, other: str, value: Value, others: Value) -> tuple[Request, Value, Value]:
    # Without a source nothing happens.
    return ("COPY", other, one, "REPLACE"), others or value, others


def renamed(one: str, other: str, value: Value, others: Value) -> tuple[Request, Value, Value]:
    """One key takes the place of another; the caller knows that it exists."""
    return ("RENAME", other, one), others or value, ()


def pairs(reply: list[Any]) -> Value:
    return tuple(zip(reply[::2], reply[1::2], strict=True))


KINDS = (
    Kind(
        "list",
        (push, push, pop, set_element, trim),
        lambda key: ("LRANGE", key, 0, -1),
        tuple,
        moved,
    ),
    Kind(
        "hash",
        (set_fields, set_fields, delete_fields, count_field, expire_field),
        lambda key: ("HGETALL", key),
        lambda reply: tuple(sorted(pairs(reply))),
        copied,
    ),
    Kind(
        "set",
        (add, add, remove),
        lambda key: ("SMEMBERS", key),
        lambda reply: tuple(sorted(reply)),
        united,
    ),
    Kind(
        "sorted set",
        (score, score, rise, lower, pop_lowest),
        lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
        lambda reply: tuple(sorted((member, int(its)) for member, its in pairs(reply))),
        highest,
    ),
    Kind(
        "stream",
        (append, append, append, delete_entries, shorten),
        lambda key: ("XRANGE", key, "-", "+"),
        lambda reply: tuple((entry, fields[1]) for entry, fields in reply),
        copied,
    ),
)
