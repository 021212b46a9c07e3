"""Caches of web frameworks: Django's own, django-redis, Flask-Caching, aiocache, dogpile.cache, cachelib."""

import threading
from collections.abc import Iterator
from typing import Any

import aiocache
import aiocache.backends.redis
import aiocache.lock
import django
import dogpile.cache
import flask
import flask_caching
import pytest
from cachelib import RedisCache
from django.conf import settings
from tests.targets import Target
from tests.wire import eventually

pytestmark = pytest.mark.all_servers

if not settings.configured:
    settings.configure(
        SECRET_KEY="x", USE_TZ=True, CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    )
    django.setup()

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402 - needs the settings
from django.core.cache import caches  # noqa: E402
from django.test import override_settings  # noqa: E402

BACKENDS = ["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"]


@pytest.fixture(params=BACKENDS)
def configured_caches(request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    """Django's caches, the default one on database 1 of the server."""
    with override_settings(CACHES={"default": {"BACKEND": request.param, "LOCATION": f"{url}/1", "KEY_PREFIX": "p"}}):
        yield caches["default"]
        caches["default"].close()


def test_django(configured_caches: Any) -> None:
    cache = configured_caches
    assert cache.add("k", {"a": [1, 2]}, timeout=100)
    assert not cache.add("k", "other")
    assert cache.get("k") == {"a": [1, 2]}
    assert cache.get("absent", "default") == "default"
    cache.set_many({f"k{i}": i for i in range(30)}, timeout=100)
    assert cache.get_many([f"k{i}" for i in range(31)]) == {f"k{i}": i for i in range(30)}
    assert cache.incr("k1", 41) == 42
    assert cache.decr("k1") == 41
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    assert cache.touch("k2", 1000)
    assert not cache.touch("absent")
    assert cache.has_key("k2")
    assert cache.get_or_set("made", lambda: "here") == "here"
    cache.set("k", "v", version=2)
    assert cache.get("k", version=2) == "v"
    assert cache.incr_version("k") == 2
    cache.delete_many(["k2", "k3"])
    assert "k2" not in cache
    cache.set("gone", "v", timeout=0)
    assert cache.get("gone") is None
    cache.clear()
    assert cache.get("k4") is None


def test_what_django_redis_has_more(url: str) -> None:
    with override_settings(CACHES={"default": {"BACKEND": BACKENDS[1], "LOCATION": url}}):
        cache: Any = caches["default"]
        cache.set_many({f"k{i}": i for i in range(200)}, timeout=100)
        assert sorted(cache.keys("k1?")) == sorted(f"k1{i}" for i in range(10))
        assert len(set(cache.iter_keys("k*"))) == 200
        assert 0 < cache.ttl("k1") <= 100
        assert cache.persist("k1")
        assert cache.ttl("k1") is None
        assert cache.expire("k1", 50)
        assert 0 < cache.pttl("k1") <= 50_000
        assert cache.delete_pattern("k1*", itersize=10) == 111
        assert cache.set("k", "v", nx=True)
        assert not cache.set("k", "w", nx=True)
        with cache.lock("lock", timeout=10):
            assert not cache.lock("lock", timeout=10).acquire(blocking=False)
        assert cache.sadd("set", 1, 2, 3) == 3
        assert cache.smembers("set") == {1, 2, 3}
        assert cache.hset("hash", "f", "v") == 1
        assert cache.hexists("hash", "f")
        assert cache.zadd("scores", {"a": 1.5, "b": 2.5}) == 2
        assert cache.zrange("scores", 0, -1, withscores=True) == [("a", 1.5), ("b", 2.5)]
        cache.close()


def test_sessions_of_django(configured_caches: Any) -> None:
    session = SessionStore()
    session["user"] = 7
    session.save()
    assert SessionStore(session.session_key)["user"] == 7
    key = session.session_key
    session.cycle_key()
    assert not SessionStore().exists(key)
    session.flush()


def test_flask_caching(target: Target) -> None:
    app = flask.Flask("programs")
    cache = flask_caching.Cache(
        app,
        config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": target.host, "CACHE_REDIS_PORT": target.port},
    )
    asked: list[int] = []

    @app.get("/<int:number>")
    @cache.cached(timeout=100, query_string=True)
    def view(number: int) -> str:
        asked.append(number)
        return str(number * number)

    @cache.memoize(timeout=100)
    def squared(number: int) -> int:
        asked.append(number)
        return number * number

    web = app.test_client()
    assert [web.get("/7?a=1").text for _ in range(3)] == ["49"] * 3
    assert asked == [7]
    with app.app_context():
        assert [squared(5), squared(5)] == [25, 25]
        cache.delete_memoized(squared)
        assert squared(5) == 25
        assert asked == [7, 5, 5]
        assert cache.set_many({"a": 1, "b": [2]})
        assert cache.get_many("a", "b", "c") == [1, [2], None]
        assert cache.cache.inc("n", 5) == 5
        cache.clear()
        assert cache.get("a") is None


def test_flask_caching_on_a_cluster(node3: Target) -> None:
    app = flask.Flask("programs")
    nodes = f"{node3.host}:{node3.port}"
    cache = flask_caching.Cache(app, config={"CACHE_TYPE": "RedisClusterCache", "CACHE_REDIS_CLUSTER": nodes})
    with app.app_context():
        for number in range(50):
            assert cache.set(f"k{number}", number)
        assert [cache.get(f"k{number}") for number in range(50)] == list(range(50))
        assert cache.delete("k1")
        assert cache.get("k1") is None


async def test_aiocache(target: Target) -> None:
    cache: Any = aiocache.Cache(aiocache.Cache.REDIS, endpoint=target.host, port=target.port, namespace="n:")
    assert await cache.set("k", "v", ttl=100)
    assert await cache.get("k") == "v"
    with pytest.raises(ValueError, match="already exists"):
        await cache.add("k", "w")
    assert await cache.multi_set([("a", "1"), ("b", "2")], ttl=100)
    assert await cache.multi_get(["a", "b", "c"]) == ["1", "2", None]
    assert await cache.increment("n", 5) == 5
    assert await cache.expire("n", 50)
    assert await cache.exists("n")
    async with aiocache.lock.RedLock(cache, "k", 5):
        assert await cache.exists("k-lock")
    async with aiocache.lock.OptimisticLock(cache, "k") as lock:
        await lock.cas("w")
    assert await cache.get("k") == "w"
    assert await cache.delete("k") == 1
    assert await cache.clear("n:")
    assert not await cache.exists("a")
    await cache.close()


def test_dogpile(target: Target) -> None:
    region = dogpile.cache.make_region().configure(
        "dogpile.cache.redis",
        arguments={
            "host": target.host,
            "port": target.port,
            "redis_expiration_time": 100,
            "distributed_lock": True,
            "thread_local_lock": False,
        },
    )
    made: list[str] = []
    begin = threading.Barrier(8)

    def create() -> str:
        made.append("made")
        return "value"

    def work() -> None:
        begin.wait(30)
        assert region.get_or_create("k", create) == "value"

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert made == ["made"]
    region.set_multi({"a": 1, "b": 2})
    assert region.get_multi(["a", "b"]) == [1, 2]
    region.delete("k")
    eventually(lambda: region.get("k") is dogpile.cache.api.NO_VALUE)


def test_cachelib(target: Target) -> None:
    cache = RedisCache(host=target.host, port=target.port, key_prefix="p:")
    assert cache.set("k", [1], timeout=100)
    assert cache.add("n", 1)
    assert not cache.add("n", 2)
    assert cache.inc("n", 2) == 3
    assert cache.get_dict("k", "absent") == {"k": [1], "absent": None}
    assert cache.delete_many("k", "n") == ["k", "n"]
    assert cache.clear() is False or not cache.has("k")
