"""rensa as its users run it: shingles in Python, signatures and LSH in Rust, union-find; candidates unchecked.

python -m benches.mithril.duplicates_rensa INPUT.parquet OUTPUT.parquet
"""

import importlib
import importlib.util
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_WORDS = re.compile(r"\w+")
_PERMUTATIONS, _BANDS, _SEED, _SHINGLE = 128, 16, 42, 5


def available() -> bool:
    return importlib.util.find_spec("rensa") is not None


def shingles(text: str) -> list[str]:
    words = _WORDS.findall(text.lower())
    return [" ".join(words[at : at + _SHINGLE]) for at in range(max(len(words) - _SHINGLE + 1, 1))]


def main(source: str, target: str) -> None:
    rensa = importlib.import_module("rensa")
    table = pq.read_table(source)
    lsh = rensa.RMinHashLSH(threshold=0.7, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    roots = np.arange(table.num_rows)

    def root(number: int) -> int:
        while roots[number] != number:
            roots[number] = roots[roots[number]]
            number = roots[number]
        return number

    for number, text in enumerate(table["text"].to_pylist()):
        signature = rensa.RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        signature.update(shingles(text))
        for other in lsh.query(signature):
            left, right = root(other), root(number)
            roots[max(left, right)] = min(left, right)
        lsh.insert(number, signature)
    clusters = np.array([root(number) for number in range(len(roots))])
    kept = table.filter(pa.array(clusters == np.arange(len(clusters))))
    pq.write_table(kept, target, compression="zstd")
    pq.write_table(pa.table({"cluster": clusters}), target + ".clusters")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
