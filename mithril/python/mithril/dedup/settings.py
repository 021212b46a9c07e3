"""The section [dedup] of the configuration."""

import json
import os
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from mithril.core.config import Settings
from mithril.core.errors import ConfigError, InputError

METHODS = ("exact", "minhash", "substring")

# A chunk in work is there as it was stored, decoded, and in the form that is written.
_COPIES = 3
# Bytes in memory for each document while documents are clustered, and while they are written.
DOCUMENT_BYTES = 48
DOCUMENT_WRITTEN_BYTES = 24
# Pieces that memory has room for at least.
_PIECES = 16
_PIECE_MIN = 1 << 20
_SIGNED = (
    "column",
    "normalization",
    "shingle_unit",
    "shingle_size",
    "seed",
    "against",
    "against_column",
    "ngram_size",
    "score",
    # Chunks end at the same places.
    "piece_bytes",
)


class DedupSettings(Settings):
    """What counts as a duplicate, and what looking for it may use."""

    section = "dedup"

    column: str = Field("text", min_length=1, description="Column or field that holds the text.")
    method: str = Field("exact,minhash", description="Methods, with commas between: exact, minhash, substring.")
    threshold: float = Field(0.8, gt=0, le=1, description="Jaccard similarity from which documents are duplicates.")
    normalization: Literal["folded", "none"] = Field(
        "folded", description="Texts are compared folded (lower case, white space as one space), or as they are."
    )
    shingle_unit: Literal["words", "characters", "bytes", "tokens"] = Field(
        "words", description="Units of a shingle; tokens where the column holds lists of their numbers."
    )
    shingle_size: int = Field(5, ge=1, le=1024, description="Number of units of a shingle.")
    permutations: int = Field(128, ge=1, le=4096, description="Most values of a signature.")
    recall: float = Field(0.98, gt=0, lt=1, description="Share of the pairs at the threshold that bands must find.")
    bands: int = Field(0, ge=0, le=4096, description="Bands of a signature; 0 chooses them, and the rows, by recall.")
    rows: int = Field(0, ge=0, le=4096, description="Rows of a band; 0 chooses them.")
    seed: int = Field(1, ge=0, lt=1 << 64, description="Seed of the permutations.")
    verify: bool = Field(True, description="Pairs are compared by their whole sets of shingles before they count.")
    substring_bytes: int = Field(100, ge=8, le=1 << 16, description="Bytes from which a repeated run is cut out.")
    substring_tokens: int = Field(50, ge=2, le=1 << 14, description="The same where documents are lists of tokens.")
    substring_border: Literal["character", "word", "line"] = Field(
        "character", description="Places where a text may be cut."
    )
    against: str = Field("", description="URLs of evaluation data, with commas between, that must not be trained on.")
    against_column: str = Field("", description="Column or field of evaluation data; empty for that of the documents.")
    ngram_size: int = Field(13, ge=1, le=1024, description="Units of an n-gram shared with evaluation data.")
    ngram_matches: int = Field(1, ge=1, description="Shared n-grams from which a document is removed.")
    keep: Literal["first", "longest", "highest", "lowest"] = Field(
        "first", description="Document of a cluster that is kept: by its place, its length, or its keep_column."
    )
    keep_column: str = Field("", description="Column or field of numbers or times, for keep highest or lowest.")
    threads: int = Field(0, ge=0, le=256, description="Threads that read and hash; 0 for one for each core.")
    memory_bytes: int = Field(
        1 << 30, ge=1 << 20, description="Memory of a run beyond its process: facts on documents, inputs, comparisons."
    )
    block_bytes: int = Field(
        8 << 20, ge=1 << 10, le=1 << 30, description="Bytes that are read at once, but for row groups."
    )
    temporary_folder: str = Field("", description="Folder for bands and shingles; the system's where empty.")

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        if not names or any(name not in METHODS for name in names) or len(set(names)) != len(names):
            raise ValueError(f"names methods among {', '.join(METHODS)}, each once, with commas between")
        return ",".join(names)

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        if self.keep in ("highest", "lowest") and not self.keep_column:
            raise ValueError(f"keep is {self.keep}: name the column of numbers or times by keep_column")
        if self.score == self.column:
            raise ValueError(f"keep_column is {self.column}, which holds the texts; name a column of numbers or times")
        return self

    @property
    def score(self) -> str:
        """The column of scores; empty where documents are kept by something else."""
        return self.keep_column if self.keep in ("highest", "lowest") else ""

    @property
    def methods(self) -> frozenset[str]:
        """The names of the methods."""
        return frozenset(self.method.split(","))

    @property
    def piece_bytes(self) -> int:
        """Bytes that are read at once: fewer than asked for where memory is short."""
        return min(self.block_bytes, max(self.memory_bytes // _PIECES, _PIECE_MIN))

    @property
    def tokens(self) -> bool:
        """True where documents are lists of numbers of tokens."""
        return self.shingle_unit == "tokens"

    @property
    def folded(self) -> bool:
        """True where texts are compared in their folded form."""
        return self.normalization == "folded" and not self.tokens

    @property
    def signed(self) -> str:
        """What hashes and signatures depend on: as long as this is the same, they need not be made again."""
        return json.dumps({name: getattr(self, name) for name in _SIGNED})

    @property
    def workers(self) -> int:
        """The number of threads in use."""
        return self.threads or min(os.cpu_count() or 1, 16)

    def workers_for(self, chunk_bytes: int, documents: int = 0) -> int:
        """The number of threads for chunks of so many bytes: with little memory fewer are in work at once.

        The facts on documents that are known, and kept in memory, leave less.
        """
        free = self.memory_bytes - documents * DOCUMENT_WRITTEN_BYTES
        return max(min(self.workers, free // (_COPIES * max(chunk_bytes, 1)) - 1), 1)

    def check_chunk(self, name: str, chunk_bytes: int) -> None:
        """Raises InputError where documents that are read together do not fit into the memory."""
        least = _COPIES * chunk_bytes
        if least > self.memory_bytes:
            raise InputError(
                f"{name}: documents of {chunk_bytes} bytes are read together, which takes {least} bytes of memory; "
                f"memory_bytes is {self.memory_bytes}"
            )

    def check_documents(self, documents: int) -> None:
        """Raises ConfigError where the facts on so many documents do not fit into the memory."""
        least = documents * DOCUMENT_BYTES
        if least > self.memory_bytes:
            raise ConfigError(
                f"{documents} documents take at least {least} bytes of memory, and memory_bytes is "
                f"{self.memory_bytes}; give more, or divide the inputs"
            )
