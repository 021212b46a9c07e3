"""An index that is kept: in a folder, and on a node that several processes add to."""

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from click.testing import CliRunner
from tests.mithril.dedup.documents import jaccard, planted, shingles
from tests.node import Node

from mithril.cli import mithril
from mithril.core.errors import ConfigError, DamagedError, ExistsError, InputError, NotFoundError
from mithril.dedup import DocumentIndex, add_files, open_index, query_files

THRESHOLD = 0.7
OPTIONS: dict[str, Any] = {"threshold": THRESHOLD, "capacity": 1000}


@pytest.fixture(params=["folder", "ygg1", "ygg3", "redis1"])
def url(request: pytest.FixtureRequest, tmp_path: Path, nodes: Callable[[int], Node]) -> str:
    if request.param == "folder":
        return str(tmp_path / "index")
    return _url(request.param, nodes, tmp_path)


def _url(server: str, nodes: Callable[[int], Node], tmp_path: Path) -> str:
    """The URL of an index; one that begins with redis is asked as Redis, by commands that this has."""
    database = "0/" if server.startswith("redis") else ""
    return f"{server[:-1]}://127.0.0.1:{nodes(int(server[-1])).port}/{database}{tmp_path.name}"


@pytest.mark.parametrize("batch", [7, 280])
def test_new_documents_are_compared_with_old_ones(url: str, batch: int) -> None:
    texts = planted(51)
    sets = [shingles(text) for text in texts]
    found = []
    for start in range(0, len(texts), batch):
        with open_index(url, **OPTIONS) as index:
            matches = index.add(pa.array(texts[start : start + batch]))
        assert matches.first == start
        found.extend(matches.duplicate_of.tolist())
    alike = [number for number in range(len(texts)) if any(
        jaccard(sets[earlier], sets[number]) >= THRESHOLD for earlier in range(number))]  # fmt: skip
    flagged = [number for number, other in enumerate(found) if other >= 0]
    assert all(other < number for number, other in enumerate(found))
    # Estimates of similarity have an error; nothing far from the threshold is taken for a duplicate.
    assert all(jaccard(sets[number], sets[found[number]]) > THRESHOLD - 0.25 for number in flagged)
    assert len(set(alike) & set(flagged)) >= 0.9 * len(alike)


def test_how_documents_are_divided_does_not_matter(tmp_path: Path, nodes: Callable[[int], Node]) -> None:
    texts = planted(52)
    found = []
    for number, batch in enumerate([3, 280, 280]):
        url = f"ygg://127.0.0.1:{nodes(1).port}/{tmp_path.name}" if number == 2 else str(tmp_path / str(number))
        with open_index(url, **OPTIONS) as index:
            parts = [index.add(pa.array(texts[at : at + batch])) for at in range(0, len(texts), batch)]
        found.append(np.concatenate([part.duplicate_of for part in parts]).tolist())
    assert found[0] == found[1] == found[2]


def test_a_query_adds_nothing(url: str) -> None:
    with open_index(url, **OPTIONS) as index:
        texts = [f"the text with the number {number} and some words more" for number in range(20)]
        index.add(pa.array([*texts, None, "!", ""]))
        for _ in range(2):
            matches = index.query(pa.array(["entirely different words are in here", texts[7].upper(), None, "?", "!"]))
            assert matches.duplicate_of.tolist() == [-1, 7, -1, -1, 21]
            assert matches.similarity.tolist() == [0, 1, 0, 0, 1]
        assert index.statistics().documents == 23
        assert index.statistics().bytes > 0


def test_sketches_of_many_documents_are_kept_apart(url: str) -> None:
    """On a server a string has the sketches of 1024 documents; one batch reaches over its end."""
    texts = [" ".join(f"w{number}x{word}" for word in range(40)) for number in range(1100)]
    with open_index(url, **OPTIONS) as index:
        for part in (texts[:1000], texts[1000:]):
            assert index.add(pa.array(part)).new.all()
        changed = [text.rsplit(" ", 1)[0] + " other" for text in texts[990:1060]]
        matches = index.query(pa.array(changed))
    assert matches.duplicate_of.tolist() == list(range(990, 1060))


