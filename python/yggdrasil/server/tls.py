"""Contexts of TLS, made of the options."""

import ssl
from pathlib import Path

from yggdrasil._core import ConfigError
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
        "tls-prefer-server-ciphers",
        "tls-session-caching",
    }
)
"""The options that a context is made of."""

_VERIFY = {"yes": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "no": ssl.CERT_NONE}
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


def server_context(config: Config) -> ssl.SSLContext:
    """The context of connections from clients. ConfigError says which option cannot be used, and why."""
    tls = config.tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _limit_versions(context, tls.protocols)
    _load_own(context, config)
    if tls.auth_clients != "no":
        if not tls.ca_cert_file and not tls.ca_cert_dir:
            raise ConfigError("tls-ca-cert-file or tls-ca-cert-dir is needed where tls-auth-clients is not no")
        _load_issuers(context, config)
        context.verify_mode = _VERIFY[tls.auth_clients]
    _set_ciphers(context, tls.ciphers)
    if not tls.prefer_server_ciphers:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if not tls.session_caching:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


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
    _set_ciphers(context, config.tls.ciphers)
    return context


def _limit_versions(context: ssl.SSLContext, protocols: str) -> None:
    named = [_VERSIONS[name] for name in protocols.split()] or list(_VERSIONS.values())
    context.minimum_version, context.maximum_version = min(named), max(named)


def _load_own(context: ssl.SSLContext, config: Config) -> None:
    tls = config.tls
    if not tls.cert_file:
        raise ConfigError("tls-cert-file is needed for TLS")
    certificate = _readable(config, "tls-cert-file", tls.cert_file)
    key = _readable(config, "tls-key-file", tls.key_file) if tls.key_file else None
    try:
        # An empty password keeps OpenSSL from asking on the terminal.
        context.load_cert_chain(certificate, key, password=tls.key_file_pass)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"tls-cert-file {certificate} and its key cannot be used: {_reason(error)}") from None


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


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    if not ciphers:
        return
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        raise ConfigError(f"tls-ciphers {ciphers!r} is no list of ciphers that OpenSSL has") from None


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
