"""Normal float: levels at the quantiles of a bell curve, times a scale per tensor, row or group."""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist

import torch
from torch import Tensor

from benchvise.core.kernels.clip import shrink_factors
from benchvise.core.kernels.packing import pack_rows
from benchvise.core.methods.codebook import Codebook
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.integer_grid import scale_dtype

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""As published, to the last bit. Source: arXiv 2305.14314, appendix E."""


_CHUNK_WEIGHTS = 1 << 19
"""Searched at a time."""


@lru_cache(maxsize=8)
def normal_float_levels(bits: int) -> tuple[float, ...]:
    """The 2**bits levels from −1 to 1, ascending, 0 among them; `bits` from 2 to 8.

    One more level lies above zero than below. The outermost quantile leaves out the mean of 1/(2·2ᵇ) and
    1/(2·(2ᵇ − 1)) of the probability. Source: arXiv 2305.14314, section 3.
    """
    if bits == 4:
        return NF4
    return quantiles_of_normal(bits)


def quantiles_of_normal(bits: int) -> tuple[float, ...]:
    """The rule behind the published table, for any number of bits."""
    count = 1 << bits
    outermost = 1 - (1 / (2 * count) + 1 / (2 * (count - 1))) / 2
    above, below = _half(outermost, count // 2), _half(outermost, count // 2 - 1)
    return (*(-level / above[0] for level in below), 0.0, *(level / above[0] for level in reversed(above)))


def _half(outermost: float, count: int) -> list[float]:
    """Quantiles at `count` probabilities evenly from `outermost` towards, and without, one half; descending."""
    normal = NormalDist()
    return [normal.inv_cdf(outermost + (0.5 - outermost) * step / count) for step in range(count)]


class NormalFloatGrid(Grid):
    """Scales are kept as float32 [spans, rows], or [1, 1] for the whole tensor."""

    def __init__(
        self, settings: Codebook, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span = settings.group_columns(columns)
        self.clip = clip
        self.table = torch.tensor(normal_float_levels(settings.bits))
        self._middles = middles(self.table)
        self._whole = settings.granularity == "tensor"
        self.scale = torch.ones(1, 1) if self._whole else torch.ones(columns // self.span, rows)

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        self._move(values.device)
        spans = values.shape[1] // self.span
        grouped = values.reshape(1, 1, -1) if self._whole else values.reshape(len(values), spans, self.span)
        weights = None
        if importance is not None:
            weights = importance.view(1, spans, self.span)
            if self._whole:
                weights = importance.expand(len(values), -1).reshape(1, 1, -1)
        scale = self._searched_in_parts(grouped, weights)
        first = start // self.span
        self.scale[first : first + spans] = scale.T

    def encode(self, start: int, values: Tensor) -> Tensor:
        normal = values / self._scales(start, values.shape[1])
        return torch.bucketize(normal.contiguous(), self._middles, out_int32=True).to(torch.uint8)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        return (self.table[codes.int()] * self._scales(start, codes.shape[1])).to(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        scale = self.scale.T.to(scale_dtype(self.dtype)).contiguous()
        return {"weight_packed": pack_rows(codes.contiguous(), self.settings.bits), "weight_scale": scale}

    def _scales(self, start: int, columns: int) -> Tensor:
        """The scale of each of the columns, [rows, columns], or [rows, 1] within one span."""
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return self.scale[first][:, None]
        spans = torch.arange(start, start + columns, device=self.scale.device) // self.span
        return self.scale[spans].T

    def _searched_in_parts(self, values: Tensor, importance: Tensor | None) -> Tensor:
        """As `_searched`, for some rows at a time."""
        rows, step = len(values), max(2, _CHUNK_WEIGHTS // max(1, values[0].numel()))
        found = values.new_empty(values.shape[:2])
        for row in range(0, rows, step):
            # A single row's sums would be added in another order.
            part = slice(max(0, min(row, rows - 2)), row + step)
            found[part] = self._searched(values[part], importance)
        return found

    def _searched(self, values: Tensor, importance: Tensor | None) -> Tensor:
        """Scale float32 [rows, spans] of values [rows, spans, span], with the best of the shrink factors."""
        largest = values.abs().amax(2)
        best = self._stored_scale(largest)
        if self.clip is None:
            return best
        least = self._error(values, best, importance)
        for factor in shrink_factors(self.clip.steps, self.clip.least)[1:]:
            self.progress.check_cancelled()
            scale = self._stored_scale(largest * factor)
            error = self._error(values, scale, importance)
            better = error < least
            best = torch.where(better, scale, best)
            least = torch.where(better, error, least)
        return best

    def _stored_scale(self, largest: Tensor) -> Tensor:
        limits = torch.finfo(scale_dtype(self.dtype))
        stored = largest.clamp(limits.tiny, limits.max).to(scale_dtype(self.dtype))
        return stored.clamp_(min=limits.tiny).float()

    def _error(self, values: Tensor, scale: Tensor, importance: Tensor | None) -> Tensor:
        """Σ h·(w − ŵ)² float64 [rows, spans]."""
        codes = torch.bucketize((values / scale[..., None]).contiguous(), self._middles, out_int32=True)
        error = (self.table[codes] * scale[..., None]).to(self.dtype).float().sub_(values).square_()
        return last_sums(error if importance is None else error.mul_(importance))

    def _move(self, device: torch.device) -> None:
        self.scale, self.table, self._middles = (t.to(device) for t in (self.scale, self.table, self._middles))


def middles(levels: Tensor) -> Tensor:
    """Halfway between neighbouring levels, float32 [..., levels − 1]: values above are nearer to the upper one."""
    wide = levels.double()
    return ((wide[..., 1:] + wide[..., :-1]) * 0.5).float()


def last_sums(values: Tensor) -> Tensor:
    """Sums float64 [...] over the last dimension of [..., n], in one order whatever the number of threads."""
    if values.shape[:-1].numel() == 1:
        # torch splits a sum between threads when it is the only one; a running sum it never splits.
        return values.cumsum(-1, dtype=torch.float64)[..., -1]
    return values.sum(-1, dtype=torch.float64)