def test_documents_that_share_bands_and_are_not_alike_are_new(url: str) -> None:
    words = [f"w{number}" for number in range(80)]
    halves = [" ".join(words[:40]), " ".join(words[20:60]), " ".join(words[40:])]
    with open_index(url, threshold=0.9, bands=64, rows=1, capacity=1000) as index:
        assert index.add(pa.array(halves)).new.all()
        matches = index.query(pa.array([halves[1] + " more"]))
        assert matches.duplicate_of.tolist() == [1]
        assert index.query(pa.array([halves[1] + halves[2]])).new.all()


def test_an_index_keeps_its_shape(url: str) -> None:
    with pytest.raises(NotFoundError, match="no index of documents"):
        open_index(url, create=False)
    open_index(url, threshold=0.6, shingle_size=3).close()
    with open_index(url, create=False) as index:
        assert (index.shape.threshold, index.shape.shingle_size) == (0.6, 3)
    with pytest.raises(ConfigError, match=r"made with threshold = 0\.6, not 0\.7"):
        open_index(url, threshold=0.7)


def test_an_index_that_is_full_says_so(tmp_path: Path, nodes: Callable[[int], Node]) -> None:
    with open_index(_url("ygg1", nodes, tmp_path), **OPTIONS) as index, redis.Redis(port=nodes(1).port) as client:
        client.set(f"{tmp_path.name}:documents", (1 << 32) - 1)
        assert index.add(pa.array(["the last one"])).first == (1 << 32) - 1
        with pytest.raises(InputError, match="an index takes at most 4294967296 documents"):
            index.add(pa.array(["one more"]))


def _ingest(url: str, texts: list[str], start: Any, results: Any) -> None:
    with open_index(url, **OPTIONS) as index:
        start.wait(60)
        kept = []
        for at in range(0, len(texts), 16):
            part = texts[at : at + 16]
            kept += [text for text, new in zip(part, index.add(pa.array(part)).new, strict=True) if new]
        results.put(kept)


