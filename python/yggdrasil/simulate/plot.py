"""Hit ratio by memory, as SVG."""

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from yggdrasil.simulate.run import Outcome

_WIDTH, _HEIGHT = 760, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 170, 40, 50
_COLOURS = ("#3b7d4f", "#b5473c", "#3c6fb5", "#b58a3c", "#7a3cb5", "#3cb5ad", "#8a8a8a", "#b53c8a")


def svg(outcomes: Sequence[Outcome], title: str) -> str:
    """One line a policy, memory on a logarithmic axis."""
    sizes = sorted({outcome.memory for outcome in outcomes})
    policies = list(dict.fromkeys(outcome.policy for outcome in outcomes))
    top = max(0.05, math.ceil(max((outcome.hit_ratio for outcome in outcomes), default=0.0) * 20) / 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
        *_grid(sizes, top),
    ]
    for number, policy in enumerate(policies):
        colour = _COLOURS[number % len(_COLOURS)]
        rows = sorted((outcome for outcome in outcomes if outcome.policy == policy), key=lambda row: row.memory)
        points = [(_x(row.memory, sizes), _y(row.hit_ratio, top)) for row in rows]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        y = _TOP + 18 * number + 6
        parts.append(f'<text x="{_WIDTH - _RIGHT + 16}" y="{y}" fill="{colour}">{escape(policy)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(sizes: Sequence[int], top: float) -> list[str]:
    lines = []
    for step in range(6):
        ratio = top * step / 5
        y = _y(ratio, top)
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * ratio:.0f}%</text>')
    lines += [
        f'<text x="{_x(size, sizes):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{_short(size)}</text>'
        for size in sizes
    ]
    return lines


def _x(memory: int, sizes: Sequence[int]) -> float:
    width = _WIDTH - _LEFT - _RIGHT
    low, high = math.log(max(sizes[0], 1)), math.log(max(sizes[-1], 1))
    share = (math.log(max(memory, 1)) - low) / (high - low) if high > low else 0.5
    return _LEFT + share * width


def _y(ratio: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - ratio / top * (_HEIGHT - _TOP - _BOTTOM)


def _short(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"
