"""TorchInductor on the cache, by torch's own hook for remote caches.

`torch._inductor.remote_cache` asks `backend_override_cls` for its backend. This module gives it one, turns torch's
remote caches on, and adds to torch's keys what they lack: the instruction sets of the processor and the compiler.
"""

import base64
import binascii
import importlib
import json
import os
import re
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

from mithril.cache import cpp_kernels, session
from mithril.cache.artifact import Artifact
from mithril.cache.environment import device_class, versions
from mithril.cache.keys import CacheKey
from mithril.cache.session import Session
from mithril.core.telemetry import logger

_log = logger("cache")
_KEY = re.compile(r"^pt2:(?P<kind>[^:]+)::(?P<key>.+):c\d+$")
_GRAPHS = "fx-graph-v1"
_PROBES = "isa-probes"
# Kinds of torch's caches whose name is a hash get one name, so that places in a store stay few.
_KINDS = {_GRAPHS, "autograd-experimental", "bundled-autotune-v1", "dynamo-pgo"}
_BYPASS = "Bypassing FX Graph Cache because"


def configure(remote_cache: ModuleType) -> None:
    """Connects a freshly imported `torch._inductor.remote_cache` with the cache."""
    cache_class = getattr(remote_cache, "RedisRemoteCache", None)
    if cache_class is None or not hasattr(cache_class, "backend_override_cls"):
        _log.warning(f"torch {_torch_version()} has another hook for remote caches; Mithril leaves it alone")
        return
    cache_class.backend_override_cls = _backend_factory(remote_cache)
    _set_options()
    threading.Thread(target=_begin, name="mithril-cache-start", daemon=True).start()


def _set_options() -> None:
    inductor = importlib.import_module("torch._inductor.config")
    functorch = importlib.import_module("torch._functorch.config")
    compiler: Any = importlib.import_module("torch.compiler.config")
    torch = sys.modules["torch"]
    # What the user has decided stays.
    _default(inductor, "fx_graph_remote_cache", True)
    _default(functorch, "enable_remote_autograd_cache", True)
    # Without a GPU torch has no hash of the backend, and fails on these.
    _default(inductor, "autotune_remote_cache", torch.cuda.is_available())
    _default(inductor, "bundled_autotune_remote_cache", torch.cuda.is_available())
    if os.environ.get("TORCH_COMPILE_JOB_ID"):
        _default(importlib.import_module("torch._dynamo.config"), "automatic_dynamic_remote_pgo", True)
    # Torch's keys lack the instruction sets: with this, its local folders tell machines apart as well.
    compiler.cache_key_tag = ":".join(filter(None, (compiler.cache_key_tag, _machine().digest()[:16])))


def _default(module: Any, option: str, value: bool) -> None:
    try:
        if getattr(module, option) is None:
            setattr(module, option, value)
    except AttributeError:
        _log.warning(f"torch {_torch_version()} has no option {option}")


def _machine() -> CacheKey:
    return CacheKey("torch", _PROBES, _torch_version(), device=device_class(), versions=versions())


def _torch_version() -> str:
    return str(getattr(sys.modules.get("torch"), "__version__", "unknown"))


def _begin() -> None:
    """Fetches, while torch is still being imported, what this program asked for last time."""
    current = session.current()
    if current is None:
        return
    current.begin(lambda: [_machine().path()])
    probes = current.cache.get(_machine())
    if probes is not None:
        _folder().install_probes(probes.parts)
    _ready.set()


_ready = threading.Event()


def _folder() -> cpp_kernels.KernelFolder:
    runtime = importlib.import_module("torch._inductor.runtime.runtime_utils")
    folder = Path(runtime.cache_dir())
    if folder not in _folders:
        _folders[folder] = cpp_kernels.KernelFolder(folder)
    return _folders[folder]


_folders: dict[Path, cpp_kernels.KernelFolder] = {}


