"""The parts of a machine that a compiled artifact depends on: architecture, instruction sets, compiler, C library."""

import functools
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from mithril.cache.keys import DeviceClass

_CPUINFO = Path("/proc/cpuinfo")
_COMPILER_TIMEOUT_S = 5.0
# Flags of /proc/cpuinfo that a compiler turns into instructions under -march=native; the others tell of the kernel.
_PREFIXES = (
    "avx",
    "amx",
    "sse",
    "ssse",
    "sha",
    "bmi",
    "vaes",
    "vpclmul",
    "gfni",
    "sve",
    "asimd",
    "bf16",
    "i8mm",
)
_NAMES = frozenset(
    (
        "abm",
        "adx",
        "aes",
        "clflushopt",
        "clwb",
        "cx16",
        "f16c",
        "fma",
        "fma4",
        "fsgsbase",
        "lahf_lm",
        "lzcnt",
        "movbe",
        "movdir64b",
        "movdiri",
        "pclmulqdq",
        "pku",
        "popcnt",
        "prefetchw",
        "rdrnd",
        "rdseed",
        "serialize",
        "tbm",
        "wbnoinvd",
        "xop",
        "xsave",
        "xsavec",
        "xsaveopt",
        "xsaves",
        "atomics",
        "crc32",
        "dcpop",
        "fcma",
        "fhm",
        "flagm",
        "fp",
        "fphp",
        "frint",
        "lrcpc",
        "pmull",
        "sme",
        "sme2",
    )
)
# Variables that make a framework generate code for less than the processor has.
_CAPS = ("ATEN_CPU_CAPABILITY", "TORCHINDUCTOR_CPP_SIMDLEN")


@functools.cache
def instruction_sets() -> tuple[str, ...]:
    """The instruction sets of this processor, by their names in /proc/cpuinfo."""
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return tuple(sorted(flag for flag in flags.split() if flag in _NAMES or flag.startswith(_PREFIXES)))
    return ()


def device_class() -> DeviceClass:
    """The class of this machine's processor, within the limits that the environment sets for generated code."""
    limits = tuple(f"{name}={value}" for name in _CAPS if (value := os.environ.get(name)))
    return DeviceClass.cpu(platform.machine(), instruction_sets() + limits)


@functools.cache
def compiler_version(command: str) -> str:
    """The maker and version of a C++ compiler, or `none`."""
    path = shutil.which(command)
    if path is None:
        return "none"
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_COMPILER_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "none"
    # GCC begins with the name that it was called by, which says nothing about it.
    words = done.stdout.partition("\n")[0].split()
    return " ".join(words[1:] if words and words[0] == Path(path).name else words)


def versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of what compiled code is built with and loaded into."""
    compiler = os.environ.get("CXX", "g++")
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    return (
        ("compiler", compiler_version(compiler)),
        ("libc", libc or "-".join(platform.libc_ver())),
        ("python", f"{sys.implementation.cache_tag}{sys.abiflags}"),
    )
