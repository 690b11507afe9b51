"""What a tensor's values are like: extremes, moments, zeros, outliers and quantiles, all exact."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from benchvise.core.analysis.decoding import FloatArray, is_wide
from benchvise.core.analysis.histogram import Range, bin_edges, check_bins, histogram_of_counts
from benchvise.core.analysis.moments import moments_of_counts
from benchvise.core.analysis.order_statistics import (
    DIGIT_BITS,
    Quantile,
    Selection,
    quantile_at,
    quantiles_of_counts,
    value_of_key,
)
from benchvise.core.analysis.source import Source, map_in_order, observed_blocks, size_bytes
from benchvise.core.analysis.survey import Answer, Question, Survey, answer_block, narrow_block, survey_block
from benchvise.core.analysis.value_counts import PatternCounts, pattern_counts_of
from benchvise.core.checkpoint.read import raw_dtype
from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import Histogram, Statistics

OUTLIER_DEVIATIONS = 6.0
_FRACTIONS = (0.001, 0.01, 0.5, 0.99, 0.999)


def look(
    source: Source, bins: int, value_range: Range | None = None, *, progress: Progress, threads: int | None = None
) -> tuple[Histogram, Statistics]:
    """Histogram and statistics of a tensor of any real dtype, in as many passes as the statistics alone.

    One pass for types of at most 16 bits, two for 32 bits, four for 64 bits. Moments of float64 values beyond 1e77
    overflow. Advances in bytes. Raises CheckpointError for complex and unknown dtypes, UserError for bins that
    `check_bins` refuses.
    """
    check_bins(bins, value_range)
    if not is_wide(source.dtype):
        counts = pattern_counts_of(source, progress=progress, threads=threads)
        return histogram_of_counts(counts, bins, value_range), statistics_of_counts(counts)
    survey, selection = _survey(source, progress, threads)
    found_range = (survey.minimum, survey.maximum) if survey.moments.count else None
    edges = bin_edges(bins, value_range or found_range)
    answer = _answer(source, survey, selection, edges, progress, threads)
    return Histogram(edges, answer.bins), _finished(source, survey, selection, answer, progress, threads)


def statistics_of_counts(counts: PatternCounts) -> Statistics:
    """Statistics from counts by value, without reading data."""
    values = counts.values
    survey = Survey(
        zeros=int(counts.counts[values == 0].sum()),
        nan=counts.nan,
        pos_inf=counts.pos_inf,
        neg_inf=counts.neg_inf,
        minimum=float(values[0]) if values.size else math.inf,
        maximum=float(values[-1]) if values.size else -math.inf,
        moments=moments_of_counts(values, counts.counts),
    )
    centre, deviation = _centre_and_deviation(survey)
    far = np.abs(values - centre) > OUTLIER_DEVIATIONS * deviation
    quantiles = quantiles_of_counts(values, counts.counts, _FRACTIONS) if values.size else []
    return _statistics(survey, int(counts.counts[far].sum()), quantiles)


def _survey(source: Source, progress: Progress, threads: int | None) -> tuple[Survey, Selection]:
    """The first pass over a wide tensor, and the ranks of the quantiles known to 16 bits."""
    progress.start(size_bytes(source) * DTYPE_BITS[source.dtype] // DIGIT_BITS, "bytes")
    survey = Survey()
    digits = np.zeros((1, 2**DIGIT_BITS), np.int64)
    blocks = (rows for _, rows in observed_blocks(source, progress))
    for block, block_digits in map_in_order(blocks, survey_block, threads):
        survey = survey.merged(block)
        digits += block_digits
    ranks = [rank for place in _places(survey) for rank in (place.lower, place.upper)]
    return survey, Selection.start(DTYPE_BITS[source.dtype], ranks).refined(digits)


def _answer(
    source: Source,
    survey: Survey,
    selection: Selection,
    edges: FloatArray | None,
    progress: Progress,
    threads: int | None,
) -> Answer:
    """The second pass over a wide tensor: what needs the mean, the range, or the first digits."""
    centre, deviation = _centre_and_deviation(survey)
    question = Question(edges, centre, OUTLIER_DEVIATIONS * deviation, selection)
    answer = Answer(
        bins=np.zeros(0 if edges is None else edges.size - 1, np.int64),
        outliers=0,
        digits=np.zeros((len(selection.targets), 2**DIGIT_BITS), np.int64),
    )
    blocks = (rows for _, rows in observed_blocks(source, progress))
    for counted in map_in_order(blocks, partial(answer_block, question=question), threads):
        answer = answer.merged(counted)
    return answer


def _finished(
    source: Source, survey: Survey, selection: Selection, answer: Answer, progress: Progress, threads: int | None
) -> Statistics:
    """Statistics of a wide tensor; 64-bit types take another pass for each digit still unknown."""
    selection = selection.refined(answer.digits)
    while not selection.done:
        digits = np.zeros((len(selection.targets), 2**DIGIT_BITS), np.int64)
        blocks = (rows for _, rows in observed_blocks(source, progress))
        for counted in map_in_order(blocks, partial(narrow_block, selection=selection), threads):
            digits += counted
        selection = selection.refined(digits)
    values = [value_of_key(key, raw_dtype(source.dtype)) for key in selection.prefixes]
    pairs = zip(_places(survey), values[::2], values[1::2], strict=True)
    return _statistics(survey, answer.outliers, [place.between(low, high) for place, low, high in pairs])


def _places(survey: Survey) -> list[Quantile]:
    count = survey.moments.count
    return [quantile_at(fraction, count) for fraction in _FRACTIONS] if count else []


def _centre_and_deviation(survey: Survey) -> tuple[float, float]:
    """Mean and standard deviation; those of a constant are exact instead of rounded sums."""
    if survey.minimum == survey.maximum:
        return survey.minimum, 0.0
    return (survey.moments.mean, survey.moments.deviation) if survey.moments.count else (math.nan, math.nan)


def _statistics(survey: Survey, outliers: int, quantiles: list[float]) -> Statistics:
    finite = survey.moments.count
    count = finite + survey.nan + survey.pos_inf + survey.neg_inf
    centre, deviation = _centre_and_deviation(survey)
    return Statistics(
        count=count,
        minimum=survey.minimum if finite else math.nan,
        maximum=survey.maximum if finite else math.nan,
        mean=centre,
        std=deviation,
        kurtosis=survey.moments.excess_kurtosis if deviation > 0 else math.nan,
        zeros=survey.zeros,
        nan=survey.nan,
        infinite=survey.pos_inf + survey.neg_inf,
        outliers=outliers,
        abs_max=max(abs(survey.minimum), abs(survey.maximum)) if finite else math.nan,
        quantiles=tuple(zip(_FRACTIONS, quantiles or [math.nan] * len(_FRACTIONS), strict=True)),
    )