def _backend_factory(remote_cache: ModuleType) -> Any:
    base: Any = remote_cache.RemoteCacheBackend

    class MithrilBackend(base):  # type: ignore[misc]
        """Torch's values in the cache. Neither method raises: a compilation never fails because of the cache."""

        def _get(self, key: str) -> bytes | None:
            try:
                return _get(key)
            except Exception:  # noqa: BLE001 (see the class)
                _log.warning("a lookup in the cache failed", exc_info=True)
                return None

        def _put(self, key: str, data: bytes) -> None:
            try:
                _put(key, data)
            except Exception:  # noqa: BLE001 (see the class)
                _log.warning("a write to the cache failed", exc_info=True)

    return MithrilBackend


def _cache_key(key: str) -> CacheKey:
    match = _KEY.match(key)
    kind, subject = (match["kind"], match["key"]) if match else ("other", key)
    if kind not in _KINDS:
        kind, subject = "autotune", f"{kind}:{subject}"
    return CacheKey("torch", kind, subject, device=device_class(), versions=versions())


def _get(key: str) -> bytes | None:
    current = session.current()
    if current is None:
        return None
    current.await_begin()
    asked = _cache_key(key)
    artifact = current.cache.get(asked)
    if artifact is None and asked.kind == _GRAPHS:
        artifact = current.wait_for_other(asked)
    if artifact is None:
        return None
    kernels = cpp_kernels.unpack(artifact.parts)
    if kernels:
        _folder().install(kernels)
    return _to_torch(artifact)


def _put(key: str, data: bytes) -> None:
    current = session.current()
    if current is None:
        return
    made = _cache_key(key)
    _watch_bypasses(current)

    def artifact() -> Artifact:
        parts, notes, cost = _from_torch(data)
        if made.kind == _GRAPHS:
            parts |= cpp_kernels.pack(_folder().used_by(parts.get("data", b"")))
        else:
            # Torch counts the time of a graph's compilation for what contains the graph, too.
            cost = 0.0
        return Artifact(made, parts, cost, notes=notes)

    current.cache.put(artifact)
    current.cache.after_writes(lambda: current.finished(made))
    _put_probes(current)


_probes_put = threading.Event()


def _put_probes(current: Session) -> None:
    if _probes_put.is_set():
        return
    _probes_put.set()

    def artifact() -> Artifact | None:
        machine = _machine()
        probes = _folder().probes()
        if not probes or current.cache.local.has(machine.path()):
            return None
        return Artifact(machine, probes)

    current.cache.put(artifact)


def _from_torch(data: bytes) -> tuple[dict[str, bytes], dict[str, Any], float]:
    """Takes torch's JSON of base64 apart: compressed as they are, the bytes need a fraction of the room."""
    try:
        content = json.loads(data)
        raw = base64.b64decode(content["data"], validate=True)
        # Only what comes back byte for byte may be taken apart.
        if base64.b64encode(raw).decode() != content["data"]:
            raise ValueError("not canonical")
    except (ValueError, KeyError, TypeError, binascii.Error):
        return {"json": data}, {}, 0.0
    rest = {name: value for name, value in content.items() if name != "data"}
    cost = rest.get("time_taken_ms")
    return {"data": raw}, {"torch": rest}, cost / 1000 if isinstance(cost, int | float) else 0.0


def _to_torch(artifact: Artifact) -> bytes | None:
    if "json" in artifact.parts:
        return artifact.parts["json"]
    if "data" not in artifact.parts:
        return None
    encoded = base64.b64encode(artifact.parts["data"]).decode()
    return json.dumps({"data": encoded, **artifact.notes.get("torch", {})}).encode()


_watching = threading.Event()


def _watch_bypasses(current: Session) -> None:
    """Records why torch does not cache a graph; torch says it in its log alone, at a level that is off."""
    if _watching.is_set():
        return
    _watching.set()
    import logging  # noqa: PLC0415

    log = logging.getLogger("torch._inductor.codecache")
    before = log.getEffectiveLevel()

    def note(record: logging.LogRecord) -> bool:
        if isinstance(record.msg, str) and record.msg.startswith(_BYPASS):
            current.cache.recorder.record("bypass", framework="torch", kind=_GRAPHS, reason=str(record.args))
        return record.levelno >= before

    log.addFilter(note)
    if before > logging.INFO:
        log.setLevel(logging.INFO)
