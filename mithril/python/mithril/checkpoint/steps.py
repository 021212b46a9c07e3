"""The steps of a store: which checkpoints there are, and which of them are kept."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mithril.checkpoint import manifest as manifests
from mithril.checkpoint.manifest import Manifest
from mithril.checkpoint.objects import Location, Objects, opened
from mithril.checkpoint.settings import CheckpointSettings
from mithril.core.config import load as load_config
from mithril.core.errors import ExistsError, MithrilError, NotFoundError
from mithril.core.store import Store

FOLDER = "steps"
STEP_MAX = 10**12 - 1
_NAME = re.compile(r"(\d{12})\.mck")


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A committed checkpoint."""

    step: int
    created: float
    manifest_bytes: int


@dataclass(frozen=True, slots=True)
class Retained:
    """The outcome of `retain`."""

    kept: list[int]
    removed: list[int]
    objects: int
    bytes: int


def key_of(step: int) -> str:
    """The key of the manifest of a step."""
    if not 0 <= step <= STEP_MAX:
        raise MithrilError(f"step {step}: a step is a whole number from 0 to {STEP_MAX}")
    return f"{FOLDER}/{step:012}.mck"


def committed(store: Store) -> list[StepInfo]:
    """The checkpoints of a store, by step."""
    return sorted(_committed(store), key=lambda info: info.step)


def _committed(store: Store) -> Iterator[StepInfo]:
    for info in store.list(FOLDER):
        found = _NAME.fullmatch(info.key.removeprefix(f"{FOLDER}/"))
        if found:
            yield StepInfo(int(found[1]), info.modified, info.size)


def newest(store: Store) -> int | None:
    """The step of the newest checkpoint, or nothing."""
    return max((info.step for info in _committed(store)), default=None)


def read(store: Store, step: int) -> Manifest:
    """The manifest of a step."""
    key = key_of(step)
    try:
        data = store.get(key)
    except NotFoundError as error:
        there = [info.step for info in committed(store)]
        hint = f"there are {', '.join(map(str, there[-10:]))}" if there else "there is no checkpoint at all"
        raise NotFoundError(f"step {step} has no checkpoint; {hint}", error.url) from None
    return manifests.decode(data, store.url_of(key))


def require_free(store: Store, step: int) -> None:
    """Refuses a step that has a checkpoint, before any work is done for it."""
    if store.exists(key_of(step)):
        raise ExistsError(
            f"step {step} has a checkpoint already; choose another step, or overwrite it", store.url_of(key_of(step))
        )


def commit(store: Store, manifest: Manifest, ttl: float | None = None, *, overwrite: bool = False) -> int:
    """Makes a checkpoint visible, and gives the bytes of its manifest. All its objects are stored already."""
    data = manifests.encode(manifest)
    try:
        store.put(key_of(manifest.step), data, if_absent=not overwrite, ttl=ttl)
    except ExistsError as error:
        raise ExistsError(
            f"step {manifest.step} has a checkpoint already; choose another step, or overwrite it", error.url
        ) from None
    return len(data)


def list_steps(url: Location) -> list[StepInfo]:
    """The checkpoints at a URL, by step."""
    with opened(url) as store:
        return committed(store)


def latest(url: Location) -> int | None:
    """The step of the newest checkpoint at a URL, or nothing."""
    with opened(url) as store:
        return newest(store)


def retain(
    url: Location, *, last: int | None = None, every: int | None = None, grace_s: float | None = None
) -> Retained:
    """Keeps the `last` checkpoints and each whose step is a multiple of `every`; removes the others.

    Then what no checkpoint needs is deleted, if it is older than the grace time: younger objects may belong to a save
    that is under way.
    """
    if last is None and every is None:
        raise MithrilError("retain: say what to keep: last=N, every=N, or both")
    if (last is not None and last < 1) or (every is not None and every < 1):
        raise MithrilError("retain: last and every are 1 at least; the newest checkpoint is never removed")
    settings = load_config(CheckpointSettings, {"grace_s": grace_s}).settings
    with opened(url) as store:
        steps = [info.step for info in committed(store)]
        kept = set(steps[-(last or 1) :]) | {step for step in steps if every is not None and step % every == 0}
        # Read before anything is removed: a manifest that cannot be read stops the work while all is there.
        needed = {step: read(store, step).objects() for step in sorted(kept)}
        removed = [step for step in steps if step not in kept]
        store.delete(*map(key_of, removed))

        def live() -> set[str]:
            # A save that was under way may have been committed meanwhile.
            found = {info.step: needed.get(info.step) or read(store, info.step).objects() for info in committed(store)}
            return set().union(*found.values())

        collected = Objects(store, settings.grace_s).collect(live)
    return Retained(sorted(kept), removed, collected.removed, collected.removed_bytes)
