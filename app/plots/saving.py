"""A plot's picture and data as files: PNG, SVG and CSV, each written whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPoint, QRect, QRectF, QSaveFile
from PySide6.QtGui import QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgGenerator

from benchvise.core.errors import OutputError
from benchvise.core.language import tr

Cell = str | int | float | None


@dataclass(frozen=True)
class Data:
    """What a plot shows, as a table: titles of the columns, and the rows at full precision (lazily)."""

    titles: tuple[str, ...]
    rows: Iterable[Iterable[Cell]]


def image_of(canvas: pg.GraphicsLayoutWidget, scale: float) -> QImage:
    """The canvas drawn anew at `scale` times its resolution."""
    size = canvas.viewport().size()
    image = QImage(size * scale, QImage.Format.Format_ARGB32_Premultiplied)
    image.setDevicePixelRatio(scale)
    image.fill(canvas.backgroundBrush().color())
    with QPainter(image) as painter:
        canvas.render(painter, QRectF(0, 0, size.width(), size.height()), canvas.viewport().rect())
    return image


def png_of(image: QImage) -> bytes:
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    QImageWriter(buffer, QByteArray(b"png")).write(image)
    return bytes(buffer.data().data())


def svg_of(canvas: pg.GraphicsLayoutWidget) -> bytes:
    """The scene as SVG with text kept as text."""
    buffer = QBuffer()
    size = canvas.viewport().size()
    generator = QSvgGenerator(QSvgGenerator.SvgVersion.Svg11)
    generator.setOutputDevice(buffer)
    # The axes are recorded pictures, which are scaled where the resolutions differ.
    generator.setResolution(canvas.logicalDpiX())
    generator.setSize(size)
    generator.setViewBox(QRect(QPoint(0, 0), size))
    with QPainter(generator) as painter:
        canvas.render(painter, QRectF(0, 0, size.width(), size.height()), canvas.viewport().rect())
    return bytes(buffer.data().data())


def csv_of(data: Data) -> bytes:
    """RFC 4180 with a header; numbers in the shortest form that reads back to the same value."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(data.titles)
    writer.writerows([_exact(cell) for cell in row] for row in data.rows)
    return text.getvalue().encode("utf-8")


def tsv_of(data: Data) -> str:
    """The table for the clipboard."""
    lines: Iterator[list[str]] = ([_exact(cell) for cell in row] for row in data.rows)
    return "\n".join("\t".join(line) for line in [list(data.titles), *lines])


def write_whole(path: Path, content: bytes) -> None:
    """Write the file, replacing an older one only when all is written. Raises OutputError."""
    file = QSaveFile(str(path))
    if file.open(QIODevice.OpenModeFlag.WriteOnly) and file.write(content) == len(content) and file.commit():
        return
    raise OutputError(
        tr("The file cannot be written: {errorString}", errorString=file.errorString()),
        where=str(path),
        remedy=tr("Choose another place."),
    )


def _exact(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, np.generic):
        # A float32 prints shortest as float32; widened to float64 it would show digits that are not in the data.
        return np.format_float_positional(cell, trim="-") if isinstance(cell, np.floating) else str(cell)
    return repr(cell) if isinstance(cell, float) else str(cell)
