"""What can be seen of weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchvise.core.protocol.results.basis import Counts, Floats, Floats32


@dataclass(frozen=True)
class Histogram:
    """How many finite values fall between neighbouring edges; the last bin includes its upper edge.

    edges:  float64 [bins + 1], ascending, evenly spaced.
    counts: int64 [bins]; NaN, infinities and values outside the edges are not counted.
    """

    edges: Floats
    counts: Counts


@dataclass(frozen=True)
class Statistics:
    """What the values of one tensor are like, exactly, in its own unit. Without finite values the floats are NaN.

    count:     all values; `nan` and `infinite` (both signs) of them are not finite. All else is of the finite ones.
    std:       of the population (divided by n).
    kurtosis:  excess: 0 for a normal distribution; NaN for a constant.
    outliers:  values further than six standard deviations from the mean.
    quantiles: (fraction, value) at the fractions 0.001, 0.01, 0.5, 0.99 and 0.999, interpolated as `np.quantile` does.
    """

    count: int
    minimum: float
    maximum: float
    mean: float
    std: float
    kurtosis: float
    zeros: int
    nan: int
    infinite: int
    outliers: int
    abs_max: float
    quantiles: tuple[tuple[float, float], ...] = ()

    @property
    def zero_fraction(self) -> float:
        """Zeros among all values; 0 for an empty tensor."""
        return self.zeros / self.count if self.count else 0.0


@dataclass(frozen=True)
class Looked:
    """A layer's histogram and statistics, and the same after a treatment.

    grid: values of the quantisation grid within the histogram's range, of the group with the largest scale, [levels];
    sqnr_db: of the whole layer, None without `after`.
    """

    layer: str
    before: Histogram
    statistics: Statistics
    after: Histogram | None = None
    statistics_after: Statistics | None = None
    grid: Floats | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class HeatMap:
    """Cells of a matrix, each showing the value of largest magnitude in it, with its sign.

    values:       float32 [cell rows, cell columns]; NaN where a cell holds nothing but NaN; infinities stay.
    row_edges:    int64 [cell rows + 1]; cell i covers rows row_edges[i] to row_edges[i + 1] of the matrix.
    column_edges: int64 [cell columns + 1], the same for columns.
    limit:        99.9th percentile of the finite |cells|: what a zero-centred colour map should reach.
    extreme:      the largest finite |cell|, that of the whole matrix. Both are 0 without finite cells.
    """

    values: Floats32
    row_edges: Counts
    column_edges: Counts
    limit: float
    extreme: float


@dataclass(frozen=True)
class LookedMap:
    layer: str
    weight: HeatMap
    error: HeatMap | None = None


@dataclass(frozen=True)
class ChannelRanges:
    """Ranges of every row or of every column of a weight as a matrix; all float32 [channels].

    Of finite values only; a channel without any is NaN throughout.
    """

    minimum: Floats32
    maximum: Floats32
    abs_max: Floats32
    mean: Floats32


@dataclass(frozen=True)
class LookedChannels:
    layer: str
    outputs: ChannelRanges
    inputs: ChannelRanges


@dataclass(frozen=True)
class SameInBits:
    """A layer as integers: the tag of the treatment, its exact bytes, and the KL it adds, estimated."""

    tag: str
    nbytes: int
    kl: float


@dataclass(frozen=True)
class LookedSpectrum:
    """shape: rows and columns of the weight as a matrix. nbytes: of the layer; of_rank: of the factors for each rank.

    largest: the largest rank whose factors are smaller than the layer's values; 0 where none is.
    values:  singular values, float64 [n], descending. kl: that rank 0, 1, … n adds, estimated, float64 [n + 1]; None
             where it was not asked for. bits: the layer in integers instead, by rising bytes, likewise.
    """

    layer: str
    shape: tuple[int, int]
    nbytes: int
    of_rank: int
    largest: int
    values: Floats
    kl: Floats | None = None
    bits: tuple[SameInBits, ...] = ()

    @property
    def energy(self) -> Floats:
        """The share of the sum of squares that the first 0, 1, … n values have, float64 [n + 1]."""
        sums = np.concatenate(([0.0], np.cumsum(np.square(self.values))))
        found: Floats = sums / sums[-1] if sums[-1] > 0 else np.ones_like(sums)
        return found

    def rank_of(self, energy: float) -> int:
        """The least rank that keeps so much of the energy, from 0 to 1."""
        return int(np.argmax(self.energy >= min(energy, float(self.energy[-1])) - 1e-12))

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the singular values as shares (Roy and Vetterli 2007); 0 for a weight of zeros."""
        total = float(self.values.sum())
        shares = self.values[self.values > 0] / total if total > 0 else self.values[:0]
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0

    def same_bytes(self, rank: int) -> SameInBits | None:
        """The layer in as many bits as the bytes of that rank pay for; None where that is not known or too few."""
        within = [each for each in self.bits if each.nbytes <= rank * self.of_rank]
        return max(within, key=lambda each: each.nbytes) if within else None


@dataclass(frozen=True)
class LayerDifference:
    """One layer of two checkpoints, a and b.

    changed: whether any value, or the shape, differs, or only one of the two has the layer.
    relative_difference: the Frobenius norm of b − a over that of a; None where both cannot be subtracted, or a is zero.
    bits_a, bits_b: stored bits for each value, scales included; None where there is no such layer.
    scheme_a, scheme_b: the schemes that they are stored compressed with, "" for none.
    """

    name: str
    changed: bool
    relative_difference: float | None = None
    bits_a: float | None = None
    bits_b: float | None = None
    scheme_a: str = ""
    scheme_b: str = ""


@dataclass(frozen=True)
class LayersCompared:
    """Two checkpoints side by side. histogram: of the differences b − a of the layer `counted`, where one was named."""

    layers: tuple[LayerDifference, ...]
    counted: str = ""
    histogram: Histogram | None = None
