"""Logs by structlog into the program's own logging, and metrics that prometheus-client exports.

A metric is declared once, at the top of the module that it is about, and lives in the program's default registry.
"""

import logging
from typing import Any


def is_heard(product: str, level: int = logging.INFO) -> bool:
    """True where the program shows lines of this level: others need no logger."""
    return logging.getLogger(f"mithril.{product}").isEnabledFor(level)


def logger(product: str) -> Any:
    """A logger `mithril.<product>`. Handlers, levels and formats are the program's business, as it is a library's."""
    import structlog  # noqa: PLC0415, it brings asyncio, which a short command does without

    return structlog.wrap_logger(
        logging.getLogger(f"mithril.{product}"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
