"""Sources and sinks of Yggdrasil and of databases."""

import sqlite3
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from tests.node import Node
from tests.wire import eventually

from mithril.core.errors import ChangedError, NotFoundError, StoreError
from mithril.core.store import Store
from mithril.pipeline import (
    ChannelSource,
    KeySink,
    KeySource,
    Pipeline,
    PipelineError,
    SourceError,
    SqlSink,
    SqlSource,
    StoreSink,
    StreamSource,
    ValueSource,
)


@pytest.fixture
def url(nodes: Callable[[int], Node]) -> str:
    return f"ygg://127.0.0.1:{nodes(3).port}/{uuid.uuid4().hex}/"


@pytest.fixture
def client(nodes: Callable[[int], Node]) -> "redis.Redis":
    return redis.Redis(port=nodes(3).port)


def prefix(url: str) -> str:
    return url.partition("://")[2].partition("/")[2]


def test_keys_are_written_and_read_in_their_order(url: str) -> None:
    Pipeline(range(600)).map(lambda number: (f"k{number:03}", b"%d" % number)).run(KeySink(url))
    source = KeySource(url)
    assert source.size_hint() == 600
    found = list(Pipeline(source))
    assert [row["key"] for row in found] == [f"k{number:03}" for number in range(600)]
    assert [int(row["value"]) for row in found] == list(range(600))
    assert [row["value"] for row in Pipeline(KeySource(url, ["k007", "k003"]))] == [b"7", b"3"]
    with pytest.raises(SourceError, match="none is gone, or is no string"):
        list(Pipeline(KeySource(url, ["none"])))
    with pytest.raises(SourceError, match="keys are at ygg://"):
        KeySource("s3://bucket")


def test_keys_can_expire(url: str, client: "redis.Redis") -> None:
    Pipeline(["a"]).map(lambda key: {"key": key, "value": "1"}).run(KeySink(url, ttl_s=1000))
    assert 0 < int(client.pttl(prefix(url) + "a")) <= 1_000_000
    with pytest.raises(PipelineError, match="a pair, or a dictionary"):
        Pipeline(["a"]).run(KeySink(url))


def test_a_stream_is_read_from_its_beginning_in_every_epoch(url: str, client: "redis.Redis") -> None:
    for number in range(1200):
        client.xadd(prefix(url) + "s", {"n": number}, id=f"{number + 1}-0")
    pipeline = Pipeline(StreamSource(url, "s")).map(lambda entry: int(entry["fields"]["n"]))
    assert list(pipeline) == list(range(1200))
    assert list(pipeline) == list(range(1200))
    run = iter(pipeline)
    assert [next(run) for _ in range(700)] == list(range(700))
    state = pipeline.state_dict()
    again = Pipeline(StreamSource(url, "s")).map(lambda entry: int(entry["fields"]["n"]))
    again.load_state_dict(state)
    assert list(again) == list(range(700, 1200))
    assert len(list(Pipeline(StreamSource(url, "s", first="5", last="9")))) == 5


@pytest.mark.parametrize("scheme", ["ygg", "redis"])
def test_long_values_come_in_pieces(url: str, client: "redis.Redis", scheme: str) -> None:
    value = bytes(range(256)) * 40
    client.set(prefix(url) + "long", value)
    address = url if scheme == "ygg" else url.replace("ygg", "redis").replace(prefix(url), f"0/{prefix(url)}")
    source = ValueSource(address, "long", chunk_bytes=1000)
    for _ in range(2):
        pieces = list(Pipeline(source))
        assert b"".join(piece["data"] for piece in pieces) == value
        assert [piece["offset"] for piece in pieces] == list(range(0, len(value), 1000))


