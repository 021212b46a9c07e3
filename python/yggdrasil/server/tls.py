"""TLS by the options.

The binding speaks it with clients; connections to other nodes and the admin HTTP server are Python's.
"""

import re
import ssl
from pathlib import Path

from yggdrasil._core import ConfigError, TlsContext, tls_ciphers
from yggdrasil.server.config import Config
from yggdrasil.server.errors import StartError

OPTIONS = frozenset(
    {
        "tls-cert-file",
        "tls-key-file",
        "tls-key-file-pass",
        "tls-ca-cert-file",
        "tls-ca-cert-dir",
        "tls-auth-clients",
        "tls-protocols",
        "tls-ciphers",
        "tls-ciphersuites",
        "tls-prefer-server-ciphers",
        "tls-session-caching",
    }
)
"""The options that a context is made of."""

_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def check_tls(config: Config) -> None:
    """Refuses a configuration of TLS that cannot be used, by a StartError."""
    try:
        contexts(config)
    except ConfigError as error:
        raise StartError(str(error)) from None


def contexts(config: Config) -> None:
    """Makes all contexts that the node needs; ConfigError as below."""
    if config.tls.port:
        server_context(config)
    if config.tls.cluster:
        client_context(config)
    if config.admin.tls:
        admin_context(config)


def server_context(config: Config) -> TlsContext:
    """What connections from clients are made of. ConfigError says which option cannot be used, and why."""
    tls = config.tls
    certificate, key = _own(config)
    issuers = _issuers(config) if tls.auth_clients != "no" else []
    if tls.auth_clients != "no" and not issuers:
        raise ConfigError("tls-ca-cert-file or tls-ca-cert-dir is needed where tls-auth-clients is not no")
    return TlsContext(
        certificate=certificate.read_bytes(),
        key=(key or certificate).read_bytes(),
        key_password=tls.key_file_pass,
        issuers=[issuer.read_bytes() for issuer in issuers],
        authenticate=tls.auth_clients,
        protocols=tls.protocols.split(),
        ciphers=_ciphers(config),
        prefers_own_order=tls.prefer_server_ciphers,
        keeps_sessions=tls.session_caching,
    )


def client_context(config: Config) -> ssl.SSLContext:
    """The context of connections to other nodes; errors as above."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nodes are known by their issuer; certificates of clusters seldom name each address.
    context.check_hostname = False
    _limit_versions(context, config.tls.protocols)
    _load_own(context, config)
    _load_issuers(context, config)
    return context


def admin_context(config: Config) -> ssl.SSLContext:
    """The context of the admin HTTP server, which asks nobody for a certificate; errors as above."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _limit_versions(context, config.tls.protocols)
    _load_own(context, config)
    return context


def _limit_versions(context: ssl.SSLContext, protocols: str) -> None:
    named = [_VERSIONS[name] for name in protocols.split()] or list(_VERSIONS.values())
    context.minimum_version, context.maximum_version = min(named), max(named)


def _load_own(context: ssl.SSLContext, config: Config) -> None:
    certificate, key = _own(config)
    try:
        # An empty password keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(certificate, key, password=config.tls.key_file_pass)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"tls-cert-file {certificate} and its key cannot be used: {_reason(error)}") from None


def _own(config: Config) -> tuple[Path, Path | None]:
    """The files of the certificate, and of its key where that is another one."""
    tls = config.tls
    if not tls.cert_file:
        raise ConfigError("tls-cert-file is needed for TLS")
    key = _readable(config, "tls-key-file", tls.key_file) if tls.key_file else None
    return _readable(config, "tls-cert-file", tls.cert_file), key


def _issuers(config: Config) -> list[Path]:
    """The files of certificates whose owners may issue those of clients."""
    tls = config.tls
    found = [_readable(config, "tls-ca-cert-file", tls.ca_cert_file)] if tls.ca_cert_file else []
    if tls.ca_cert_dir:
        folder = _readable(config, "tls-ca-cert-dir", tls.ca_cert_dir)
        found += sorted(path for path in folder.iterdir() if path.is_file())
    return found


def _ciphers(config: Config) -> list[str]:
    """The ciphers of both options; where one of them is empty, all those of its versions of TLS."""
    tls = config.tls
    newer = [name for name in tls_ciphers() if name.startswith("TLS_")]
    older = [name for name in tls_ciphers() if name not in newer]
    return [
        *_named("tls-ciphersuites", tls.ciphersuites, newer),
        *_named("tls-ciphers", tls.ciphers, older),
    ]


def _named(option: str, value: str, known: list[str]) -> list[str]:
    names = [name for name in re.split(r"[:, ]+", value) if name]
    if unknown := [name for name in names if name not in (*known, "DEFAULT")]:
        raise ConfigError(f"{option}: {unknown[0]} is none of the ciphers that there are: {', '.join(known)}")
    return known if not names or "DEFAULT" in names else names


def _load_issuers(context: ssl.SSLContext, config: Config) -> None:
    tls = config.tls
    file = _readable(config, "tls-ca-cert-file", tls.ca_cert_file) if tls.ca_cert_file else None
    folder = _readable(config, "tls-ca-cert-dir", tls.ca_cert_dir) if tls.ca_cert_dir else None
    if file is None and folder is None:
        return
    try:
        context.load_verify_locations(file, folder)
    except ssl.SSLError as error:
        raise ConfigError(f"tls-ca-cert-file {file} cannot be used: {_reason(error)}") from None


def _readable(config: Config, option: str, path: str) -> Path:
    whole = config.directory / path
    try:
        if whole.is_dir():
            next(whole.iterdir(), None)
        else:
            with whole.open("rb"):
                pass
    except OSError as error:
        raise ConfigError(f"{option} {whole} cannot be read: {error.strerror}") from None
    return whole


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
