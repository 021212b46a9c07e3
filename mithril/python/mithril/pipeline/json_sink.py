"""A sink of JSON lines, in any store. The output is whole or absent."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mithril.pipeline.errors import PipelineError
from mithril.pipeline.outputs import writer_at
from mithril.pipeline.stages import Sink

_DEPTH_MAX = 200


class JsonlSink(Sink):
    """A sink that writes each element as a line of JSON; arrays become lists.

    JSON has no NaN and no infinity. An element with one is an error that names it, or with `non_finite="null"` has null
    in its place.
    """

    def __init__(self, url: str | Path, *, non_finite: Literal["raise", "null"] = "raise") -> None:
        if non_finite not in ("raise", "null"):
            raise PipelineError(f'non_finite is "raise" or "null", not {non_finite!r}')
        self._url = str(url)
        self._null = non_finite == "null"
        self._output = writer_at(url)
        self._written = 0

    def consume(self, value: Any) -> None:
        """Writes a line."""
        try:
            line = _dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            line = self._mended(value, error)
        self._output.write(line.encode() + b"\n")
        self._written += 1

    def flush(self) -> None:
        """Makes the output visible."""
        self._output.commit()

    def abort(self) -> None:
        """Drops the output."""
        self._output.abort()

    def _mended(self, value: Any, error: Exception) -> str:
        where = f"{self._url}: element {self._written}"
        if isinstance(error, ValueError):
            found = _non_finite(value, "", 0)
            if found is not None and not self._null:
                place, number = found
                raise PipelineError(
                    f"{where}{place and f', {place}'}: {number} has no form in JSON; leave it out by a map, or write "
                    f'null by non_finite="null"'
                ) from None
            if found is not None:
                try:
                    return _dumps(_with_null(value))
                except (TypeError, ValueError, RecursionError) as other:
                    error = other
        raise PipelineError(f"{where} cannot be written as JSON: {error}") from None


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "detach"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON; map it to numbers, strings, lists or dictionaries")


def _non_finite(value: Any, place: str, depth: int) -> tuple[str, float] | None:
    """The place and the value of the first number that JSON has no form for."""
    if isinstance(value, float):
        return None if math.isfinite(value) else (place, value)
    if depth == _DEPTH_MAX:
        return None
    if isinstance(value, Mapping):
        parts = ((part, f"{place}.{name}" if place else str(name)) for name, part in value.items())
    elif isinstance(value, list | tuple):
        parts = ((part, f"{place}[{at}]") for at, part in enumerate(value))
    elif hasattr(value, "tolist"):
        return _non_finite(value.tolist(), place, depth + 1)
    else:
        return None
    return next((found for part, name in parts if (found := _non_finite(part, name, depth + 1)) is not None), None)


def _with_null(value: Any) -> Any:
    """The value with null in the place of numbers that JSON has no form for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _with_null(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(part) for part in value]
    return _with_null(value.tolist()) if hasattr(value, "tolist") else value
