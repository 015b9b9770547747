"""Tables: readable at 80 columns on a terminal, and plain columns for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from aosd.aosctl.words import seen

if TYPE_CHECKING:
    from rich.console import Console

GOOD, BAD, DOUBTFUL = "green", "red", "yellow"

_STYLES = {
    "up": GOOD,
    "ok": GOOD,
    "down": BAD,
    "bad": BAD,
    "suspect": DOUBTFUL,
    "returning": DOUBTFUL,
    "full": DOUBTFUL,
    "draining": DOUBTFUL,
    "joining": DOUBTFUL,
    "removing": DOUBTFUL,
    "unknown": DOUBTFUL,
    "look": DOUBTFUL,
}


_LEAST_WORDS = 24


class Column:
    """A heading, and how what is below it is laid out.

    `number`: to the right, and never broken into lines. `words`: broken into lines first, where
    there isn't room for all. `coloured`: a word that is good or bad.
    """

    def __init__(
        self, heading: str, *, number: bool = False, words: bool = False, coloured: bool = False
    ) -> None:
        self.heading = heading
        self.number = number
        self.words = words
        self.coloured = coloured


def show_table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write one; a column with nothing in it is left out."""
    used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    columns = [columns[place] for place in used]
    rows = [[seen(row[place]) for place in used] for row in rows]
    if not console.is_terminal:
        for line in plain_lines(columns, rows):
            console.print(line)
        return
    # Two spaces between columns, of which the box is one.
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for column in columns:
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
            min_width=_LEAST_WORDS if column.words else None,
        )
    for row in rows:
        table.add_row(
            *(
                Text(cell, style=_STYLES.get(cell, "") if column.coloured else "")
                for column, cell in zip(columns, row, strict=True)
            )
        )
    console.print(table)


def plain_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """A row a line, two spaces between columns, and nothing at the ends of lines."""
    lines = [[column.heading for column in columns], *rows]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(columns))]
    written = []
    for line in lines:
        cells = []
        for column, cell, width in zip(columns, line, widths, strict=True):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if column.number else cell + space)
        written.append("  ".join(cells).rstrip())
    return written
