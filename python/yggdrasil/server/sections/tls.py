"""Encrypted connections of clients, by TLS."""

from typing import Annotated, ClassVar, Literal

from yggdrasil.server.option import Choice, Option, Port, Section, Switch, TlsProtocols


class Tls(Section):
    """Encrypted connections of clients, by TLS.

    Changes at run time hold for new connections; paths are relative to dir.
    """

    prefix: ClassVar[str] = "tls"

    port: Annotated[
        Port,
        Option(
            help="The TCP port for TLS that all workers share; 0 for none. Each worker has a port of its own for TLS, "
            "too, which cluster-aware clients are told that have come by TLS.",
            redis=True,
            runtime=True,
        ),
    ] = 0
    worker_port_base: Annotated[
        Port,
        Option(help="Worker i also listens for TLS on this port + i. 0 takes any free ports."),
    ] = 0
    cert_file: Annotated[
        str,
        Option(
            help="The certificate of the node in PEM, and behind it those of its issuers. CONFIG SET with the same path"
            " reads a renewed one.",
            redis=True,
            runtime=True,
            allowed="a path",
        ),
    ] = ""
    key_file: Annotated[
        str,
        Option(
            help="The private key of the certificate in PEM; empty where it stands in the file of the certificate.",
            redis=True,
            runtime=True,
            allowed="a path",
        ),
    ] = ""
    key_file_pass: Annotated[
        str, Option(help="The password of the private key; empty for none.", redis=True, runtime=True, secret=True)
    ] = ""
    ca_cert_file: Annotated[
        str,
        Option(
            help="Certificates in PEM of those who may have issued the certificates of clients.",
            redis=True,
            runtime=True,
            allowed="a path",
        ),
    ] = ""
    ca_cert_dir: Annotated[
        str,
        Option(
            help="A directory of such certificates, under the names that `openssl rehash` gives.",
            redis=True,
            runtime=True,
            allowed="a path",
        ),
    ] = ""
    auth_clients: Annotated[
        Literal["yes", "no", "optional"],
        Choice,
        Option(help="Whether clients have to have a certificate.", redis=True, runtime=True),
    ] = "yes"
    protocols: Annotated[
        TlsProtocols,
        Option(help="Versions of TLS that are spoken; empty for all of these.", redis=True, runtime=True),
    ] = ""
    ciphers: Annotated[
        str,
        Option(
            help="Ciphers of TLS 1.2, the preferred ones first; empty for all. All of them have forward secrecy.",
            redis=True,
            runtime=True,
            allowed="names of ciphers as OpenSSL has them, separated by colons",
        ),
    ] = ""
    ciphersuites: Annotated[
        str,
        Option(
            help="The same for TLS 1.3.",
            redis=True,
            runtime=True,
            allowed="names such as TLS_AES_256_GCM_SHA384, separated by colons",
        ),
    ] = ""
    prefer_server_ciphers: Annotated[
        Switch,
        Option(
            help="The order of the node decides which cipher is taken, not that of the client.",
            redis=True,
            runtime=True,
        ),
    ] = False
    session_caching: Annotated[
        Switch, Option(help="A client may go on with the keys of an earlier connection.", redis=True, runtime=True)
    ] = True
    cluster: Annotated[
        Switch,
        Option(
            help="The own ports of the workers are for TLS alone, cluster-aware clients are told no other, and MIGRATE "
            "goes by TLS.",
            redis=True,
        ),
    ] = False