@pytest.mark.parametrize("server", ["ygg1", "ygg3", "redis3"])
def test_of_equal_documents_of_two_ingesters_exactly_one_is_kept(
    server: str, tmp_path: Path, nodes: Callable[[int], Node]
) -> None:
    url = _url(server, nodes, tmp_path)
    texts = [" ".join(f"w{number}x{word}" for word in range(12)) for number in range(400)]
    context = multiprocessing.get_context("spawn")
    results, start = context.Queue(), context.Barrier(2)
    processes = [context.Process(target=_ingest, args=(url, texts, start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    kept = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(kept[0] + kept[1]) == sorted(texts)


def test_files_are_added_and_what_is_new_is_written(tmp_path: Path, url: str) -> None:
    texts = planted(53)
    for number, part in enumerate((texts[:150], texts[100:])):
        pq.write_table(pa.table({"body": part}), tmp_path / f"{number}.parquet", row_group_size=40)
    with open_index(url, **OPTIONS) as index:
        first = add_files(index, str(tmp_path / "0.parquet"), str(tmp_path / "out"), column="body")
        second = add_files(index, str(tmp_path / "1.parquet"), str(tmp_path / "out"), column="body")
        with pytest.raises(ExistsError):
            add_files(index, str(tmp_path / "1.parquet"), str(tmp_path / "out"), column="body")
        matches = list(query_files(index, str(tmp_path / "0.parquet"), column="body"))
    assert second.duplicates >= 50
    kept = [pq.read_table(tmp_path / "out" / f"{number}.parquet")["body"].to_pylist() for number in range(2)]
    assert [len(part) for part in kept] == [150 - first.duplicates, 180 - second.duplicates]
    assert not set(kept[0]) & set(kept[1])
    assert [(match.row, match.similarity) for match in matches] == [(row, 1.0) for row in range(150)]


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "one two three"}\n{"text": "other"}\n{"text": "One two THREE"}\n')
    run = CliRunner()
    index, source = str(tmp_path / "index"), str(tmp_path / "in.jsonl")
    added = run.invoke(
        mithril, ["dedup", "index", "add", index, source, "--output", str(tmp_path / "out")], catch_exceptions=False
    )
    assert added.output.strip() == "3 documents, 1 like earlier ones"
    assert len((tmp_path / "out" / "in.jsonl").read_text().splitlines()) == 2
    found = run.invoke(mithril, ["dedup", "index", "query", index, source], catch_exceptions=False).output
    rows = [json.loads(line) for line in found.splitlines()]
    assert [(row["row"], row["duplicate_of"]) for row in rows] == [(0, 0), (1, 1), (2, 0)]
    stats = run.invoke(mithril, ["dedup", "index", "stats", index], catch_exceptions=False)
    assert json.loads(stats.output)["documents"] == 3


def test_texts_of_any_arrow_array_are_taken(tmp_path: Path) -> None:
    texts = pa.array(["the first of two texts", "the second one"])
    forms = (pa.chunked_array([texts[:1], texts[1:]]), texts.cast(pa.string_view()), texts.dictionary_encode())
    with open_index(tmp_path / "index", **OPTIONS) as index:
        index.add(texts)
        for form in forms:
            assert index.query(form).duplicate_of.tolist() == [0, 1]
        with pytest.raises(InputError, match="a pyarrow array, not of list"):
            index.query(["the second one"])
        with pytest.raises(InputError, match="holds int64; a column of strings"):
            index.add(pa.array([1]))
        with pytest.raises(InputError, match="holds lists; set shingle_unit to tokens"):
            index.add(pa.array([[1, 2]]))
        assert index.statistics().documents == 2
    with pytest.raises(InputError, match="this index is closed; open it again"):
        index.add(texts)


def test_files_of_tokens_are_for_an_index_of_tokens(tmp_path: Path) -> None:
    tokens = [[number, 1, 2, 3] * 9 for number in range(3)]
    pq.write_table(pa.table({"text": tokens}), tmp_path / "a.parquet")
    with open_index(tmp_path / "words", **OPTIONS) as index, pytest.raises(InputError, match="holds lists"):
        add_files(index, tmp_path / "a.parquet")
    with open_index(tmp_path / "tokens", shingle_unit="tokens", **OPTIONS) as index:
        assert add_files(index, tmp_path / "a.parquet", tmp_path / "out").duplicates == 0
        assert list(index.query(pa.array(tokens)).duplicate_of) == [0, 1, 2]
    assert pq.read_table(tmp_path / "out" / "a.parquet")["text"].to_pylist() == tokens


def _filled(folder: Path) -> DocumentIndex:
    index = open_index(str(folder), **OPTIONS)
    index.add(pa.array(["some text of a few words here"]))
    return index


def test_a_folder_is_for_one_writer_at_a_time_and_any_readers(tmp_path: Path) -> None:
    _filled(tmp_path / "index").close()
    with _filled(tmp_path / "index"), open_index(str(tmp_path / "index")) as other:
        assert other.query(pa.array(["some text of a few words here"])).duplicate_of.tolist() == [0]
        with pytest.raises(ConfigError, match="another process adds"):
            other.add(pa.array(["more"]))
    with open_index(str(tmp_path / "index")) as index:
        assert index.statistics().documents == 2
    with pytest.raises(ConfigError, match="has other files"):
        open_index(str(tmp_path))


def test_segments_are_merged_and_stay_few(tmp_path: Path) -> None:
    texts = [" ".join(f"w{number}x{word}" for word in range(8)) for number in range(200)]
    for at in range(0, 200, 5):
        with open_index(str(tmp_path / "index"), **OPTIONS) as index:
            index.add(pa.array(texts[at : at + 5]))
    with open_index(str(tmp_path / "index"), create=False) as index:
        assert index.query(pa.array(texts)).duplicate_of.tolist() == list(range(200))
    assert len([path for path in (tmp_path / "index").iterdir() if path.is_dir()]) <= 8


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    _filled(tmp_path / "index").close()
    sketches = next((tmp_path / "index").glob("*/sketches"))
    sketches.write_bytes(b"")
    with pytest.raises(DamagedError, match="sketches does not have the length"):
        open_index(str(tmp_path / "index"))
    (tmp_path / "index" / "index.json").write_text("{}")
    with pytest.raises(DamagedError, match="shape of the index cannot be read"):
        open_index(str(tmp_path / "index"))


def test_a_changed_byte_of_an_index_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    _filled(folder).close()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for at in range(0, len(whole), max(len(whole) // 9, 1)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(DamagedError), open_index(str(folder)) as index:
                index.query(pa.array(["some text of a few words here", "of a few words here another"]))
        path.write_bytes(whole)
