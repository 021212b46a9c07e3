"""A sink of JSON lines, in any store. The output is whole or absent."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mithril.core.store import Store, Writer
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.stages import Sink


def writer_at(url: str | Path) -> Writer:
    """A writer of the object at a path or URL."""
    absolute = str(url) if "://" in str(url) else str(Path(url).absolute())
    base, _, name = absolute.rpartition("/")
    return Store.open(base or "/").open_writer(name)


class JsonlSink(Sink):
    """A sink that writes each element as a line of JSON; arrays become lists."""

    def __init__(self, url: str | Path) -> None:
        self._url = str(url)
        self._output = writer_at(url)

    def consume(self, value: Any) -> None:
        """Writes a line."""
        try:
            line = json.dumps(value, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"{self._url}: an element cannot be written as JSON: {error}") from None
        self._output.write(line.encode() + b"\n")

    def flush(self) -> None:
        """Makes the output visible."""
        self._output.commit()

    def abort(self) -> None:
        """Drops the output."""
        self._output.abort()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "detach"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON; map it to numbers, strings, lists or dictionaries")
