"""Documents of this machine with planted copies: files of Python's library, headers and documents, nine kinds of edits.

python -m benches.mithril.duplicates_corpus DOCUMENTS OUTPUT.parquet
"""

import gzip
import os
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_ENDS = (
    ".py", ".pyi", ".h", ".hpp", ".c", ".md", ".rst", ".txt", ".html", ".js", ".css", ".pl", ".pm", ".gz", "copyright",
)  # fmt: skip
_EDITS = ("exact", "fold", "substitute", "delete", "insert", "head", "cut", "typo", "move")
_RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)
_ROW_GROUP = 8192
_FILE_BYTES_MAX = 1_500_000


def pieces(chance: random.Random, draws: np.random.Generator) -> Iterator[str]:
    """Parts of the files of this machine, of log-normal lengths."""
    roots = (Path(os.__file__).parent, Path("/usr/share/doc"), Path("/usr/include"))
    files = sorted(path for root in roots for path in root.rglob("*") if path.name.endswith(_ENDS) and path.is_file())
    chance.shuffle(files)
    seen: set[str] = set()
    for path in files:
        try:
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            text = data[:_FILE_BYTES_MAX].decode()
        except (OSError, ValueError, EOFError):
            continue
        if text in seen:
            continue
        seen.add(text)
        start = 0
        for length in np.clip(np.exp(draws.normal(7.35, 0.85, 12)), 200, 40_000).astype(int):
            piece = text[start : start + length]
            start += length
            if len(piece) >= 200:
                yield piece


def edited(chance: random.Random, text: str, kind: str, rate: float, words: Sequence[str]) -> str:
    parts = re.split(r"(\s+)", text)
    places = [index for index, part in enumerate(parts) if part and not part.isspace()]
    some = chance.sample(places, min(max(1, int(len(places) * rate)), len(places) - 1)) if len(places) > 1 else []
    if kind == "fold":
        return text.upper() if chance.random() < 0.5 else re.sub(r"\s+", " ", text)
    if kind == "head":
        return " ".join(chance.choice(words) for _ in some) + "\n" + text
    if kind == "cut":
        return "".join(parts[: places[-1 - len(some)]]) if some else text
    if kind == "move":
        half = len(parts) // 2
        return "".join(parts[half:]) + " " + "".join(parts[:half])
    for index in some:
        word = parts[index]
        at = chance.randrange(len(word))
        changes = {
            "substitute": chance.choice(words),
            "delete": "",
            "insert": f"{word} {chance.choice(words)}",
            "typo": word[:at] + chance.choice("abcdefghij") + word[at + 1 :],
        }
        parts[index] = changes.get(kind, word)
    return "".join(parts)


def corpus(documents: int, seed: int = 7) -> list[str]:
    """Four bases in five documents, the rest copies in clusters of Pareto sizes, in random order."""
    chance, draws = random.Random(seed), np.random.default_rng(seed)
    bases = [text for text, _ in zip(pieces(chance, draws), range(documents * 4 // 5), strict=False)]
    words = [word for text in bases[:2000] for word in text.split()]
    texts = list(bases)
    while len(texts) < documents:
        base = chance.choice(bases)
        copies = range(min(int(chance.paretovariate(1.5)), 20, documents - len(texts)))
        texts.extend(edited(chance, base, chance.choice(_EDITS), chance.choice(_RATES), words) for _ in copies)
    chance.shuffle(texts)
    return texts


def main(documents: int, target: str) -> None:
    texts = corpus(documents)
    table = pa.table({"id": range(len(texts)), "text": texts})
    pq.write_table(table, target, row_group_size=_ROW_GROUP, compression="zstd")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
