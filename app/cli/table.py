"""Tables of aligned columns for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextColumn:
    """A heading with its unit beside it; `right` aligns numbers."""

    title: str
    unit: str = ""
    right: bool = False

    @property
    def heading(self) -> str:
        return f"{self.title} [{self.unit}]" if self.unit else self.title


def text(title: str) -> TextColumn:
    """A column of words, aligned on the left."""
    return TextColumn(title)


def number(title: str, unit: str = "") -> TextColumn:
    """A column of numbers, aligned on the right."""
    return TextColumn(title, unit, right=True)


def table(columns: Sequence[TextColumn], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Heading and rows as lines, every column as wide as its widest cell."""
    cells = [[column.heading for column in columns], *([*row] for row in rows)]
    widths = [max(width_of(row[place]) for row in cells) for place in range(len(columns))]
    for row in cells:
        yield "  ".join(_padded(*cell) for cell in zip(row, widths, columns, strict=True)).rstrip()


def pairs(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Names and values in two columns, without a heading."""
    listed = list(rows)
    width = max((width_of(name) for name, _ in listed), default=0)
    for name, value in listed:
        yield f"{name}{' ' * (width - width_of(name))}  {value}".rstrip()


def width_of(shown: str) -> int:
    """Cells a terminal takes for `shown`: two for wide characters, none for combining ones."""
    if shown.isascii():
        return len(shown)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in shown
    )


def _padded(cell: str, width: int, column: TextColumn) -> str:
    space = " " * (width - width_of(cell))
    return space + cell if column.right else cell + space
