"""Measures the figures: `python -m benches.run [SCENARIO ...]`."""

import argparse
import os
import resource
import shlex
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benches import load, report, results
from benches.scenarios import QUICK, SCENARIOS, Scenario, Sizes
from benches.servers import BenchError, Kind, find_kinds


def main() -> int:
    """Runs what the command line names. 0: ran, whether or not targets were met; 1: could not be run."""
    options = _options()
    sizes = QUICK if options.quick else Sizes()
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds, stall_rounds=min(options.rounds, sizes.stall_rounds))
    if options.seconds:
        sizes = replace(sizes, seconds=options.seconds)
    _allow_open_files()
    try:
        kinds = find_kinds(peers=not options.no_peers)
        if options.only_peers:
            kinds.pop("yggdrasil", None)
        elif "yggdrasil" not in kinds:
            raise BenchError("no yggdrasil command in .venv/bin or on the path; `make serve` sets it up")
        load.build()
        if len(os.sched_getaffinity(0)) < 2:
            raise BenchError("two cores are needed: one for the servers, one for the load")
        with tempfile.TemporaryDirectory() as scratch:
            own_place = options.quick or options.only_peers
            directory = options.results or (Path(scratch) if own_place else results.RESULTS)
            for scenario in SCENARIOS:
                if not options.scenario or scenario.name in options.scenario:
                    _run(scenario, kinds, sizes, directory)
            if directory == results.RESULTS:
                report.write(directory)
    except BenchError as error:
        print(f"benches: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches.run", description=__doc__)
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("scenario", nargs="*", help=f"{', '.join(names)}; all of them where none is named")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: shows that the benchmarks work")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison")
    parser.add_argument("--seconds", type=float, help="length of one run of load")
    parser.add_argument("--no-peers", action="store_true", help="measure without redis and valkey")
    parser.add_argument("--only-peers", action="store_true", help="measure only redis and valkey")
    parser.add_argument("--results", type=Path, help="directory for the results of this run")
    options = parser.parse_args()
    unknown = [name for name in options.scenario if name not in names]
    if unknown:
        parser.error(f"no scenario {unknown[0]}; there are {', '.join(names)}")
    return options


def _run(scenario: Scenario, kinds: dict[str, Kind], sizes: Sizes, directory: Path) -> None:
    if scenario.only_ours:
        kinds = {name: kind for name, kind in kinds.items() if kind.ours}
    if not kinds:
        return
    print(f"# {scenario.title}", flush=True)
    start = time.monotonic()
    findings = scenario.run(kinds, sizes)
    command = shlex.join(["python", "-m", "benches.run", *sys.argv[1:]])
    heading = {"title": scenario.title, **results.circumstances(kinds), "command": command}
    results.save(directory, scenario.name, {**heading, "sizes": asdict(sizes), **findings})
    for row in findings["details"]:
        print(_line(row))
    for note in findings["notes"]:
        print(f"  {note}")
    for figure in findings["figures"]:
        met = "met" if figure["met"] else "NOT MET"
        print(f"  {figure['name']}: {figure['value']:g} {figure['unit']} (at most {figure['target']:g}: {met})")
    print(f"  {time.monotonic() - start:.0f} s", flush=True)


def _line(row: dict[str, Any]) -> str:
    numbers = [f"{name} {value:g}" for name, value in row.items() if isinstance(value, float | int)]
    return f"  {row['server']:<20} {row['what']:<40} {', '.join(numbers)}"


def _allow_open_files() -> None:
    """The servers and the load generator inherit this limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
