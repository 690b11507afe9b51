"""The passes over a tensor of 32- or 64-bit values: what can be added up at once, and what needs those sums first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchvise.core.analysis.decoding import Finite, FloatArray, IntArray, split_finite
from benchvise.core.analysis.histogram import PIECE, count_in_bins
from benchvise.core.analysis.moments import Moments, moments_of
from benchvise.core.analysis.order_statistics import DIGIT_BITS, Digits, Selection, sortable_keys
from benchvise.core.analysis.source import flat_pieces
from benchvise.core.analysis.value_counts import count_patterns
from benchvise.core.checkpoint.read import RawArray


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over values finds out; the extremes are infinite where there is no finite value."""

    zeros: int = 0
    nan: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    moments: Moments = field(default_factory=Moments)

    def merged(self, other: Survey) -> Survey:
        """The survey of both sets of values together."""
        return Survey(
            zeros=self.zeros + other.zeros,
            nan=self.nan + other.nan,
            pos_inf=self.pos_inf + other.pos_inf,
            neg_inf=self.neg_inf + other.neg_inf,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            moments=self.moments.merged(other.moments),
        )


@dataclass(frozen=True)
class Question:
    """What a later pass counts.

    edges:     float64 [bins + 1] of a histogram, or None.
    centre:    finite values further from it than `limit` are outliers.
    selection: the ranks that are being narrowed down.
    """

    edges: FloatArray | None
    centre: float
    limit: float
    selection: Selection


@dataclass(frozen=True)
class Answer:
    """Counts for a question: int64 `bins` [bins] (empty without edges), outliers, `digits` [targets, 65536]."""

    bins: IntArray
    outliers: int
    digits: IntArray

    def merged(self, other: Answer) -> Answer:
        """The counts over both sets of values."""
        return Answer(self.bins + other.bins, self.outliers + other.outliers, self.digits + other.digits)


def survey_block(rows: RawArray) -> tuple[Survey, IntArray]:
    """Survey a block of rows of 32- or 64-bit values, and count the first digits of their keys: int64 [1, 65536]."""
    survey = Survey()
    selection = Selection.start(rows.itemsize * 8)
    digits: list[list[Digits]] = [[]]
    for piece in flat_pieces(rows, PIECE):
        finite = split_finite(piece)
        survey = survey.merged(_survey_piece(finite))
        digits[0] += selection.digits(sortable_keys(finite.values))
    return survey, _count_digits(digits)


def answer_block(rows: RawArray, question: Question) -> Answer:
    """Count what is asked for in a block of rows of 32- or 64-bit values."""
    bins = np.zeros(0 if question.edges is None else question.edges.size - 1, np.int64)
    outliers = 0
    digits: list[list[Digits]] = [[] for _ in question.selection.targets]
    for piece in flat_pieces(rows, PIECE):
        finite = split_finite(piece).values
        values = finite.astype(np.float64)
        if question.edges is not None:
            bins += count_in_bins(values, question.edges)
        outliers += _count_outliers(values, question.centre, question.limit)
        for found, more in zip(digits, question.selection.digits(sortable_keys(finite)), strict=True):
            found.append(more)
    return Answer(bins, outliers, _count_digits(digits))


def narrow_block(rows: RawArray, selection: Selection) -> IntArray:
    """Count the next digits of the selection's targets in a block of rows: int64 [targets, 65536]."""
    digits: list[list[Digits]] = [[] for _ in selection.targets]
    for piece in flat_pieces(rows, PIECE):
        keys = sortable_keys(split_finite(piece).values)
        for found, more in zip(digits, selection.digits(keys), strict=True):
            found.append(more)
    return _count_digits(digits)


def _survey_piece(finite: Finite) -> Survey:
    values = finite.values
    if not values.size:
        return Survey(nan=finite.nan, pos_inf=finite.pos_inf, neg_inf=finite.neg_inf)
    return Survey(
        zeros=values.size - int(np.count_nonzero(values)),
        nan=finite.nan,
        pos_inf=finite.pos_inf,
        neg_inf=finite.neg_inf,
        minimum=float(values.min()),
        maximum=float(values.max()),
        moments=moments_of(values.astype(np.float64)),
    )


def _count_outliers(values: FloatArray, centre: float, limit: float) -> int:
    """How many values are further from the centre than the limit; none if the limit is NaN."""
    if not values.size:
        return 0
    with np.errstate(over="ignore"):
        if max(values.max() - centre, centre - values.min()) <= limit:
            return 0
        return int(np.count_nonzero(np.abs(values - centre) > limit))


def _count_digits(digits: Sequence[Sequence[Digits]]) -> IntArray:
    """Occurrences of each digit: int64 [targets, 65536] from one list of arrays for each target."""
    counts = np.zeros((len(digits), 2**DIGIT_BITS), np.int64)
    for target, found in enumerate(digits):
        if found:
            counts[target] = count_patterns(np.concatenate(found), DIGIT_BITS)
    return counts
