"""Compiled C++ kernels of TorchInductor: what no value of torch's own caches carries.

This module and `inductor` hold all that is not public in torch. A layout that it does not recognise makes it carry
nothing, and torch compiles as it would alone.
"""

import contextlib
import functools
import importlib
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from mithril.core.config import CoreSettings
from mithril.core.errors import MithrilError
from mithril.core.file_store import FileStore
from mithril.core.telemetry import logger

_log = logger("cache")
_SOURCE = ".main.cpp"
_LIBRARY = ".main.so"
_BINDINGS = "\n// Python bindings to call "
_HASH = re.compile(r"^[a-z2-7]{20,64}$")
_PROBE = re.compile(r"^[a-z2-7]{2}/[a-z2-7]{20,64}\.(cpp|so|so\.load_ok)$")
_PROBES_MAX = 40


@dataclass(frozen=True, slots=True)
class Kernel:
    """A compiled kernel: its source, the library, and the command that made it, without this machine's paths."""

    name: str
    source: str
    library: bytes
    command: str
    """A hash of the command; empty where it could not be told."""


class KernelFolder:
    """Kernels in the folder of TorchInductor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Whatever is cut off by a crash is compiled again: no need to wait for the disk.
        self._store = FileStore(str(folder), CoreSettings(fsync=False))
        self._bodies: dict[Path, bytes] = {}

    def used_by(self, graph: bytes) -> list[Kernel]:
        """The kernels whose source is part of a pickled graph."""
        self._look()
        found = []
        for source_file, body in self._bodies.items():
            if body not in graph:
                continue
            with contextlib.suppress(OSError, UnicodeDecodeError):
                found.append(self._kernel(source_file))
        return found

    def _look(self) -> None:
        for source_file in self.folder.glob(f"??/*{_SOURCE}"):
            if source_file not in self._bodies:
                with contextlib.suppress(OSError):
                    text = source_file.read_bytes()
                    body, bindings, _ = text.partition(_BINDINGS.encode())
                    if bindings and body.strip():
                        self._bodies[source_file] = body.strip()

    def _kernel(self, source_file: Path) -> Kernel:
        name = source_file.name.removesuffix(_SOURCE)
        source = source_file.read_text()
        library = source_file.with_name(name + _LIBRARY).read_bytes()
        command = _command()
        own = command is not None and _name(source, command) == name
        return Kernel(name, source, library, normalised(command) if own and command else "")

    def install(self, kernels: list[Kernel]) -> int:
        """Puts kernels where torch will look for them, and gives how many were new."""
        installed = 0
        for kernel in kernels:
            name = self._local_name(kernel)
            if name is None or not _HASH.match(name):
                continue
            path = f"{name[1:3]}/{name}{_LIBRARY}"
            if not self._store.exists(path):
                self._write(path, kernel.library)
                installed += 1
            _load(name, self._store.path_of(path))
        return installed

    def _local_name(self, kernel: Kernel) -> str | None:
        command = _command() if kernel.command else None
        if command is None:
            # Made by a command that is not understood: of use only to an installation at the same path.
            return kernel.name
        return _name(kernel.source, command) if normalised(command) == kernel.command else None

    def probes(self) -> dict[str, bytes]:
        """The small libraries by which torch has found out what the compiler and the processor can do."""
        found: dict[str, bytes] = {}
        for marker in sorted(self.folder.glob("??/*.so.load_ok"))[:_PROBES_MAX]:
            library = marker.with_name(marker.name.removesuffix(".load_ok"))
            with contextlib.suppress(OSError):
                content = library.read_bytes()
                found[library.relative_to(self.folder).as_posix()] = content
                found[marker.relative_to(self.folder).as_posix()] = marker.read_bytes()
        return found

    def install_probes(self, probes: Mapping[str, bytes]) -> int:
        """Puts the small libraries back, each before the mark that says it loads."""
        installed = 0
        for path in sorted(probes):
            if _PROBE.match(path) and not self._store.exists(path):
                self._write(path, probes[path])
                installed += 1
        return installed

    def _write(self, path: str, content: bytes) -> None:
        try:
            self._store.put(path, content)
            if path.endswith(".so"):
                self._store.path_of(path).chmod(0o755)
        except (MithrilError, OSError) as error:
            _log.warning(f"a compiled kernel is not kept: {error}")


def pack(kernels: list[Kernel]) -> dict[str, bytes]:
    """The parts of an artifact that hold kernels."""
    parts: dict[str, bytes] = {}
    for kernel in kernels:
        parts[f"cpp:{kernel.name}:{kernel.command}"] = kernel.source.encode()
    for kernel in kernels:
        parts[f"so:{kernel.name}"] = kernel.library
    return parts


def unpack(parts: Mapping[str, bytes]) -> list[Kernel]:
    """The kernels in an artifact."""
    return list(_unpacked(parts))


def _unpacked(parts: Mapping[str, bytes]) -> Iterator[Kernel]:
    for label, source in parts.items():
        if not label.startswith("cpp:"):
            continue
        _, name, command = label.split(":", 2)
        library = parts.get(f"so:{name}")
        if library is not None:
            yield Kernel(name, source.decode(errors="replace"), library, command)


def _load(name: str, library: Path) -> None:
    """Loads a library and enters it where torch keeps those it has loaded.

    Torch would otherwise preprocess its header once in each process, and precompile it (158 MB, some ten seconds) once
    on each machine, before it looks whether the library is there. A library that does not load goes: torch makes it.
    """
    codecache: Any = sys.modules["torch._inductor.codecache"]
    try:
        known = codecache.CppPythonBindingsCodeCache.cache
        load = codecache.CppPythonBindingsCodeCache._load_library  # noqa: SLF001 (see the module)
    except AttributeError:
        return
    if name in known:
        return
    try:
        module = load(str(library), name)
    except (ImportError, OSError) as error:
        _log.warning(f"{library} does not load, so it is made again: {error}")
        library.unlink(missing_ok=True)
        return
    known[name] = lambda: module


def _name(source: str, command: str) -> str:
    codecache = sys.modules["torch._inductor.codecache"]
    name: str = codecache.get_hash(source.strip(), f"None {command}", "code")
    return name


@functools.cache
def _command() -> str | None:
    """The command by which torch compiles kernels here, as it enters their names; None where that is not known."""
    try:
        codecache = importlib.import_module("torch._inductor.codecache")
        builder = importlib.import_module("torch._inductor.cpp_builder")
        isa = importlib.import_module("torch._inductor.cpu_vec_isa")
        flags: dict[str, Any] = codecache.CppPythonBindingsCodeCache.cpp_compile_command_flags
        options = builder.CppTorchDeviceOptions(
            compile_only=False,
            min_optimize=False,
            device_type="cpu",
            extra_flags=(),
            use_relative_path=False,
            vec_isa=isa.pick_vec_isa(),
            **flags,
        )
        command: str = builder.CppBuilder(name="o", sources="i", BuildOption=options).get_command_line()
    except Exception as error:  # noqa: BLE001 (whatever a later torch has changed)
        _log.warning(f"the commands of this torch are not recognised; kernels are shared at equal paths only: {error}")
        return None
    return command


def normalised(command: str) -> str:
    """A hash of a command without the paths of this installation.

    The paths name the same headers and libraries wherever torch and Python have the same versions, and those are part
    of an artifact's key.
    """
    torch = sys.modules["torch"]
    roots = {
        str(Path(torch.__file__ or "").parent): "TORCH",
        sysconfig.get_path("include"): "PYTHON_INCLUDE",
        sysconfig.get_path("platinclude"): "PYTHON_INCLUDE",
        str(sysconfig.get_config_var("LIBDIR")): "PYTHON_LIB",
        sys.prefix: "PREFIX",
        sys.base_prefix: "BASE_PREFIX",
    }
    for path in sorted(roots, key=len, reverse=True):
        command = command.replace(path, roots[path])
    return blake3(command.encode()).hexdigest()[:32]
