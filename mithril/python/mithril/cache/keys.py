"""Keys: what an artifact depends on, hashed alike on every machine."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from blake3 import blake3

DYNAMIC = -1
"""A dimension of an input that may have any size."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Shape and type of an input; a dynamic dimension is -1."""

    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        if any(size < DYNAMIC for size in self.shape):
            raise ValueError(f"a dimension is at least 0, or {DYNAMIC} for a dynamic one: {self.shape}")


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """Devices that run the same artifact: `cuda`, `cuda:9.0`, `cpu:x86_64:avx2+fma`."""

    kind: str
    features: str = ""

    @classmethod
    def cuda(cls, capability: tuple[int, int] | None = None) -> "DeviceClass":
        """Any CUDA device, or those of a compute capability."""
        return cls("cuda", f"{capability[0]}.{capability[1]}" if capability else "")

    @classmethod
    def cpu(cls, architecture: str, instruction_sets: tuple[str, ...]) -> "DeviceClass":
        """Processors of an architecture with these instruction sets."""
        return cls("cpu", f"{architecture}:{'+'.join(sorted(instruction_sets))}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.features}" if self.features else self.kind


@dataclass(frozen=True, slots=True)
class CacheKey:
    """All that an artifact depends on, and nothing else."""

    framework: str
    """The maker: `torch`, `triton`, `jax`."""
    kind: str
    """A kind of artifact within the framework."""
    subject: str
    """The graph or the source, as the framework names or hashes it."""
    inputs: tuple[InputSpec, ...] = ()
    device: DeviceClass | None = None
    versions: tuple[tuple[str, str], ...] = field(default=())
    """Names and versions of compiler, driver, framework and C library."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", tuple(sorted(self.versions)))

    def text(self) -> str:
        """The canonical form, which is hashed."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    def digest(self) -> str:
        """The hash, in 64 hexadecimal digits."""
        return blake3(self.text().encode()).hexdigest()

    def path(self) -> str:
        """The place in a store."""
        digest = self.digest()
        return f"{self.framework}/{self.kind}/{digest[:2]}/{digest}"

    @classmethod
    def parse(cls, text: str) -> "CacheKey":
        """The key of a canonical form. Raises ValueError."""
        try:
            content: dict[str, Any] = json.loads(text)
            content["inputs"] = tuple(InputSpec(tuple(spec["shape"]), spec["dtype"]) for spec in content["inputs"])
            content["device"] = DeviceClass(**content["device"]) if content["device"] else None
            content["versions"] = tuple((name, version) for name, version in content["versions"])
            return cls(**content)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"this is not the text of a key: {error}") from error
