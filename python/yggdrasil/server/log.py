"""The log: structured lines on standard error, with Redis's names for the levels.

Modules use `structlog.stdlib.get_logger(__name__)`; only this one configures anything. Every line says which
process wrote it. Keys of requests are never logged above debug, values never.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

VERBOSE = 15
"""Between debug and info: of interest while looking for something. `info` is what Redis calls notice."""
_NOTHING = logging.CRITICAL + 1

LEVELS = {
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "nothing": _NOTHING,
}
_NAMES = {
    logging.DEBUG: "debug",
    VERBOSE: "verbose",
    logging.INFO: "notice",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}


def resolve_form(form: str) -> str:
    """What `auto` means here."""
    return form if form != "auto" else "console" if sys.stderr.isatty() else "json"


def configure(level: str, form: str, process: str) -> None:
    """Sends all logging of this process to standard error. `process` is supervisor, shard-0 ... or steward."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.ExtraAdder(),
        structlog.stdlib.add_logger_name,
        _add_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[_with_process(process), *shared],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _with_process(process),
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    for level_number, name in _NAMES.items():
        logging.addLevelName(level_number, name)
    # What libraries say of their own work is of interest only when something is wrong.
    for library in ("asyncio", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str) -> None:
    """Changes the least important level that is logged."""
    logging.getLogger().setLevel(LEVELS[level])


def _with_process(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def _add_level(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    number = record.levelno if isinstance(record, logging.LogRecord) else logging.getLevelNamesMapping().get(method)
    event["level"] = _NAMES.get(number, method) if isinstance(number, int) else "notice" if method == "info" else method
    return event
