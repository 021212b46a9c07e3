"""TLS for clients, workers and the admin port, with certificates that are made here."""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from tests.node import HOST, Node, NodeError
from tests.peer import PeerMissingError, peer_command, peers_root
from tests.wire import OK, ConnectionEndedError, Wire, eventually, info

LONG = 5_000_000


@dataclass
class Papers:
    """An issuer, with files of what it has issued."""

    ca: trustme.CA
    folder: Path

    @property
    def issuer(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def options(self) -> dict[str, Any]:
        """Options of a node with a certificate of this issuer."""
        return {"tls_cert_file": self.issue("node"), "tls_auth_clients": "no"}

    def issue(self, name: str) -> Path:
        """A certificate with its key, in one file."""
        path = self.folder / f"{name}.pem"
        self.ca.issue_cert(HOST, "localhost", common_name=name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def context(self, name: str | None = None) -> ssl.SSLContext:
        """That of a client who trusts this issuer, and perhaps has a certificate of its own."""
        context = ssl.create_default_context(cafile=self.issuer)
        if name is not None:
            context.load_cert_chain(self.issue(name))
        return context


def papers_in(folder: Path) -> Papers:
    folder.mkdir(exist_ok=True)
    papers = Papers(trustme.CA(), folder)
    papers.ca.cert_pem.write_to_path(str(papers.issuer))
    return papers


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return papers_in(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module", params=[1, 3], ids=["node1", "node3"])
def node(request: pytest.FixtureRequest, papers: Papers) -> Iterator[Node]:
    """A node with both kinds of ports."""
    with Node(shards=request.param, tls_port=free(), **papers.options) as started:
        yield started


def free() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def secure(port: int, context: ssl.SSLContext) -> Iterator[Wire]:
    connection = Wire(HOST, port)
    try:
        connection.socket = context.wrap_socket(connection.socket, server_hostname=HOST)
        yield connection
    finally:
        connection.close()


def seen(port: int, papers: Papers) -> str:
    """The name in the certificate of a node."""
    with secure(port, papers.context()) as connection:
        assert isinstance(connection.socket, ssl.SSLSocket)
        subject = connection.socket.getpeercert()
    assert subject is not None
    return str(dict(pair for (pair,) in subject["subject"])["commonName"])  # type: ignore[misc, str-unpack]


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_by_a_url(node: Node, papers: Papers, protocol: int) -> None:
    url = f"rediss://{HOST}:{node.tls_port}/0?ssl_ca_certs={papers.issuer}&protocol={protocol}"
    with redis.Redis.from_url(url) as client:
        client.flushall()
        assert client.set("k", b"v")
        assert client.get("k") == b"v"
        with client.pipeline() as pipeline:
            for number in range(1000):
                pipeline.set(f"k{number}", number)
            assert all(pipeline.execute())
        assert client.dbsize() == 1001
        with client.pubsub() as pubsub:
            pubsub.subscribe("news")
            assert pubsub.get_message(timeout=10)["type"] == "subscribe"
            client.publish("news", "hello")
            message = pubsub.get_message(timeout=10)
            assert message is not None
            assert message["data"] == b"hello"
    with redis.Redis(port=node.tls_port, ssl=True) as stranger, pytest.raises(redis.exceptions.ConnectionError):
        stranger.ping()


def test_long_values(node: Node, papers: Papers) -> None:
    """They arrive in their pages and leave them, for keys of any shard."""
    value = bytes(range(256)) * (LONG // 256)
    with secure(node.tls_port, papers.context()) as connection:
        for number in range(4):
            assert connection("SET", f"long{number}", value) == OK
            assert connection("STRLEN", f"long{number}") == len(value)
        assert connection("MGET", *[f"long{number}" for number in range(4)]) == [value] * 4
        assert connection.pipeline([("GET", f"long{number}") for number in range(4)]) == [value] * 4
        connection("APPEND", "long0", "end")
        assert connection("GETRANGE", "long0", -5, -1) == value[-2:] + b"end"


def test_who_does_not_read_holds_nobody_up(node: Node, papers: Papers) -> None:
    value = b"x" * LONG
    with secure(node.tls_port, papers.context()) as lazy, secure(node.tls_port, papers.context()) as other:
        assert other("SET", "long", value) == OK
        for _ in range(20):
            lazy.send("GET", "long")
        for number in range(100):
            assert other("SET", f"k{number}", "v") == OK
        assert [lazy.read() for _ in range(20)] == [value] * 20


def test_clients_come_and_go(node: Node, papers: Papers) -> None:
    with Wire(HOST, node.port) as plain:
        before = info(plain, "clients")["connected_clients"]
        for _ in range(20):
            with secure(node.tls_port, papers.context()) as connection:
                assert connection("PING") == "PONG"
        with secure(node.tls_port, papers.context()) as connection:
            assert connection("QUIT") == OK
            with pytest.raises((ConnectionEndedError, ssl.SSLError)):
                connection.read()
        with Wire(HOST, node.tls_port) as nonsense:
            nonsense.send("PING")
            assert nonsense.read_all()[:1] == b"\x15", "an alert, then the end"
        eventually(lambda: info(plain, "clients")["connected_clients"] == before)


def test_too_many_clients(node: Node, papers: Papers) -> None:
    with Wire(HOST, node.port) as plain:
        assert plain("CONFIG", "SET", "maxclients", 1) == OK
        try:
            with secure(node.tls_port, papers.context()) as connection:
                assert connection.read().text == "ERR max number of clients reached"
        finally:
            plain("CONFIG", "SET", "maxclients", 10000)


def test_users_log_in(node: Node, papers: Papers) -> None:
    with Wire(HOST, node.port) as plain, secure(node.tls_port, papers.context()) as connection:
        plain("ACL", "SETUSER", "u", "on", ">p", "~a*", "+@all")
        assert connection("AUTH", "u", "p") == OK
        assert connection("SET", "a", "1") == OK
        assert "No permissions" in connection("SET", "b", "x" * 200_000).text
        plain("ACL", "DELUSER", "u")
        with pytest.raises((ConnectionEndedError, ssl.SSLError, ConnectionError)):
            connection("PING")


def test_redis_cli(node: Node, papers: Papers) -> None:
    try:
        command = peer_command("redis-cli", "-p", str(node.tls_port), "--tls", "--cacert", "/tmp/tls-test-ca.pem")
    except PeerMissingError as missing:
        pytest.skip(str(missing))
    shutil.copy(papers.issuer, peers_root() / "tmp/tls-test-ca.pem")

    def cli(*words: str) -> str:
        return subprocess.run([*command, *words], capture_output=True, text=True, timeout=50, check=True).stdout

    assert cli("SET", "k", "v") == "OK\n"
    assert cli("--scan", "--pattern", "k") == "k\n"


def test_cluster_clients_find_the_ports_for_tls(node: Node, papers: Papers) -> None:
    with secure(node.tls_port, papers.context()) as connection:
        slots = connection("CLUSTER", "SLOTS")
        assert [entry[2][1] for entry in slots] == node.tls_worker_ports
    with Wire(HOST, node.port) as plain:
        assert [entry[2][1] for entry in plain("CLUSTER", "SLOTS")] == node.worker_ports
    with redis.RedisCluster(host=HOST, port=node.tls_port, ssl=True, ssl_ca_certs=str(papers.issuer)) as client:
        for number in range(50):
            client.set(f"c{number}", number)
        assert client.mget_nonatomic([f"c{number}" for number in range(50)]) == [b"%d" % n for n in range(50)]


@pytest.mark.parametrize(("wanted", "without", "with_one"), [("yes", False, True), ("optional", True, True)])
def test_certificates_of_clients(papers: Papers, tmp_path: Path, wanted: str, without: bool, with_one: bool) -> None:
    strangers = papers_in(tmp_path / "strangers")
    stranger = papers.context()
    stranger.load_cert_chain(strangers.issue("stranger"))
    options = papers.options | {"tls_auth_clients": wanted, "tls_ca_cert_file": papers.issuer}
    with Node(shards=1, tls_port=free(), **options) as node:
        for context, expected in ((papers.context(), without), (papers.context("me"), with_one), (stranger, False)):
            assert is_let_in(node.tls_port, context) == expected
        with Wire(HOST, node.port) as plain:
            assert plain("CONFIG", "SET", "tls-auth-clients", "no") == OK
        assert is_let_in(node.tls_port, papers.context())


def is_let_in(port: int, context: ssl.SSLContext) -> bool:
    try:
        with secure(port, context) as connection:
            return bool(connection("PING") == "PONG")
    except (ssl.SSLError, ConnectionError, ConnectionEndedError):
        return False


def test_certificates_are_renewed_while_clients_stay(papers: Papers, tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    shutil.copy(papers.issue("first"), file)
    options = papers.options | {"tls_cert_file": file, "admin_tls": "yes"}
    with Node(shards=2, tls_port=free(), **options) as node, secure(node.tls_port, papers.context()) as before:
        assert {seen(port, papers) for port in (node.tls_port, *node.tls_worker_ports)} == {"first"}
        shutil.copy(papers.issue("second"), file)
        assert seen(node.tls_port, papers) == "first"
        assert before("CONFIG", "SET", "tls-cert-file", str(file)) == OK
        ports = (node.tls_port, *node.tls_worker_ports, node.admin_port)
        assert {seen(port, papers) for port in ports} == {"second"}
        file.write_text("no certificate")
        refused = before("CONFIG", "SET", "tls-cert-file", str(file)).text
        assert "possibly related to argument 'tls-cert-file'" in refused
        assert "no certificate in it" in refused
        assert "absent.pem cannot be read" in before("CONFIG", "SET", "tls-cert-file", "absent.pem").text
        assert {seen(port, papers) for port in ports} == {"second"}
        assert before("PING") == "PONG"


def answers(port: int, papers: Papers) -> bool:
    try:
        with secure(port, papers.context()) as connection:
            return bool(connection("PING") == "PONG")
    except OSError:
        return False


def test_the_port_for_tls_is_set_while_clients_stay(papers: Papers) -> None:
    first, second = free(), free()
    with Node(shards=3, **papers.options) as node, Wire(HOST, node.port) as c:
        assert c("CONFIG", "SET", "tls-port", first) == OK
        with secure(first, papers.context()) as client:
            assert client("SET", "k", "v") == OK
            # The own ports of the workers for TLS are told to who comes by TLS.
            ports = {entry[2][1] for entry in client("CLUSTER", "SLOTS")}
            assert len(ports) == 3
            assert ports.isdisjoint(node.worker_ports)
            assert all(answers(port, papers) for port in ports)
            assert f"port={first}" in info(c, "server")["listener1"]
            assert c("CONFIG", "SET", "tls-port", second) == OK
            assert client("GET", "k") == b"v"
            assert answers(second, papers)
            assert not answers(first, papers)
            assert not any(answers(port, papers) for port in ports)
            # A worker that comes later listens there too.
            pids = node.all_pids()
            os.kill(pids["shard-1"], signal.SIGKILL)
            eventually(lambda: node.pids().get("shard-1", pids["shard-1"]) != pids["shard-1"])
        # The clients above may have been its own.
        with Wire(HOST, node.port) as later:
            newer = [entry[2][1] for entry in later("CLUSTER", "SLOTS")]
            assert newer == node.worker_ports
            eventually(lambda: all(answers(second, papers) for _ in range(10)))
            assert later("CONFIG", "SET", "tls-port", 0) == OK
            assert not answers(second, papers)


def test_a_port_for_tls_that_cannot_be_had_changes_nothing(papers: Papers) -> None:
    port = free()
    with socket.socket() as taken, Node(shards=2, tls_port=port, **papers.options) as node:
        taken.bind((HOST, 0))
        taken.listen()
        with Wire(HOST, node.port) as c:
            refused = c("CONFIG", "SET", "tls-port", taken.getsockname()[1])
            assert "is in use" in refused.text
            assert "is in use" in c("CONFIG", "SET", "timeout", 5, "tls-port", taken.getsockname()[1]).text
            assert c("CONFIG", "GET", "timeout", "tls-port") == [b"timeout", b"0", b"tls-port", str(port).encode()]
            assert c("CONFIG", "SET", "tls-port", port) == OK
            assert "another port" in c("CONFIG", "SET", "tls-port", node.port).text
        assert answers(port, papers)
    with Node(shards=2) as node, Wire(HOST, node.port) as c:
        assert "tls-cert-file is needed" in c("CONFIG", "SET", "tls-port", free()).text
        assert c("CONFIG", "GET", "tls-port") == [b"tls-port", b"0"]


def test_nothing_but_tls(papers: Papers) -> None:
    options = papers.options | {"tls_cluster": "yes", "tls_ca_cert_file": papers.issuer, "unixsocket": ""}
    with (
        Node(shards=2, port=0, tls_port=free(), **options) as node,
        Node(shards=2, port=0, tls_port=free(), **options) as other,
        secure(node.tls_port, papers.context()) as here,
        secure(other.tls_port, papers.context()) as there,
    ):
        assert (node.port, node.worker_ports) == (0, [])
        assert info(here, "server")["tcp_port"] == str(node.tls_port)
        here("MSET", "a", "1", "b", "2")
        assert here("MIGRATE", HOST, other.tls_port, "", 0, 5000, "KEYS", "a", "b") == OK
        assert there("MGET", "a", "b") == [b"1", b"2"]


def test_the_admin_port(papers: Papers) -> None:
    with Node(shards=1, admin_tls="yes", **papers.options) as node:
        url = f"https://{HOST}:{node.admin_port}/readyz"
        with urllib.request.urlopen(url, timeout=10, context=papers.context()) as page:
            assert page.read() == b"ready\n"


def test_versions_and_ciphers(papers: Papers) -> None:
    options = papers.options | {
        "tls_protocols": "TLSv1.2",
        "tls_ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
    }
    with Node(shards=1, tls_port=free(), **options) as node:
        context = papers.context()
        with secure(node.tls_port, context) as connection:
            assert isinstance(connection.socket, ssl.SSLSocket)
            cipher, version, _ = connection.socket.cipher() or ("", "", 0)
        assert "CHACHA20" in cipher
        assert version == "TLSv1.2"
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        assert not is_let_in(node.tls_port, context)
        with Wire(HOST, node.port) as plain:
            assert plain("CONFIG", "SET", "tls-protocols", "TLSv1.3 TLSv1.2", "tls-ciphers", "") == OK
            assert "must be" in plain("CONFIG", "SET", "tls-protocols", "SSLv3").text
            assert "none of the ciphers" in plain("CONFIG", "SET", "tls-ciphers", "NOPE").text
        assert is_let_in(node.tls_port, context)


def test_a_key_with_a_password(papers: Papers, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to encrypt a key with")
    key = tmp_path / "key.pem"
    options = papers.options | {"tls_key_file": key}
    own = str(options["tls_cert_file"])
    command = ["openssl", "pkey", "-in", own, "-aes256", "-passout", "pass:word", "-out", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    for word in ("", "other"):
        with pytest.raises(NodeError, match="tls-key-file cannot be decrypted: tls-key-file-pass"):
            Node(shards=1, tls_port=free(), tls_key_file_pass=word, **options).__enter__()
    with Node(shards=1, tls_port=free(), tls_key_file_pass="word", **options) as node:
        assert is_let_in(node.tls_port, papers.context())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "tls-cert-file is needed for TLS"),
        ({"tls_cert_file": "absent.pem"}, r"tls-cert-file .*absent.pem cannot be read: No such file"),
        ({"tls_auth_clients": "yes"}, "tls-ca-cert-file or tls-ca-cert-dir is needed"),
        ({"tls_protocols": "SSLv3"}, "allowed is TLSv1.2 and TLSv1.3"),
        ({"tls_ciphers": "NOPE"}, "tls-ciphers: NOPE is none of the ciphers that there are: ECDHE"),
    ],
)
def test_what_cannot_be_used_stops_the_start(papers: Papers, options: dict[str, str], reason: str) -> None:
    given = (papers.options if options else {"tls_auth_clients": "no"}) | options
    with pytest.raises(NodeError, match=reason):
        Node(shards=1, tls_port=free(), **given).__enter__()
