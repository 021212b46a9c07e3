"""The position of a pipeline, and its form for checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mithril.pipeline.chunk import Token
from mithril.pipeline.errors import PipelineError

_VERSION = 1
_DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class State:
    """A position: behind so many elements of an epoch; `up` is that of the last stage, `skip` elements behind it."""

    epoch: int
    position: int
    skip: int
    up: Token | None

    def to_dict(self, seed: int, shape: str, world: int) -> dict[str, Any]:
        """The position as numbers, lists and strings."""
        return {
            "version": _VERSION,
            "seed": seed,
            "stages": shape,
            "world": world,
            "epoch": self.epoch,
            "position": self.position,
            "skip": self.skip,
            "up": self.up,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], seed: int, shape: str, world: int, elastic: bool) -> Self:
        """The position in a state, checked against the pipeline that is to go on there."""
        if not isinstance(state, Mapping):
            raise PipelineError(f"a state is a dictionary as state_dict gives it, not {type(state).__name__}")
        found = state.get("version")
        if found != _VERSION:
            raise PipelineError(f"the state has version {found!r}; this release reads version {_VERSION}")
        for name, value in (("seed", seed), ("stages", shape)):
            if state.get(name) != value:
                raise PipelineError(
                    f"the state is of a pipeline with {name} {state.get(name)!r}, this one has {value!r}; "
                    f"make the pipeline as it was"
                )
        if state.get("world") != world and not elastic:
            raise PipelineError(
                f"the state is of {state.get('world')} ranks, this pipeline has {world}; the number may change where "
                f"only maps follow shard"
            )
        numbers = [state.get(name) for name in ("epoch", "position", "skip")]
        if not all(type(number) is int and number >= 0 for number in numbers) or not _valid(state.get("up"), 0):
            raise PipelineError("the state is damaged: its positions are not whole numbers of at least 0")
        return cls(state["epoch"], state["position"], state["skip"], state["up"])


def _valid(token: object, depth: int) -> bool:
    if token is None or (type(token) is int and token >= 0):
        return True
    return isinstance(token, list) and depth < _DEPTH_MAX and all(_valid(part, depth + 1) for part in token)
