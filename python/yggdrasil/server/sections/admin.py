"""The admin HTTP server: /metrics, /healthz, /readyz."""

from typing import Annotated, ClassVar

from yggdrasil.server.option import Option, Port, Section, Switch


class Admin(Section):
    """The admin HTTP server: /metrics, /healthz, /readyz."""

    prefix: ClassVar[str] = "admin"

    bind: Annotated[str, Option(help="Address of the admin HTTP server.", allowed="one address such as 127.0.0.1")] = (
        "127.0.0.1"
    )
    port: Annotated[
        Port,
        Option(
            help="Port of the admin HTTP server: /metrics, /healthz, /readyz; 0 for none.",
            default_text="9379 where it is free, otherwise any free port",
        ),
    ] = 9379
    tls: Annotated[
        Switch,
        Option(help="The admin HTTP server speaks TLS (https), with the certificate of tls-cert-file."),
    ] = False
