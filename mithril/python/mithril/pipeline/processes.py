"""Worker processes, one for each thread of a segment."""

import contextlib
import os
import signal
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
# A process that has closed its connection is about to end.
_LAST_S = 5.0


@dataclass(slots=True)
class _Process:
    process: "subprocess.Popen[bytes]"
    mailbox: Mailbox

    def end(self, wait_s: float = 0) -> int:
        """Ends the process, if it has not ended by itself in that time, and gives its status."""
        self.mailbox.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(wait_s)
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
                status = self._of_thread().end(_LAST_S)
                self._local.found = None
                metrics.PROCESSES_REPLACED.inc()
                continue
            if isinstance(answer, Failure):
                raise answer.error()
            results, skipped, self._local.usage = answer
            return [Item(*result) for result in results], skipped
        how = f"ended with status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"
        died = RuntimeError(f"its process {how}, {_ATTEMPTS} times")
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
        except OSError:
            raise
        except Exception as error:
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
