"""The cache never raises, never hangs, counts truthfully, and fills the local layer from the shared one."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mithril.cache.artifact import Artifact
from mithril.cache.keys import CacheKey
from mithril.cache.layers import ArtifactCache
from mithril.cache.runs import Recorder, read
from mithril.cache.settings import CacheSettings
from mithril.cache.shared import Breaker, SharedArtifacts
from mithril.cache.signing import generate
from mithril.core.config import CoreSettings
from mithril.core.errors import FullError, UnavailableError
from mithril.core.memory_store import MemoryStore
from mithril.core.store import Condition, Data, ObjectInfo

KEY = CacheKey("torch", "graph", "f00d")
MADE = Artifact(KEY, {"data": b"compiled"}, cost_s=2.5)


class FaultyStore(MemoryStore):
    """A store in memory that does what a test wants before each request."""

    def __init__(self) -> None:
        super().__init__("memory://", CoreSettings())
        self.before: Callable[[str], None] = lambda request: None
        self.requests: list[str] = []

    def _enter(self, request: str) -> None:
        self.requests.append(request)
        self.before(request)

    def _get(self, key: str) -> bytes:
        self._enter("get")
        return super()._get(key)

    def _get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._enter("get_many")
        return {key: held.data for key in keys if (held := self._space.objects.get(key))}

    def _put(self, key: str, data: Data, condition: Condition, ttl: float | None) -> ObjectInfo:
        self._enter("put")
        assert ttl is not None
        return super()._put(key, data, condition, ttl)


@pytest.fixture
def store() -> FaultyStore:
    """The shared store."""
    return FaultyStore()


@pytest.fixture
def caches(tmp_path: Path, store: FaultyStore) -> Iterator[Callable[..., ArtifactCache]]:
    """Makes caches of machines that share the store."""
    made: list[ArtifactCache] = []

    def make(machine: str, **options: Any) -> ArtifactCache:
        settings = CacheSettings(root=tmp_path / machine, url="memory://", timeout_s=0.1, **options)
        made.append(ArtifactCache(settings, shared=SharedArtifacts(settings, store)))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def outcomes(cache: ArtifactCache) -> list[str]:
    """The outcomes of the requests to the cache."""
    return [event["outcome"] for run in read(cache.local.root) for event in run.of("get")]


def test_another_machine_gets_what_one_has_made(caches: Callable[..., ArtifactCache], store: FaultyStore) -> None:
    one, other = caches("one"), caches("other")
    assert one.get(KEY) is None
    one.put(MADE)
    assert one.flush()
    found = other.get(KEY)
    assert found is not None
    assert found.parts == {"data": b"compiled"}
    assert other.flush()
    store.requests.clear()
    assert other.get(KEY) == found
    assert store.requests == []
    assert (outcomes(one), outcomes(other)) == (["miss"], ["shared", "local"])


def test_what_was_asked_for_before_comes_in_one_request(
    caches: Callable[..., ArtifactCache], store: FaultyStore
) -> None:
    one, other = caches("one"), caches("other")
    keys = [CacheKey("torch", "graph", str(number)) for number in range(5)]
    for key in keys:
        one.put(Artifact(key, {"data": key.subject.encode()}))
    assert one.flush()
    store.requests.clear()
    other.prefetch(lambda: [key.path() for key in keys])
    assert [other.get(key) is not None for key in keys] == [True] * 5
    assert store.requests == ["get_many"]
    assert outcomes(other) == ["prefetched"] * 5


@pytest.mark.parametrize(
    "damage",
    [b"", b"garbage", MADE.encode(3)[:-1], MADE.encode(3) + b"x"],
    ids=["nothing", "garbage", "a byte less", "a byte more"],
)
def test_a_damaged_value_is_a_miss_and_is_replaced(
    caches: Callable[..., ArtifactCache], store: FaultyStore, damage: bytes
) -> None:
    one, other = caches("one"), caches("other")
    store.put(f"default/{KEY.path()}", damage, ttl=60)
    assert one.get(KEY) is None
    one.put(MADE)
    assert one.flush()
    assert other.get(KEY) is not None
    assert outcomes(one) == ["damaged"]


def test_a_damaged_file_is_set_aside_and_the_shared_one_taken(caches: Callable[..., ArtifactCache]) -> None:
    one = caches("one")
    one.put(MADE)
    assert one.flush()
    file = one.local.root / "objects" / KEY.path()
    file.write_bytes(file.read_bytes()[:-3])
    assert one.get(KEY) is not None
    assert len(list((one.local.root / "damaged").iterdir())) == 1
    assert outcomes(one) == ["shared"]


def test_a_store_that_is_gone_costs_one_request(caches: Callable[..., ArtifactCache], store: FaultyStore) -> None:
    cache = caches("one")

    def unavailable(request: str) -> None:
        raise UnavailableError("connection refused", "memory://")

    store.before = unavailable
    for number in range(10):
        assert cache.get(CacheKey("torch", "graph", str(number))) is None
        cache.put(MADE)
    assert cache.flush()
    assert cache.get(KEY) is not None
    assert store.requests == ["get"]


def test_a_store_that_hangs_is_left(caches: Callable[..., ArtifactCache], store: FaultyStore) -> None:
    cache = caches("one")
    released = threading.Event()

    def hang(request: str) -> None:
        released.wait(60)

    store.before = hang
    assert cache.get(KEY) is None
    assert cache.get(KEY) is None
    cache.put(MADE)
    assert cache.flush()
    assert store.requests == ["get"]
    assert cache.shared is not None
    assert cache.shared.breaker.lost >= 0.2
    released.set()


def test_a_full_store_is_still_read(caches: Callable[..., ArtifactCache], store: FaultyStore) -> None:
    one, other = caches("one"), caches("other")
    one.put(MADE)
    assert one.flush()

    def full(request: str) -> None:
        if request == "put":
            raise FullError("OOM command not allowed", "memory://")

    store.before = full
    for number in range(3):
        other.put(Artifact(CacheKey("torch", "graph", str(number)), {}))
    assert other.flush()
    assert other.get(KEY) is not None
    assert store.requests.count("put") == 2


def test_unexpected_errors_are_no_errors_of_the_caller(
    caches: Callable[..., ArtifactCache], store: FaultyStore
) -> None:
    cache = caches("one")

    def broken(request: str) -> None:
        raise RuntimeError("a bug of the store")

    store.before = broken
    assert cache.get(KEY) is None
    cache.put(MADE)
    assert cache.flush()


def test_only_signed_artifacts_are_used_where_keys_are_set(
    caches: Callable[..., ArtifactCache], tmp_path: Path
) -> None:
    generate(tmp_path / "key", tmp_path / "key.pub")
    anybody = caches("anybody")
    signer = caches("signer", signing_key=tmp_path / "key")
    reader = caches("reader", trusted_keys=tmp_path / "key.pub")
    anybody.put(MADE)
    assert anybody.flush()
    assert reader.get(KEY) is None
    signer.put(MADE)
    assert signer.flush()
    assert reader.get(KEY) is not None
    assert outcomes(reader) == ["untrusted", "shared"]


def test_namespaces_do_not_see_each_other(caches: Callable[..., ArtifactCache]) -> None:
    one, other = caches("one", namespace="team-a"), caches("other", namespace="team-b")
    one.put(MADE)
    assert one.flush()
    assert other.get(KEY) is None


def test_a_folder_that_cannot_be_written_is_no_error(caches: Callable[..., ArtifactCache], tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a file where the folder should be")
    cache = caches("one")
    assert cache.get(KEY) is None
    cache.put(MADE)
    assert cache.flush()
    assert cache.get(KEY) is not None


def test_a_store_that_cannot_be_opened_is_a_store_that_is_gone(tmp_path: Path) -> None:
    settings = CacheSettings(root=tmp_path, url="ftp://no/such/scheme")
    with ArtifactCache(settings) as cache:
        assert cache.get(KEY) is None
        cache.put(MADE)
        assert cache.flush()
        assert cache.get(KEY) is not None


def test_what_is_too_large_is_not_kept(caches: Callable[..., ArtifactCache], store: FaultyStore) -> None:
    cache = caches("one", artifact_max_bytes=4)
    cache.put(MADE)
    assert cache.flush()
    assert cache.get(KEY) is None
    assert "put" not in store.requests


def test_the_least_recently_used_go_first(caches: Callable[..., ArtifactCache]) -> None:
    cache = caches("one")
    keys = [CacheKey("torch", "graph", str(number)) for number in range(4)]
    for age, key in enumerate(keys):
        cache.local.put(key.path(), b"x" * 100)
        file = cache.local.root / "objects" / key.path()
        os.utime(file, (1000 - age, 1000 - age))
    assert cache.local.get(keys[3].path()) is not None
    assert cache.local.collect(250) == (2, 200)
    assert [cache.local.has(key.path()) for key in keys] == [True, False, False, True]


def test_a_program_that_has_added_to_the_folder_bounds_it(tmp_path: Path) -> None:
    with ArtifactCache(CacheSettings(root=tmp_path, size_max_bytes=1)) as cache:
        cache.put(MADE)
    assert list(cache.local.list()) == []


def test_the_breaker_opens_for_a_time_and_then_for_good() -> None:
    now = [0.0]
    breaker = Breaker(budget=1.0, retry_after=30.0, clock=lambda: now[0])
    assert breaker.closed()
    breaker.failed(0.4)
    assert not breaker.closed()
    now[0] = 31.0
    assert breaker.closed()
    breaker.failed(0.7)
    now[0] = 1e9
    assert not breaker.closed()


def test_a_record_that_was_cut_by_a_kill_is_read_up_to_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "train.py")
    recorder.record("get", outcome="miss")
    recorder.record("get", outcome="local")
    recorder.close()
    file = next((tmp_path / "runs").iterdir())
    file.write_bytes(file.read_bytes()[:-5])
    (run,) = read(tmp_path)
    assert run.start["program"] == "train.py"
    assert [event["outcome"] for event in run.of("get")] == ["miss"]


@pytest.mark.parametrize("store_url", ["s3"], indirect=True)
def test_a_shared_store_is_reached_by_the_settings_of_the_core(
    store_url: str, core_settings: CoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MITHRIL_CORE_S3_ENDPOINT", core_settings.s3_endpoint)
    monkeypatch.setenv("MITHRIL_CORE_S3_ALLOW_HTTP", "true")
    for machine, found in (("one", False), ("other", True)):
        settings = CacheSettings(root=tmp_path / machine, url=store_url, timeout_s=10)
        with contextlib.closing(ArtifactCache(settings)) as cache:
            assert (cache.get(KEY) is not None) == found
            cache.put(MADE)
            assert cache.flush()
