"""`benchvise histogram`: exact counts and statistics of one layer."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import numpy as np

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_path, whole
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import pairs
from benchvise.core.protocol.requests import Look
from benchvise.core.protocol.results import Histogram, Looked, Statistics
from benchvise.core.text import number_text

SHOWN_ROWS = 24
BAR_CELLS = 48


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    parser.add_argument("layer", metavar="LAYER", help="a layer's name, as `benchvise inspect` lists it")
    parser.add_argument("--bins", metavar="N", type=whole(1), default=256, help="uniform bins (256)")


def _run(arguments: Namespace) -> Reply:
    looked = carry_out(Look(arguments.path, arguments.layer, arguments.bins), Looked, arguments)
    statistics = looked.statistics
    data = {
        "path": arguments.path,
        "layer": looked.layer,
        "edges": looked.before.edges,
        "counts": looked.before.counts,
        "statistics": fields_of(statistics) | {"zero_fraction": statistics.zero_fraction},
    }
    return Reply(data, _lines(looked))


def _lines(looked: Looked) -> Iterator[str]:
    yield f"{looked.layer}, bars on a logarithmic scale"
    yield ""
    yield from histogram_lines(looked.before)
    yield ""
    yield from pairs(_in_words(looked.statistics))


def histogram_lines(histogram: Histogram) -> Iterator[str]:
    """The histogram in at most SHOWN_ROWS rows, on a logarithmic scale so that outliers show."""
    bins = len(histogram.counts)
    if not bins:
        return
    starts = np.unique(np.linspace(0, bins, min(bins, SHOWN_ROWS) + 1).astype(int))[:-1]
    sums = np.add.reduceat(histogram.counts, starts)
    most = int(sums.max())
    for start, total in zip(starts, sums, strict=True):
        cells = round(BAR_CELLS * math.log1p(total) / math.log1p(most)) if most else 0
        yield f"{histogram.edges[start]:>12.5g}  {'█' * cells:<{BAR_CELLS}}  {total:>14,}"
    yield f"{histogram.edges[-1]:>12.5g}"


def _in_words(statistics: Statistics) -> list[tuple[str, str]]:
    return [
        ("values", f"{statistics.count:,}"),
        ("least", number_text(statistics.minimum)),
        ("greatest", number_text(statistics.maximum)),
        ("mean", number_text(statistics.mean)),
        ("standard deviation", number_text(statistics.std)),
        ("excess kurtosis", number_text(statistics.kurtosis)),
        ("zeros", f"{statistics.zeros:,} ({statistics.zero_fraction:.2%})"),
        ("beyond six deviations", f"{statistics.outliers:,}"),
        ("not a number", f"{statistics.nan:,}"),
        ("infinite", f"{statistics.infinite:,}"),
    ]


HISTOGRAM = Subcommand("histogram", "exact histogram and statistics of one layer", _add_arguments, _run)