def test_values_that_are_missing_or_change_are_named(url: str, client: "redis.Redis") -> None:
    for address in (url, url.replace("ygg:", "redis:")):
        with pytest.raises((NotFoundError, SourceError), match="none: there is no such key"):
            list(Pipeline(ValueSource(address, "none")))
    client.rpush(prefix(url) + "list", "x")
    with pytest.raises(StoreError, match="list: WRONGTYPE"):
        list(Pipeline(ValueSource(url, "list")))
    with pytest.raises(StoreError, match="list: WRONGTYPE"):
        list(Pipeline(StreamSource(url, "list")))
    client.set(prefix(url) + "long", b"x" * 10_000_000)
    run = iter(Pipeline(ValueSource(url, "long", chunk_bytes=100_000), memory_bytes=300_000, prefetch=1))
    next(run)
    client.set(prefix(url) + "long", b"y" * 10_000_000)
    with pytest.raises(ChangedError, match="long: the value has changed while it was read"):
        list(run)


def test_messages_of_channels_come_as_they_are_published(url: str, client: "redis.Redis") -> None:
    name = prefix(url) + "news"
    found: list[Any] = []

    def listen() -> None:
        found.extend(Pipeline(ChannelSource(url, name, count=3)))

    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: client.pubsub_numsub(name)[0][1] == 1)
    for number in range(3):
        client.publish(name, f"m{number}")
    thread.join(30)
    assert [(message["channel"], message["data"]) for message in found] == [(name, b"m%d" % n) for n in range(3)]
    assert list(Pipeline(ChannelSource(url, name, idle_s=0.01))) == []


def test_elements_are_put_into_stores(url: str) -> None:
    for target in (url + "objects", f"memory://{uuid.uuid4().hex}"):
        Pipeline(range(5)).map(lambda number: (f"part-{number}", "x" * number)).run(StoreSink(target))
        with Store.open(target) as store:
            assert store.get("part-3") == b"xxx"


@pytest.fixture
def database(tmp_path: Path) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "data.db", check_same_thread=False)

    connection = connect()
    connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, square INTEGER)")
    connection.close()
    return connect


def test_a_database_is_written_in_one_transaction_and_read_again(database: Callable[[], sqlite3.Connection]) -> None:
    statement = "INSERT INTO numbers VALUES (:n, :square)"
    Pipeline(range(1000)).map(lambda n: {"n": n, "square": n * n}).run(SqlSink(database, statement))
    query = "SELECT n, square FROM numbers WHERE n >= ? ORDER BY n"
    pipeline = Pipeline(SqlSource(database, query, [10], rows=100)).map(lambda row: row["square"])
    assert list(pipeline) == [n * n for n in range(10, 1000)]
    assert list(pipeline) == [n * n for n in range(10, 1000)]
    with pytest.raises(PipelineError, match="IntegrityError"):
        Pipeline([1001, 5]).map(lambda n: {"n": n, "square": 0}).run(SqlSink(database, statement))
    assert list(Pipeline(SqlSource(database, "SELECT count(*) AS c FROM numbers"))) == [{"c": 1000}]


def test_what_is_wrong_with_a_query_is_said(database: Callable[[], sqlite3.Connection]) -> None:
    for query, message in (("SELECT x FROM none", "OperationalError: no such table"), ("VACUUM", "gives no rows")):
        with pytest.raises(SourceError, match=message):
            list(Pipeline(SqlSource(database, query)))
    with pytest.raises(SourceError, match="gives no Arrow data"):
        list(Pipeline(SqlSource(database, "SELECT 1", form="arrow")))


def test_a_database_that_gives_arrow_data_gives_tables() -> None:
    class Cursor:
        def execute(self, query: str) -> None:
            self.query = query

        def fetch_record_batch(self) -> Any:
            return pa.table({"n": range(10)}).to_reader(max_chunksize=7)

        def close(self) -> None:
            return

    class Connection:
        def cursor(self) -> Cursor:
            return Cursor()

        def close(self) -> None:
            return

    tables = list(Pipeline(SqlSource(Connection, "SELECT n", form="arrow", rows=4)))
    assert [table.num_rows for table in tables] == [4, 3, 3]
