"""Worker processes, one for each thread of a segment."""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mithril.pipeline import metrics
from mithril.pipeline.chunk import Item
from mithril.pipeline.errors import PipelineError, TransformError
from mithril.pipeline.extras import extra
from mithril.pipeline.functions import Function
from mithril.pipeline.process_worker import Failure
from mithril.pipeline.shared_memory import Mailbox, pair

# Processes that may die of the same samples before that is an error.
_ATTEMPTS = 3


@dataclass(slots=True)
class _Process:
    process: "subprocess.Popen[bytes]"
    mailbox: Mailbox

    def end(self) -> int:
        """Ends the process, and gives its status."""
        self.mailbox.close()
        self.process.kill()
        return self.process.wait()


class Processes:
    """The processes of the threads of a segment. Each begins with the first samples of its thread."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._functions = functions
        self._name = " > ".join(function.name for function in functions)
        self._local = threading.local()
        dumps = extra("cloudpickle", "processes", "cloudpickle", "processes").dumps
        try:
            self._pickled: bytes = dumps(list(functions))
        except Exception as error:
            raise PipelineError(f"{self._name}: cannot be sent to a process: {error}; use threads") from error

    def apply(self, samples: list[Item]) -> tuple[list[Item], int]:
        """Calls the functions in the process of this thread, as `functions.apply` does."""
        parts = [(sample.value, sample.place, sample.row) for sample in samples]
        status = 0
        for _ in range(_ATTEMPTS):
            try:
                answer = self._asked(parts)
            except (EOFError, BrokenPipeError, ConnectionError):
                status = self._of_thread().end()
                self._local.found = None
                metrics.PROCESSES_REPLACED.inc()
                continue
            if isinstance(answer, Failure):
                raise answer.error()
            results, skipped, self._local.usage = answer
            return [Item(*result) for result in results], skipped
        died = RuntimeError(f"its process ended with status {status}, {_ATTEMPTS} times")
        raise TransformError(self._name, samples[0].place, samples[0].row, died)

    def memory_usage(self) -> int:
        """The bytes of samples that transforms hold in the process of this thread."""
        return int(getattr(self._local, "usage", 0))

    def close_thread(self) -> None:
        """Ends the process of this thread."""
        found: _Process | None = getattr(self._local, "found", None)
        if found is not None:
            found.end()
            self._local.found = None

    def _asked(self, parts: list[tuple[Any, str, int]]) -> Any:
        mailbox = self._of_thread().mailbox
        try:
            mailbox.send(parts)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise PipelineError(f"{parts[0][1]}: a sample cannot be sent to a process: {error}; use threads") from error
        return mailbox.receive()

    def _of_thread(self) -> _Process:
        found: _Process | None = getattr(self._local, "found", None)
        if found is None:
            found = self._local.found = self._started()
        return found

    def _started(self) -> _Process:
        ours, theirs = pair()
        program = f"from mithril.pipeline.process_worker import main; main({theirs.fileno()}, {os.getpid()})"
        command = [sys.executable, "-c", program]
        with theirs:
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        found = _Process(process, Mailbox(ours))
        # Where it is gone already, whoever asks it finds that out.
        with contextlib.suppress(OSError):
            found.mailbox.send(sys.path)
            found.mailbox.send(self._pickled)
        return found
