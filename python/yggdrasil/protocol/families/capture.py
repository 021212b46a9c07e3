"""MEMORY CAPTURE: what the node is asked for, written to a file that `yggdrasil simulate` reads."""

import re
from pathlib import Path

from yggdrasil._core import CAPTURE_SHIFT_MAX, ReplyError
from yggdrasil.protocol.capturing import Plan, Status
from yggdrasil.protocol.command import command
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import OK, Reply, integer, raw, syntax_error, text, unknown_subcommand

_NAME = re.compile(rb"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_SAMPLE_DEFAULT, _SAMPLE_MAX = 16, 1 << CAPTURE_SHIFT_MAX
_SECONDS_DEFAULT, _SECONDS_MAX = 600, 24 * 3600
_REQUESTS_DEFAULT, _REQUESTS_MAX = 100_000_000, 1_000_000_000


@command(
    "memory|capture",
    arity=-3,
    flags=("admin", "noscript"),
    group="server",
    summary="Records the requests for a sample of the keys to a file, for `yggdrasil simulate`.",
    since="0.1.0",
    syntax="<START file [SAMPLE keys] [SECONDS seconds] [REQUESTS requests] | STOP | STATUS>",
)
async def memory_capture(ctx: CommandContext, args: list[bytes]) -> Reply:
    """All requests for one key in SAMPLE (a power of two), for so long or until there are so many."""
    capturing = ctx.here.capturing
    match args[0].upper(), args[1:]:
        case b"START", [name, *options]:
            await capturing.start(_plan(ctx.services.node.directory, name, options))
            return OK
        case b"STOP", []:
            return _shown(await capturing.stop())
        case b"STATUS", []:
            return _shown(await capturing.status())
        case _:
            raise unknown_subcommand("memory", b"CAPTURE " + args[0])


def _plan(directory: str, name: bytes, options: list[bytes]) -> Plan:
    if not _NAME.fullmatch(name):
        raise ReplyError(
            f"ERR {text(name)!r} is no name for a capture: expected up to 200 letters, digits, '.', '_' and '-', "
            "not beginning with '.'; the file is written to the node's directory"
        )
    if len(options) % 2:
        raise syntax_error()
    chosen = {"SAMPLE": _SAMPLE_DEFAULT, "SECONDS": _SECONDS_DEFAULT, "REQUESTS": _REQUESTS_DEFAULT}
    most = {"SAMPLE": _SAMPLE_MAX, "SECONDS": _SECONDS_MAX, "REQUESTS": _REQUESTS_MAX}
    for option, value in zip(options[::2], options[1::2], strict=True):
        known = text(option).upper()
        if known not in chosen:
            raise syntax_error()
        chosen[known] = integer(value)
        if not 1 <= chosen[known] <= most[known]:
            raise ReplyError(f"ERR {known} is {chosen[known]}, expected 1 to {most[known]}")
    sample = chosen["SAMPLE"]
    if sample & (sample - 1):
        raise ReplyError(f"ERR SAMPLE is {sample}, expected a power of two: one key in so many is recorded")
    path = str(Path(directory).absolute() / text(name))
    return Plan(path, sample.bit_length() - 1, chosen["SECONDS"], chosen["REQUESTS"])


def _shown(status: Status) -> Reply:
    shown: dict[bytes, Reply] = {
        b"running": int(status.running),
        b"file": raw(status.file),
        b"sample": status.sample,
        b"seconds": status.seconds,
        b"requests": status.requests,
        b"dropped": status.dropped,
        b"bytes": status.bytes,
        b"ended": raw(status.ended),
    }
    return shown
