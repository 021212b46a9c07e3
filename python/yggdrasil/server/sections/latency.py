"""Histograms and events of latency (LATENCY, INFO)."""

from typing import Annotated, ClassVar

from yggdrasil.server.option import Count, Option, Percentiles, Section, Switch


class Latency(Section):
    """Histograms and events of latency (LATENCY, INFO)."""

    prefix: ClassVar[str] = "latency"

    tracking: Annotated[
        Switch,
        Option(help="Keep a latency histogram of each command.", redis=True, runtime=True, engine=True),
    ] = True
    tracking_info_percentiles: Annotated[
        Percentiles,
        Option(help="The percentiles that INFO prints of each histogram.", redis=True, runtime=True),
    ] = "50 99 99.9"
    monitor_threshold: Annotated[
        Count,
        Option(
            help="Events that took longer are kept for LATENCY; 0 for none.",
            unit="milliseconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 0
