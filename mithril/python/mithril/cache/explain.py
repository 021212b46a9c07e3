"""Reasons of misses: what differed between its key and the nearest one that is stored.

Torch writes the components of a key into the graph that it pickles. They are read from there without unpickling.
"""

import pickletools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mithril.cache.artifact import Artifact, Sealed, unseal
from mithril.cache.keys import CacheKey
from mithril.cache.local import LocalArtifacts
from mithril.cache.runs import Run
from mithril.core.errors import DamagedError, MithrilError

_COMPONENT = re.compile(r"^\[(?P<hash>[a-z2-7]{20,})\] (?P<name>[^:]+): (?P<value>.*)$", re.DOTALL)
_CANDIDATES_MAX = 200
_DIFFERENCES_SHOWN = 12
_ARTIFACT_BYTES_MAX = 1 << 30
# A trace by AOTAutograd: it holds the components of its forward graph, and the time is counted with the graphs.
_TRACED = "autograd-experimental"


@dataclass(frozen=True, slots=True)
class Difference:
    """A part of a key that differs; a value that one side lacks is empty."""

    name: str
    here: str
    there: str


@dataclass(frozen=True, slots=True)
class Miss:
    """A lookup without a hit."""

    key: CacheKey | None
    event: Mapping[str, Any]
    cost_s: float
    nearest: CacheKey | None = None
    nearest_host: str = ""
    differences: tuple[Difference, ...] = ()

    def text(self) -> Iterator[str]:
        """Lines for people."""
        event = self.event
        done = (
            "traced again; its graphs tell what they cost" if self._is_traced() else f"compiled in {self.cost_s:.1f} s"
        )
        yield f"{event['framework']} {event['kind']} {event['subject'][:24]}: {done}"
        if event["outcome"] != "miss":
            yield f"  what was stored could not be used: {event['outcome']}"
        elif self.nearest is None:
            yield "  nothing similar is stored: it was compiled for the first time"
        elif not self.differences and self._is_traced():
            yield f"  the nearest, made on {self.nearest_host}, has the same forward graph; the joint one differs"
        elif not self.differences:
            yield f"  an equal key of {self.nearest_host} was stored later, or its guards did not hold"
        else:
            yield f"  the nearest is {self.nearest.subject[:24]}, made on {self.nearest_host}; what differs:"
            for one in self.differences[:_DIFFERENCES_SHOWN]:
                yield f"    {one.name}: {_short(one.here)} here, {_short(one.there)} there"
            if len(self.differences) > _DIFFERENCES_SHOWN:
                yield f"    and {len(self.differences) - _DIFFERENCES_SHOWN} more"

    def _is_traced(self) -> bool:
        return bool(self.event["kind"] == _TRACED)


def components(graph: bytes) -> dict[str, tuple[str, str]]:
    """The components of a graph's key in its pickle: hash and value by name."""
    found: dict[str, tuple[str, str]] = {}
    try:
        for _, argument, _ in pickletools.genops(graph):
            match = _COMPONENT.match(argument) if isinstance(argument, str) else None
            if match:
                found.setdefault(match["name"], (match["hash"], match["value"]))
    except ValueError:
        # A pickle of a protocol that pickletools does not read: what was found so far is shown.
        pass
    return found


def explain(local: LocalArtifacts, run: Run) -> list[Miss]:
    """The misses of a run, with what each lacked."""
    costs = {event["path"]: float(event["cost_s"]) for event in run.of("put")}
    stored = _stored(local)
    return [
        _explained(event, costs[event["path"]], stored, float(run.start["time"]))
        for event in run.of("get")
        if event["outcome"] in ("miss", "damaged", "untrusted")
        and (costs.get(event["path"]) or (event["kind"] == _TRACED and event["path"] in costs))
    ]


def _stored(local: LocalArtifacts) -> list[tuple[str, Sealed]]:
    found = []
    for one in sorted(local.list(), key=lambda one: one.used, reverse=True)[:_CANDIDATES_MAX]:
        data = local.get(one.path)
        try:
            sealed = unseal(data) if data is not None else None
        except DamagedError:
            continue
        if sealed is not None:
            found.append((one.path, sealed))
    return found


def _explained(event: Mapping[str, Any], cost: float, stored: list[tuple[str, Sealed]], before: float) -> Miss:
    own = next((sealed for path, sealed in stored if path == event["path"]), None)
    if own is None:
        return Miss(None, event, cost)
    others = [
        sealed
        for path, sealed in stored
        if path != event["path"]
        and (sealed.key.framework, sealed.key.kind) == (own.key.framework, own.key.kind)
        and sealed.header["created"] < before
    ]
    mine = _opened(own)
    best: tuple[int, Sealed, tuple[Difference, ...]] | None = None
    for other in others:
        differences = _key_differences(own.key, other.key) + _component_differences(mine, _opened(other))
        distance = sum(2 if one.name in ("graph", "gm") else 1 for one in differences)
        if best is None or distance < best[0]:
            best = (distance, other, differences)
    if best is None:
        return Miss(own.key, event, cost)
    return Miss(own.key, event, cost, best[1].key, str(best[1].header["host"]), best[2])


def _opened(sealed: Sealed) -> Artifact | None:
    try:
        return sealed.open(_ARTIFACT_BYTES_MAX)
    except MithrilError:
        return None


def _key_differences(here: CacheKey, there: CacheKey) -> tuple[Difference, ...]:
    found = []
    if here.device != there.device:
        mine, other = _features(here), _features(there)
        found.append(Difference("device", "+".join(sorted(mine - other)), "+".join(sorted(other - mine))))
    ours, theirs = dict(here.versions), dict(there.versions)
    found += [
        Difference(name, ours.get(name, ""), theirs.get(name, ""))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    return tuple(found)


def _features(key: CacheKey) -> set[str]:
    return set(re.split(r"[+:]", str(key.device or "")))


def _component_differences(here: Artifact | None, there: Artifact | None) -> tuple[Difference, ...]:
    mine = components(here.parts.get("data", b"")) if here else {}
    other = components(there.parts.get("data", b"")) if there else {}
    found = []
    for name in sorted(mine.keys() | other.keys()):
        ours, theirs = mine.get(name, ("", "")), other.get(name, ("", ""))
        if ours[0] != theirs[0]:
            found.append(Difference("graph" if name == "gm" else name, ours[1], theirs[1]))
    return tuple(found)


def _short(value: str) -> str:
    line = " ".join(value.split()) or "nothing"
    return line if len(line) <= 100 else f"{line[:97]}..."
