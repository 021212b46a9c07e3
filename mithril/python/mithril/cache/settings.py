"""The section [cache] of the configuration."""

from pathlib import Path

from pydantic import Field

from mithril.core.config import Settings

ROOT_DEFAULT = Path("~/.cache/mithril/cache")


class CacheSettings(Settings):
    """The section [cache]."""

    section = "cache"

    enabled: bool = Field(False, description="Frameworks use the cache without a change to the program.")
    root: Path = Field(ROOT_DEFAULT, description="Folder of this machine's artifacts, logs and framework caches.")
    url: str = Field("", description="URL of the shared store; empty for this machine alone.")
    namespace: str = Field("default", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Name that separates teams.")
    program: str = Field("", description="Name of the program, for what it asks for first; empty for its script's.")
    ttl_s: float = Field(30 * 86_400.0, gt=0, description="Seconds that the shared store keeps an artifact.")
    size_max_bytes: int = Field(20 << 30, gt=0, description="Bytes of artifacts in the folder; the oldest go first.")
    artifact_max_bytes: int = Field(256 << 20, gt=0, description="Bytes of one artifact, uncompressed, at most.")
    level: int = Field(12, ge=1, le=22, description="Level of zstd for what is stored.")
    timeout_s: float = Field(0.4, gt=0, description="Seconds that a request to the shared store may take.")
    budget_s: float = Field(0.8, gt=0, description="Seconds that failing requests may cost a run in all.")
    flush_s: float = Field(10.0, ge=0, description="Seconds that an ending program waits for writes that advance.")
    retry_after_s: float = Field(30.0, gt=0, description="Seconds until a failed shared store is asked again.")
    wait_s: float = Field(600.0, ge=0, description="Seconds to wait for another process that compiles the same graph.")
    signing_key: Path | None = Field(None, description="File of the private key (PEM, Ed25519) that signs artifacts.")
    trusted_keys: Path | None = Field(None, description="File of the public keys (PEM) whose artifacts are used.")
