"""The arithmetic of small floats under a scale per short block: MXFP4, MXFP8 and NVFP4."""

from __future__ import annotations

from functools import lru_cache

import torch

from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.element import Element, Float4
from benchvise.core.schemes.floating import float8
from benchvise.core.schemes.scale_rule import PowerOfTwoScale, TwoLevelScale
from benchvise.core.schemes.scaled import ScaledArithmetic

_LARGEST_EXPONENT = {"e2m1": 2, "e4m3": 8, "e5m2": 15}
"""Of the largest power of two in each element format. Source: OCP MX v1.0, section 5.3."""

_NEIGHBOURING_POWERS = (0, 1, -1)
_NEIGHBOURING_SCALES = tuple(sorted(range(-5, 6), key=abs))
"""In E4M3, which has 8 numbers an octave: up to mapping the largest magnitude to 4 instead of 6, and as far down."""


class MicroscalingArithmetic(ScaledArithmetic[Microscaling]):
    """Scales as the document says; with a clip search also one power of two more or less, where that errs less."""

    scheme = Microscaling

    @classmethod
    def element(cls, settings: Microscaling) -> Element:
        return _float4() if settings.number == "e2m1" else float8(settings.number)

    @classmethod
    def rule(cls, settings: Microscaling, dtype: torch.dtype, clip: ClipSearch | None) -> PowerOfTwoScale:
        offsets = (0,) if clip is None else _NEIGHBOURING_POWERS
        return PowerOfTwoScale(dtype, cls.element(settings).largest, _LARGEST_EXPONENT[settings.number], offsets)

    @classmethod
    def cell(cls, settings: Microscaling) -> tuple[int, int]:
        return settings.cell

    @classmethod
    def tuned(cls, settings: Microscaling) -> str:  # noqa: ARG003 - powers of two cannot be tuned
        return ""


class NvFloat4Arithmetic(ScaledArithmetic[NvFloat4]):
    """Scales as the document says; with a clip search also their neighbours in E4M3, where those err less."""

    scheme = NvFloat4

    @classmethod
    def element(cls, settings: NvFloat4) -> Float4:  # noqa: ARG003 - the format has one
        return _float4()

    @classmethod
    def rule(cls, settings: NvFloat4, dtype: torch.dtype, clip: ClipSearch | None) -> TwoLevelScale:
        offsets = (0,) if clip is None else _NEIGHBOURING_SCALES
        return TwoLevelScale(dtype, cls.element(settings).largest, offsets)

    @classmethod
    def cell(cls, settings: NvFloat4) -> tuple[int, int]:
        return settings.cell

    @classmethod
    def tuned(cls, settings: NvFloat4) -> str:  # noqa: ARG003 - scales of 3 mantissa bits are too coarse to tune
        return "weight_global_scale"


@lru_cache(maxsize=1)
def _float4() -> Float4:
    return Float4()
