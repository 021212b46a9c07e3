"""Pipelines: cost of the engine, memory, slow samples, resume, and tokenising beside a plain loop.

    python -m benches.mithril.pipeline [engine|memory|slow|resume|tokens|images ...]

`tokens` needs the package tokenizers. It trains a BPE on the source of the standard library, then encodes and packs it.
`images` needs Pillow. SPDL is measured where it can be imported.
"""

import argparse
import importlib.util
import io
import json
import os
import resource
import statistics
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mithril.pipeline import DecodeImage, ParquetSource, Pipeline, Tokenize

WORKERS = 2
ROUNDS = 3
BUDGET = 300_000_000
LARGE = range(300, 360)


def cpu(who: int = resource.RUSAGE_SELF) -> float:
    """CPU seconds of this process, or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Watcher(threading.Thread):
    """The most memory that the process takes beyond what it took at first."""

    def __init__(self) -> None:
        super().__init__()
        self.base = resident()
        self.peak = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Looks every 2 milliseconds."""
        while not self.ended.wait(0.002):
            self.peak = max(self.peak, resident() - self.base)


def same(sample: Any) -> Any:
    return sample


def more(sample: Any) -> Any:
    return sample + 1


def engine() -> None:
    samples: dict[str, list[Any]] = {
        "arrays of 1 KB": [np.zeros(1024, np.uint8) for _ in range(200_000)],
        "dictionaries of 1 KB": [{"id": number, "text": "x" * 900, "weight": 1.5} for number in range(100_000)],
    }
    for what, items in samples.items():
        for way, chunks in (("by sample", False), ("by chunk", True)):
            pipeline = Pipeline(items).map(same, chunks=chunks, workers=WORKERS).batch(256, collate=None)
            start = cpu()
            count = sum(len(batch) for batch in pipeline)
            print(f"{what}, function called {way}: {(cpu() - start) / count * 1e6:.2f} us of CPU an item")
    large_items()


def large_items() -> None:
    count, size = 1000, 8 << 20

    def made(_: int) -> np.ndarray[Any, Any]:
        array = np.empty(size, np.uint8)
        array[::4096] = 3
        return array

    there = [made(number) for number in range(8)]

    def taken(number: int) -> np.ndarray[Any, Any]:
        return there[number % len(there)]

    ways: dict[str, tuple[Callable[[int], Any], Callable[[Any], Any], bool]] = {
        "threads, made anew": (made, same, False),
        "processes, made anew": (made, same, True),
        "processes, there before": (taken, same, True),
        "processes, there before, results made anew": (taken, more, True),
    }
    for way, (first, function, processes) in ways.items():
        pipeline = Pipeline(range(count)).map(first, workers=WORKERS)
        pipeline = pipeline.map(function, workers=WORKERS, processes=processes)
        begin, used = time.perf_counter(), cpu() + cpu(resource.RUSAGE_CHILDREN)
        for item in pipeline:
            del item
        elapsed = time.perf_counter() - begin
        for thread in threading.enumerate():
            # The CPU time of a process counts when its thread has ended it.
            if thread.name.startswith("mithril-"):
                thread.join()
        used = cpu() + cpu(resource.RUSAGE_CHILDREN) - used
        total = count * size / 1e9
        print(f"8 MB items over {way}: {total / elapsed:.1f} GB/s, {total / used:.1f} GB a CPU second")


def memory() -> None:
    def made(number: int) -> np.ndarray[Any, Any]:
        return np.ones(48 << 20 if number in LARGE else 64 << 10, np.uint8)

    for batch in (1, 4):
        watcher = Watcher()
        watcher.start()
        pipeline = Pipeline(range(1200), memory_bytes=BUDGET).map(made, workers=WORKERS).batch(batch, collate=None)
        for taken in pipeline:
            time.sleep(0.002)
            del taken
        watcher.ended.set()
        watcher.join()
        print(
            f"60 items of 48 MB, batches of {batch}, budget {BUDGET / 1e6:.0f} MB: accounted at most "
            f"{pipeline.statistics().memory_peak_bytes / 1e6:.0f}, resident at most {watcher.peak / 1e6:.0f} MB"
        )


def slow() -> None:
    def wait(number: int) -> None:
        time.sleep(0.05 if number % 4 == 0 else 0.001)

    ideal = (100 * 0.05 + 300 * 0.001) / 4
    for ordered in (True, False):
        begin = time.perf_counter()
        for _ in Pipeline(range(400), ordered=ordered).map(wait, workers=4):
            pass
        print(f"every fourth item 50 times slower, ordered={ordered}: {(time.perf_counter() - begin) / ideal:.2f}")


def resume() -> None:
    def make() -> Pipeline:
        pipeline = Pipeline(range(200_000), seed=1).shuffle(2000).filter(lambda number: number % 3)
        return pipeline.map(lambda number: np.arange(number % 50)).pack(256).batch(16)

    pipeline = make()
    run = iter(pipeline)
    for _ in range(500):
        next(run)
    begin = time.perf_counter()
    state = pipeline.state_dict()
    taken = time.perf_counter() - begin
    following = [next(run) for _ in range(20)]
    run.close()
    again = make()
    begin = time.perf_counter()
    again.load_state_dict(state)
    restarted = iter(again)
    batches = [next(restarted)]
    first = time.perf_counter() - begin
    batches += [next(restarted) for _ in range(19)]
    restarted.close()
    equal = sum(bool((one == other).all()) for one, other in zip(following, batches, strict=True))
    print(
        f"state_dict: {taken * 1e6:.0f} us, {len(json.dumps(state))} bytes; first batch after a resume: "
        f"{first * 1e3:.0f} ms; {equal} of 20 batches equal"
    )


