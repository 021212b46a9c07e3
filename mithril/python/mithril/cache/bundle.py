"""Artifacts as one file, for machines without a network: a tar of their stored forms."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from mithril.cache.artifact import Verifier, unseal
from mithril.cache.local import LocalArtifacts
from mithril.core.errors import ConfigError, DamagedError, MithrilError
from mithril.core.telemetry import logger

_log = logger("cache")


def export(local: LocalArtifacts, file: Path, paths: Iterable[str]) -> int:
    """Writes artifacts into a file, and gives how many there were; damaged ones are left out."""
    written = 0
    temporary = file.with_name(f".{file.name}.part")
    try:
        with tarfile.open(temporary, "w") as tar:
            for path in paths:
                data = local.get(path)
                if data is None or not _whole(data, path):
                    continue
                member = tarfile.TarInfo(path)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
                written += 1
        temporary.replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; name a file that can be written") from None
    finally:
        temporary.unlink(missing_ok=True)
    return written


def bring(local: LocalArtifacts, file: Path, verifier: Verifier | None, size_max: int) -> tuple[int, int]:
    """Takes artifacts from a file, each under the place that its own key says; gives how many, and how many not."""
    taken = refused = 0
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() and member.size <= size_max else None
                if content is None:
                    refused += 1
                    continue
                data = content.read()
                try:
                    local.put(unseal(data, verifier).key.path(), data)
                    taken += 1
                except MithrilError as error:
                    _log.warning(f"{file}: {member.name}: {error}")
                    refused += 1
    except (OSError, tarfile.TarError) as error:
        raise ConfigError(f"{file}: this is not a file of mithril cache export: {error}") from None
    return taken, refused


def _whole(data: bytes, path: str) -> bool:
    try:
        unseal(data)
    except DamagedError as error:
        _log.warning(f"{path}: {error}; it is left out")
        return False
    return True
