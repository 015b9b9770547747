"""Tables: readable at 80 columns on a terminal, and plain columns for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

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


class Column:
    """A heading, and how what is below it is laid out.

    `number`: to the right. `words`: may be broken into lines between words; everything else
    between characters, and only where there is no other way. `empty`: left out where no row
    has anything in it.
    """

    def __init__(
        self, heading: str, *, number: bool = False, words: bool = False, coloured: bool = False
    ) -> None:
        self.heading = heading
        self.number = number
        self.words = words
        self.coloured = coloured


def show_table(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Write one; a column with nothing in it is left out. Lines only on a terminal."""
    used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    table = Table(
        box=box.SIMPLE_HEAD if console.is_terminal else None,
        show_edge=False,
        pad_edge=False,
        # Two spaces between columns, in which a box takes one.
        padding=(0, 1, 0, 0) if console.is_terminal else (0, 2, 0, 0),
        header_style="bold",
    )
    for place in used:
        column = columns[place]
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            no_wrap=column.number,
            overflow="fold",
            min_width=24 if column.words else None,
        )
    for row in rows:
        table.add_row(
            *(
                Text(
                    row[place], style=_STYLES.get(row[place], "") if columns[place].coloured else ""
                )
                for place in used
            )
        )
    console.print(table)
