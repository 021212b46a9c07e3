"""Logs by structlog, and metrics that prometheus-client exports.

A metric is declared once, at the top of the module that it is about, and lives in the program's default registry.
"""

from typing import Any

import structlog


def logger(product: str) -> Any:
    """A logger whose lines name the product. Handlers and formats are the program's business."""
    return structlog.get_logger("mithril").bind(product=product)