def tokens() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: PLC0415 (few measure with it)

    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [file.read_text(errors="replace") for file in files]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=8000, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts[:60], trainer)

    def encode(some: list[str]) -> list[Any]:
        return [np.array([*found.ids, 0], np.int32) for found in tokenizer.encode_batch_fast(some)]

    native = Tokenize(tokenizer, end=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.parquet"
        pieces = [text[at : at + 4000] for text in texts for at in range(0, len(text), 4000)]
        pq.write_table(pa.table({"text": pieces}), path, row_group_size=200)

        def packed(function: Any, chunks: bool) -> Iterator[Any]:
            made = Pipeline(ParquetSource(path, column="text")).map(function, chunks=chunks, workers=WORKERS)
            return iter(made.pack(2048).batch(16, drop_last=True))

        ways: dict[str, Callable[[], Iterator[Any]]] = {
            "a plain loop": lambda: plain(path, encode),
            "mithril with Python's tokenizer": lambda: packed(encode, True),
            "mithril, native": lambda: packed(native, False),
        }
        if importlib.util.find_spec("spdl"):
            ways["SPDL"] = lambda: by_spdl(path, encode)
        compared(ways, lambda batch: int(batch.size), "tokens")


def by_spdl(path: Path, encode: Callable[[list[str]], list[Any]]) -> Iterator[np.ndarray[Any, Any]]:
    """The same batches by SPDL, a row group at a time."""
    building = importlib.import_module("spdl.pipeline")
    file = pq.ParquetFile(path)
    builder = building.PipelineBuilder().add_source(range(file.num_row_groups))

    def read(group: int) -> list[Any]:
        with pq.ParquetFile(path) as opened:
            return encode(opened.read_row_group(group, columns=["text"])["text"].to_pylist())

    built = builder.pipe(read, concurrency=WORKERS, output_order="input").add_sink(4).build(num_threads=WORKERS)
    with built.auto_stop():
        yield from cut(built)


def images() -> None:
    from PIL import Image  # noqa: PLC0415 (few measure with it)

    chance = np.random.default_rng(1)
    encoded = []
    for _ in range(40):
        small = Image.fromarray(chance.integers(0, 256, (25, 34, 3), np.uint8))
        file = io.BytesIO()
        small.resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        encoded.append({"data": file.getvalue()})
    samples = encoded * 20
    by_pillow = DecodeImage(size=(224, 224), decoder="pillow")

    def loop() -> Iterator[Any]:
        for at in range(0, len(samples), 32):
            yield np.stack([by_pillow(sample)["data"] for sample in samples[at : at + 32]])

    def by(function: Any) -> Iterator[Any]:
        made = Pipeline(samples).map(function, workers=WORKERS).map(lambda sample: sample["data"])
        return iter(made.batch(32))

    ways: dict[str, Callable[[], Iterator[Any]]] = {
        "a plain loop with Pillow": loop,
        "mithril with Pillow": lambda: by(by_pillow),
        "mithril, native": lambda: by(DecodeImage(size=(224, 224))),
    }
    if importlib.util.find_spec("spdl"):
        ways["SPDL with Pillow"] = lambda: spdl_images(samples, by_pillow)
    compared(ways, len, "images")


def spdl_images(samples: list[dict[str, bytes]], decode: Callable[[Any], Any]) -> Iterator[Any]:
    """The same images by SPDL, a batch at a time."""
    building = importlib.import_module("spdl.pipeline")

    def batch(some: list[dict[str, bytes]]) -> Any:
        return np.stack([decode(sample)["data"] for sample in some])

    builder = building.PipelineBuilder().add_source(samples).aggregate(32)
    built = builder.pipe(batch, concurrency=WORKERS, output_order="input").add_sink(4).build(num_threads=WORKERS)
    with built.auto_stop():
        yield from built


def compared(ways: dict[str, Callable[[], Iterator[Any]]], count: Callable[[Any], int], what: str) -> None:
    """Prints how much each way makes in a CPU second, and the median of its ratios to the first one."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = cpu()
            made = sum(count(batch) for batch in way())
            rates[name].append(made / (cpu() - start))
    first = next(iter(rates.values()))
    for name, found in rates.items():
        ratio = statistics.median(one / other for one, other in zip(found, first, strict=True))
        print(f"{what}, {name}: {statistics.median(found):,.0f} a CPU second, {ratio:.2f} of a plain loop")


def plain(path: Path, encode: Callable[[list[str]], list[Any]]) -> Iterator[np.ndarray[Any, Any]]:
    """The same batches by a loop."""
    file = pq.ParquetFile(path)
    groups = range(file.num_row_groups)
    yield from cut(encode(file.read_row_group(group, columns=["text"])["text"].to_pylist()) for group in groups)


def cut(groups: Iterable[list[Any]]) -> Iterator[np.ndarray[Any, Any]]:
    """Batches of 16 rows of 2,048 tokens."""
    held: list[Any] = []
    length = 0
    for group in groups:
        for row in group:
            held.append(row)
            length += len(row)
            while length >= 2048 * 16:
                joined = np.concatenate(held)
                yield joined[: 2048 * 16].reshape(16, 2048)
                held = [joined[2048 * 16 :]]
                length = len(held[0])


def main() -> None:
    """Measures what is asked for."""
    known = {"engine": engine, "memory": memory, "slow": slow, "resume": resume, "tokens": tokens, "images": images}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=list(known))
    for name in parser.parse_args().what:
        known[name]()


if __name__ == "__main__":
    main()
