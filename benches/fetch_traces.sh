#!/bin/sh
# Fetches published traces for the scenario hit-ratio into a directory: benches/fetch_traces.sh DIRECTORY
# From the repositories of Caffeine (LIRS traces; binary ones are written again as keys) and of moka-rs/cache-trace (ARC
# traces, which are not to be passed on). Needs git and python3; some 30 MB.
set -eu

target=${1:?"usage: benches/fetch_traces.sh DIRECTORY"}
mkdir -p "$target"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

git clone --quiet --depth 1 --filter=blob:none --sparse https://github.com/ben-manes/caffeine "$scratch/caffeine"
resources=simulator/src/main/resources/com/github/benmanes/caffeine/cache/simulator/parser
git -C "$scratch/caffeine" sparse-checkout set --no-cone \
    "$resources/lirs" "$resources/cache2k" "$resources/corda" "$resources/scarab" "$resources/cloud_physics"
for name in 2_pools multi1 multi2 multi3 sprite; do
    cp "$scratch/caffeine/$resources/lirs/$name.trace.gz" "$target/$name.lirs.gz"
done

python3 - "$scratch/caffeine/$resources" "$target" <<'PYTHON'
import array, gzip, lzma, sys
from pathlib import Path

source, target = map(Path, sys.argv[1:])
# Big-endian key numbers of 4 or 8 bytes.
for name, packed, code in (
    ("orm-busy", "cache2k/orm-busy.trace.xz", "I"),
    ("orm-night", "cache2k/orm-night.trace.xz", "I"),
    ("web07", "cache2k/web07.trace.xz", "I"),
    ("web12", "cache2k/web12.trace.xz", "I"),
    ("corda", "corda/trace_vaultservice.gz", "Q"),
    ("scarab", "scarab/scarab-recs.trace.xz", "Q"),
    ("w106", "cloud_physics/w106.trace.xz", "I"),
):
    file = source / packed
    content = (gzip if file.suffix == ".gz" else lzma).open(file).read()
    keys = array.array(code)
    keys.frombytes(content[: len(content) // keys.itemsize * keys.itemsize])
    keys.byteswap()
    with gzip.open(target / f"{name}.keys.gz", "wt", compresslevel=1) as out:
        out.writelines(f"{key}\n" for key in keys)
PYTHON

git clone --quiet --depth 1 --filter=blob:none --sparse https://github.com/moka-rs/cache-trace "$scratch/moka"
git -C "$scratch/moka" sparse-checkout set --no-cone arc/OLTP.lis.zst arc/P3.lis.zst
for name in OLTP P3; do
    cp "$scratch/moka/arc/$name.lis.zst" "$target/$name.arc.zst"
done
