"""Logs by structlog into the program's own logging, and metrics that prometheus-client exports.

A metric is declared once, at the top of the module that it is about, and lives in the program's default registry.
"""

import logging
from typing import Any

import structlog


def logger(product: str) -> Any:
    """A logger `mithril.<product>`. Handlers, levels and formats are the program's business, as it is a library's."""
    return structlog.wrap_logger(
        logging.getLogger(f"mithril.{product}"),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
