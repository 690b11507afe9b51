"""How the scale of a cell of weights follows from their largest magnitude, and in which numbers it is stored."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_E8M0_LEAST, _E8M0_GREATEST = -127, 127


class ScaleRule(ABC):
    """Scales are float32 tensors of any shape here, always of values that can be stored exactly.

    over_matrix: whether `observe` must be told the largest magnitude of the whole matrix first.
    """

    over_matrix = False

    def observe(self, magnitude: float) -> None:  # noqa: B027 - most rules look at single cells alone
        """Take note of the largest magnitude of the whole matrix."""

    @abstractmethod
    def first(self, magnitude: Tensor) -> list[Tensor]:
        """Scales to try for cells of these largest magnitudes, float32 [cells, spans]; of equal errors the first wins.

        One alone is taken as it is.
        """

    def closer(self, best: Tensor) -> list[Tensor]:  # noqa: ARG002 - subclasses look around it
        """Scales to try around the best ones so far."""
        return []

    def step(self, scale: Tensor) -> Tensor:
        """What elements are multiplied with."""
        return scale

    @abstractmethod
    def stored(self, scale: Tensor) -> dict[str, Tensor]:
        """The tensors that hold the scales [cells, spans]."""


class RealScale(ScaleRule):
    """magnitude · f / largest for each factor f, within the normal numbers of `dtype` and rounded to it.

    largest: of the element, so that the factor 1 maps the largest weight to it. weight: the dtype of the weights, which
    every element times every scale must fit.
    refine: factors on the best scale, tried in a second round.
    smallest: allow scales down to the least subnormal number: for elements without zero, whose least must vanish when
    all weights do.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        weight: torch.dtype,
        largest: float,
        *,
        factors: Sequence[float] = (1.0,),
        refine: Sequence[float] = (),
        smallest: bool = False,
    ) -> None:
        limits = torch.finfo(dtype)
        self.dtype, self.largest, self.factors, self.refine = dtype, largest, tuple(factors), tuple(refine)
        self.least = limits.tiny * limits.eps if smallest else limits.tiny
        self.greatest = _at_most(min(limits.max, _reach(weight) / largest), dtype)

    def first(self, magnitude: Tensor) -> list[Tensor]:
        # By a tensor, since on a GPU torch divides by a number through its reciprocal, which rounds differently.
        largest = magnitude.new_tensor(self.largest)
        return [self._storable(magnitude * factor / largest) for factor in self.factors]

    def closer(self, best: Tensor) -> list[Tensor]:
        return [self._storable(best * factor) for factor in self.refine]

    def stored(self, scale: Tensor) -> dict[str, Tensor]:
        return {"weight_scale": scale.to(self.dtype)}

    def _storable(self, scale: Tensor) -> Tensor:
        return scale.clamp_(self.least, self.greatest).to(self.dtype).float()


class PowerOfTwoScale(ScaleRule):
    """2^(⌊log₂ magnitude⌋ − exponent + offset) for each offset, stored as E8M0; cells of zeros have the least scale.

    exponent: of the element's largest power of two. Source: OCP MX v1.0, sections 5.4.1 (E8M0) and 6.3 (conversion).
    """

    def __init__(self, weight: torch.dtype, largest: float, exponent: int, offsets: Sequence[int] = (0,)) -> None:
        self.exponent, self.offsets = exponent, tuple(offsets)
        self.greatest = min(_E8M0_GREATEST, math.floor(math.log2(_reach(weight) / largest)))

    def first(self, magnitude: Tensor) -> list[Tensor]:
        exponent = torch.frexp(magnitude)[1].sub_(1 + self.exponent)
        exponent[magnitude == 0] = _E8M0_LEAST
        return [power_of_two((exponent + offset).clamp_(_E8M0_LEAST, self.greatest)) for offset in self.offsets]

    def stored(self, scale: Tensor) -> dict[str, Tensor]:
        biased = torch.frexp(scale)[1].sub_(1 + _E8M0_LEAST).to(torch.uint8)
        return {"weight_scale": biased.view(torch.float8_e8m0fnu)}


class TwoLevelScale(ScaleRule):
    """An E4M3 scale per cell over one float32 divisor for the matrix, chosen so that the largest cell's scale is 448.

    largest: of the element. offsets: neighbours in E4M3 to try, counted in codes.
    Source: NVIDIA, arXiv 2509.25149, appendix C: the encode scale 448 · 6 / max|W|, stored as the divisor, as
    nvfp4-pack-quantized of compressed-tensors has it. Other scales than the largest magnitude's: arXiv 2512.02010.
    """

    over_matrix = True
    _GREATEST_CODE = 0x7E  # 448; the code after it is NaN
    _SCALE = torch.float8_e4m3fn

    def __init__(self, weight: torch.dtype, largest: float, offsets: Sequence[int] = (0,)) -> None:
        self.largest, self.offsets = largest, tuple(offsets)
        # A few roundings below the greatest number, so that no product passes it.
        self._bound = _reach(weight) * (1 - 2.0**-20)
        self.divisor = torch.ones(1)

    def observe(self, magnitude: float) -> None:
        amax = torch.tensor([magnitude]).clamp_(max=self._bound)
        divisor = torch.finfo(self._SCALE).max * self.largest / amax
        # Without a weight that a float32 divisor could serve: no scaling, as compressed-tensors does.
        self.divisor = torch.where(divisor.isfinite(), divisor, 1.0)

    def first(self, magnitude: Tensor) -> list[Tensor]:
        scale = magnitude / magnitude.new_tensor(self.largest) * self.divisor.to(magnitude.device)
        codes = scale.clamp_(max=torch.finfo(self._SCALE).max).to(self._SCALE).view(torch.uint8).to(torch.int16)
        return [self._of_codes((codes + offset).clamp_(1, self._GREATEST_CODE)) for offset in self.offsets]

    def step(self, scale: Tensor) -> Tensor:
        return scale / self.divisor.to(scale.device)

    def stored(self, scale: Tensor) -> dict[str, Tensor]:
        return {"weight_scale": scale.to(self._SCALE), "weight_global_scale": self.divisor.clone()}

    def _of_codes(self, codes: Tensor) -> Tensor:
        return codes.to(torch.uint8).view(self._SCALE).float()


def stored_steps(stored: Mapping[str, Tensor]) -> Tensor:
    """What elements are multiplied with, float32 [cells, spans], from the tensors that a rule stored."""
    step = stored["weight_scale"].float()
    return step / stored["weight_global_scale"] if "weight_global_scale" in stored else step


def power_of_two(exponent: Tensor) -> Tensor:
    """2^exponent, float32 of any shape, exactly, of whole numbers from −149 to 127."""
    table = torch.tensor([2.0**power for power in range(-149, 128)])
    return table.to(exponent.device).index_select(0, (exponent.reshape(-1) + 149).int()).view(exponent.shape)


def _reach(weight: torch.dtype) -> float:
    """The greatest number that weights in this dtype may become; they are computed in float32."""
    return min(torch.finfo(weight).max, torch.finfo(torch.float32).max)


def _at_most(limit: float, dtype: torch.dtype) -> float:
    """The greatest number of `dtype` that is not above `limit`."""
    rounded = torch.tensor(limit, dtype=torch.float64).to(dtype)
    down = torch.nextafter(rounded, torch.zeros_like(rounded))
    return float(rounded if float(rounded) <= limit else down)
