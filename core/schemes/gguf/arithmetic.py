"""The arithmetic of GGUF's block types."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.methods.gguf import Gguf
from benchvise.core.schemes.arithmetic import Tunable
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.gguf.decode import decoded
from benchvise.core.schemes.gguf.forms import power_scale
from benchvise.core.schemes.gguf.half_grid import HalfGrid
from benchvise.core.schemes.gguf.learnable import learnable
from benchvise.core.schemes.gguf.scalar_grid import ScalarGrid
from benchvise.core.schemes.gguf.vector_forms import VECTOR_FORMS
from benchvise.core.schemes.gguf.vector_grid import GgufVectorGrid
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.grid_arithmetic import GridArithmetic
from benchvise.core.schemes.learning import Learnable


class GgufArithmetic(GridArithmetic[Gguf]):
    """All parameters belong to single rows, which are solved block by block."""

    scheme = Gguf

    @classmethod
    def grid(
        cls, settings: Gguf, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> Grid:
        if not settings.block.scales:
            return HalfGrid(torch.float16 if settings.type == "f16" else torch.bfloat16, rows, columns, dtype)
        if settings.type in VECTOR_FORMS:
            return GgufVectorGrid(settings.type, rows, columns, dtype)
        return ScalarGrid(settings.type, rows, columns, dtype, clip=clip)

    @classmethod
    def decode(
        cls,
        settings: Gguf,
        stored: Mapping[str, Tensor],
        start: int,
        stop: int,
        columns: int,  # noqa: ARG003 - blocks are whole
    ) -> Tensor:
        if not settings.block.scales:
            return stored["weight"].float()
        scales = {name: _number(stored[name][start:stop]) for name, _ in settings.block.scales}
        return decoded(settings.type, stored["weight_packed"]).weight(scales)

    @classmethod
    def tunable(
        cls,
        settings: Gguf,
        stored: Mapping[str, Tensor],
        columns: int,  # noqa: ARG003
    ) -> Tunable | None:
        if not settings.block.scales or settings.type == "mxfp4":
            return None
        scales = {name: _number(stored[name]) for name, _ in settings.block.scales}
        return Tunable(scales, decoded(settings.type, stored["weight_packed"]).weight)

    @classmethod
    def learnable(cls, settings: Gguf, stored: Mapping[str, Tensor], target: Tensor) -> Learnable:
        return learnable(settings.type, stored, target)


def _number(stored: Tensor) -> Tensor:
    """float32 of the scales of blocks as they are stored; of MXFP4 half of them, as its levels are doubled."""
    return stored.float() if stored.dtype == torch.float16 else power_scale(stored.view(torch.uint8))
