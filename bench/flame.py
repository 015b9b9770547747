"""A flame graph as a small SVG, from collapsed stacks: `a;b;c 12` a line, the root first."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_WIDTH, _ROW, _TOP, _LETTER = 1000, 15, 22, 6.2


@dataclass
class _Frame:
    count: int = 0
    children: dict[str, _Frame] = field(default_factory=dict)


def flame_graph(stacks: Iterable[str], title: str, least_part: float = 0.006) -> str:
    """Frames with less than `least_part` of all samples are left out, to keep it small."""
    root = _Frame()
    for line in stacks:
        names, _, count = line.rpartition(" ")
        root.count += int(count)
        frame = root
        for name in names.split(";"):
            frame = frame.children.setdefault(name, _Frame())
            frame.count += int(count)
    least = max(1.0, root.count * least_part)
    height = _TOP + _ROW * _depth(root, least) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="monospace" font-size="10">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="4" y="14">{escape(title)}: {root.count} samples</text>',
    ]
    _draw(root, 0.0, _TOP, _WIDTH / max(1, root.count), least, root.count, parts)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _depth(frame: _Frame, least: float) -> int:
    shown = [each for each in frame.children.values() if each.count >= least]
    return 1 + max(_depth(each, least) for each in shown) if shown else 0


def _draw(
    frame: _Frame, x: float, y: int, scale: float, least: float, total: int, parts: list[str]
) -> None:
    for name, child in sorted(frame.children.items()):
        width = child.count * scale
        if child.count >= least:
            told = escape(f"{name} {child.count / total:.1%}")
            # The same function has the same colour wherever it stands.
            hue = zlib.crc32(name.split(":")[0].encode()) % 40 + 15
            parts.append(
                f'<g><title>{told}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" '
                f'height="{_ROW - 1}" fill="hsl({hue},85%,70%)"/>'
            )
            letters = int((width - 4) / _LETTER)
            if letters >= 3:
                parts.append(f'<text x="{x + 2:.1f}" y="{y + 11}">{escape(name[:letters])}</text>')
            parts.append("</g>")
            _draw(child, x, y + _ROW, scale, least, total, parts)
        x += width
