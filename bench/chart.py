"""How near each goal is, as a small SVG: a dot a line on one logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from bench.goals import Judged
from bench.report import number, ratio

_LINE, _TOP, _LEFT, _RIGHT, _WIDTH = 24, 46, 270, 96, 760
_LEAST, _MOST = 0.25, 4.0
_MET, _MISSED, _GREY = "#1a7f37", "#cf222e", "#8c959f"


def chart(judged: Sequence[Judged]) -> str:
    """Only goals with something to meet are drawn.

    The scale counts in what must be: 1 is just met, more is better, whether the goal is a
    least or a most.
    """
    drawn = [each for each in judged if each.goal.must is not None]
    height = _TOP + _LINE * len(drawn) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{_x(1)}" y="16" text-anchor="middle" fill="#24292f">must</text>',
    ]
    for mark in (0.25, 0.5, 1, 2, 4):
        colour = "#24292f" if mark == 1 else "#d0d7de"
        parts.append(
            f'<path d="M{_x(mark)} {_TOP - 8}V{height - 12}" stroke="{colour}"/>'
            f'<text x="{_x(mark)}" y="{_TOP - 14}" text-anchor="middle" '
            f'fill="{_GREY}">{mark:g}</text>'
        )
    for line, each in enumerate(drawn):
        parts.append(_line(each, _TOP + _LINE * line + _LINE / 2))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(judged: Judged, y: float) -> str:
    goal = judged.goal
    assert goal.must is not None
    colour = _MET if judged.meets_must else _MISSED
    value = ratio(judged.value) if goal.against else f"{number(judged.value)} {goal.unit}"
    place = _x(_part(judged.value, goal.must, less=goal.less))
    parts = [
        f'<text x="8" y="{y + 4}" fill="#24292f">{escape(goal.name)}</text>',
        f'<path d="M{_x(1)} {y}H{place}" stroke="{colour}" stroke-width="3"/>',
        f'<circle cx="{place}" cy="{y}" r="5" fill="{colour}"/>',
        f'<text x="{_WIDTH - 8}" y="{y + 4}" text-anchor="end" fill="{colour}">{value}</text>',
    ]
    if goal.goal is not None:
        at = _x(_part(goal.goal, goal.must, less=goal.less))
        title = f"<title>goal: {goal.goal:g}</title>"
        parts.append(
            f'<path d="M{at} {y - 7}V{y + 7}" stroke="{_GREY}" stroke-width="2">{title}</path>'
        )
    return "\n".join(parts)


def _part(value: float, must: float, *, less: bool) -> float:
    """How many times as good as it must be; nothing is infinitely good."""
    return must / max(value, 1e-9) if less else value / must


def _x(part: float) -> float:
    share = math.log(min(max(part, _LEAST), _MOST) / _LEAST) / math.log(_MOST / _LEAST)
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)
