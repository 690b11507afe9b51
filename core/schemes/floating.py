"""The arithmetic of 8-bit floating numbers with a scale."""

from __future__ import annotations

from functools import lru_cache

import torch

from benchvise.core.kernels.clip import shrink_factors
from benchvise.core.methods.floating import DTYPES, Floating
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.element import Float8
from benchvise.core.schemes.scale_rule import RealScale
from benchvise.core.schemes.scaled import ScaledArithmetic


class FloatingArithmetic(ScaledArithmetic[Floating]):
    """The scale maps the largest magnitude to the largest number of the format."""

    scheme = Floating

    @classmethod
    def element(cls, settings: Floating) -> Float8:
        return float8(settings.number)

    @classmethod
    def rule(cls, settings: Floating, dtype: torch.dtype, clip: ClipSearch | None) -> RealScale:
        own = settings.scales == "weight" and dtype != torch.float64
        factors = (1.0,) if clip is None else shrink_factors(clip.steps, clip.least)
        return RealScale(dtype if own else torch.float32, dtype, cls.element(settings).largest, factors=factors)

    @classmethod
    def cell(cls, settings: Floating) -> tuple[int, int]:
        return settings.cell

    @classmethod
    def tuned(cls, settings: Floating) -> str:  # noqa: ARG003 - all of them
        return "weight_scale"


@lru_cache(maxsize=2)
def float8(number: str) -> Float8:
    """The 8-bit float of that name, "e4m3" or "e5m2"."""
    dtype: torch.dtype = getattr(torch, DTYPES[number])
    return Float8(dtype)
