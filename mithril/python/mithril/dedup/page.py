"""The report as one HTML page that needs nothing else: no script, no style sheet, no network."""

from collections.abc import Sequence
from html import escape

from mithril.dedup.report import ClusterReport, Report

_WIDTH, _HEIGHT, _MARGIN = 640, 220, 36
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
pre { white-space: pre-wrap; background: #8881; padding: .5rem; margin: .3rem 0 } .kept { border-left: 4px solid #2a2 }
svg { background: #8881; max-width: 100% } text { font-size: 11px; fill: #888 }
"""


def page(report: Report) -> bytes:
    """The page of a report."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>mithril dedup</title>",
        f"<style>{_STYLE}</style><h1>Deduplication{' (dry run)' if report.dry_run else ''}</h1>",
        "".join(f"<p>{escape(line)}</p>" for line in report.summary()),
    ]
    if report.curve:
        parts.append("<h2>Probability that a pair is compared, by its similarity</h2>")
        parts.append(_curve(report.curve, float(report.settings["threshold"])))
    if any(report.histogram):
        parts.append("<h2>Compared pairs by similarity</h2>")
        parts.append(_bars(report.histogram, float(report.settings["threshold"])))
    if report.cluster_sizes:
        rows = sorted(report.cluster_sizes.items())
        parts.append("<h2>Clusters by size</h2>" + _table(("documents", "clusters"), rows))
    if report.largest:
        parts.append("<h2>Largest clusters</h2>" + "".join(map(_cluster, report.largest)))
    files = [(file.url, file.documents, file.documents - file.kept, file.first) for file in report.files]
    parts.append("<h2>Files</h2>" + _table(("file", "documents", "removed", "first number"), files))
    parts.append("<h2>Settings</h2>" + _table(("option", "value"), sorted(report.settings.items())))
    return "\n".join(parts).encode("utf-8", "replace")


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cluster(cluster: ClusterReport) -> str:
    samples = "".join(
        f"<pre{' class=kept' if sample.kept else ''}>{sample.document}: {escape(sample.text)}</pre>"
        for sample in cluster.samples
    )
    return f"<h3>{cluster.documents} documents, first {cluster.cluster}</h3>{samples}"


def _x(share: float) -> float:
    return _MARGIN + share * (_WIDTH - 2 * _MARGIN)


def _y(share: float) -> float:
    return _HEIGHT - _MARGIN - share * (_HEIGHT - 2 * _MARGIN)


def _chart(content: str, threshold: float, top: str) -> str:
    ticks = "".join(f'<text x="{_x(tick / 10):.0f}" y="{_HEIGHT - 12}">{tick / 10}</text>' for tick in range(0, 11, 2))
    line = f'<line x1="{_x(threshold):.1f}" x2="{_x(threshold):.1f}" y1="{_y(0)}" y2="{_y(1)}" stroke="#c33"/>'
    label = f'<text x="4" y="{_y(1):.0f}">{escape(top)}</text>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}">{content}{line}{ticks}{label}</svg>'


def _curve(curve: Sequence[tuple[float, float]], threshold: float) -> str:
    points = " ".join(f"{_x(similarity):.1f},{_y(probability):.1f}" for similarity, probability in curve)
    return _chart(f'<polyline points="{points}" fill="none" stroke="#36c" stroke-width="2"/>', threshold, "1")


def _bars(counts: Sequence[int], threshold: float) -> str:
    most, width = max(counts), (_WIDTH - 2 * _MARGIN) / len(counts)
    bars = "".join(
        f'<rect x="{_x(index / len(counts)):.1f}" width="{width - 1:.1f}" y="{_y(count / most):.1f}" '
        f'height="{_y(0) - _y(count / most):.1f}" fill="#36c"/>'
        for index, count in enumerate(counts)
    )
    return _chart(bars, threshold, str(most))
