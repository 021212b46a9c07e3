"""The folder of a run that may be killed: what has been read and written, so that nothing is done twice."""

import fcntl
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mithril.core.errors import ConfigError, DamagedError
from mithril.dedup.inputs import InputFile
from mithril.dedup.settings import DedupSettings

FORMAT = 2
_RUN, _JOURNAL, _COLUMNS = "run.json", "journal.jsonl", "columns"
# What must be as it was for a run to go on, and its name for people.
_SAME = {
    "signed": "settings",
    "plan": "bands, which follow from threshold, recall, permutations, bands and rows",
    "inputs": "inputs",
    "output": "output",
}


class Work:
    """A folder of work, locked while it is open."""

    def __init__(self, folder: Path, run: dict[str, Any], lock: IO[str]) -> None:
        self.folder = folder
        self.run = run
        self.rows: list[list[int]] = []
        """The number of documents of each chunk that has been read, by source."""
        self.written: set[str] = set()
        """Names of the files that are complete."""
        self._lock = lock
        try:
            self._journal = self._replay()
        except BaseException:
            lock.close()
            raise

    @classmethod
    def begin(
        cls,
        folder: str | Path,
        settings: DedupSettings,
        files: Sequence[InputFile],
        plan: Sequence[int],
        output: Sequence[Any],
    ) -> Self:
        """Begins a run, or goes on with the one that the folder has."""
        run = {
            "format": FORMAT,
            "settings": settings.model_dump(),
            "signed": settings.signed,
            "plan": list(plan),
            "names": [file.name for file in files],
            "inputs": [[file.url, file.size, file.source.version] for file in files],
            "output": list(output),
        }
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()) and not (path / _RUN).exists():
            raise ConfigError(f"{folder}: this folder has other files; name an empty one for the work")
        lock = cls._locked(path)
        found = lock.read()
        if not found:
            lock.write(json.dumps(run))
            lock.flush()
        else:
            before = _parsed(found, path)
            for name, what in _SAME.items():
                if before[name] != run[name]:
                    lock.close()
                    raise ConfigError(
                        f"{folder}: the run there has other {what}; remove the folder, or name another one"
                    )
        return cls(path, run, lock)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The work of an earlier run."""
        path = Path(folder)
        if not (path / _RUN).exists():
            raise ConfigError(f"{folder}: there is no work of a run; keep it by keep_work when you run")
        lock = cls._locked(path)
        return cls(path, _parsed(lock.read(), path), lock)

    @staticmethod
    def _locked(path: Path) -> IO[str]:
        lock = (path / _RUN).open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(f"{path}: another process works there; wait for it, or name another folder") from None
        lock.seek(0)
        return lock

    @property
    def columns(self) -> Path:
        """The folder of the columns."""
        return self.folder / _COLUMNS

    @property
    def documents(self) -> int:
        """The number of documents that have been read."""
        return sum(sum(rows) for rows in self.rows)

    def add_chunk(self, source: int, rows: int) -> None:
        """Notes that the columns have one more chunk."""
        self._note({"source": source, "rows": rows})

    def add_written(self, name: str) -> None:
        """Notes that a file is complete."""
        self._note({"written": name})

    def forget_written(self) -> None:
        """Forgets which files are complete: another output follows."""
        lines = [
            json.dumps({"source": source, "rows": rows})
            for source, all_rows in enumerate(self.rows)
            for rows in all_rows
        ]
        self._journal.close()
        temporary = self.folder / (_JOURNAL + ".new")
        temporary.write_text("".join(line + "\n" for line in lines))
        temporary.replace(self.folder / _JOURNAL)
        self._journal = self._replay()

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        self._lock.close()

    def _note(self, entry: dict[str, Any]) -> None:
        self._journal.write(json.dumps(entry).encode() + b"\n")

    def _replay(self) -> IO[bytes]:
        self.rows, self.written = [[] for _ in self.run["inputs"]], set()
        path = self.folder / _JOURNAL
        whole = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
            # A line that was being written when the process ended.
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                if "written" in entry:
                    self.written.add(str(entry["written"]))
                else:
                    self.rows[entry["source"]].append(int(entry["rows"]))
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise DamagedError(
                    f"the journal cannot be read ({error}); remove the folder and start again", str(path)
                ) from None
            whole += len(line)
        journal = path.open("ab", buffering=0)
        os.ftruncate(journal.fileno(), whole)
        return journal


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(text)
        if run["format"] != FORMAT:
            raise ConfigError(f"{path}: the work is of format {run['format']}, this release has {FORMAT}; start again")
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: the work there cannot be read; remove the folder and start again") from None
    return run
