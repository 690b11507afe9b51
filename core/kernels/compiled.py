"""Quantising a block of weights with C++ that `torch.compile` writes for this processor.

The scales are computed by the same code as elsewhere (`core.kernels.grid`): the compiler may leave out a rounding to a
narrow dtype in the middle of a fused loop, which would change the codes. What is compiled rounds nothing twice, divides
truly, and is built without contraction to fused multiply-add (inductor's default).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch._dynamo
import torch._inductor.config
from torch import Tensor

from benchvise.core.kernels.eager import EagerSteps
from benchvise.core.kernels.packing import joined

# The codes of a block, between the loop that finds them and the loop that packs them, stay in the third-level cache;
# calling a compiled function costs 25 µs, so that smaller blocks lose more than they gain.
BLOCK_WEIGHTS = 1 << 22
# With fewer groups than this a compiled loop saves nothing, and a single one would be compiled as a shape of its own.
FEWEST_GROUPS = 64
# One for every combination of bits, group size and dtype met in a run; beyond the limit torch refuses.
_MAX_VARIANTS = 256
# The dtypes as wide as eight codes: eight at once, since inductor makes vector instructions of int64 and not of int16.
_EIGHT_CODES = {1: torch.uint8, 2: torch.int16, 4: torch.int32}


class CompiledSteps:
    """`BlockSteps` in compiled C++, for tensors of the CPU."""

    def __init__(self) -> None:
        self.block_weights = BLOCK_WEIGHTS
        self._eager = EagerSteps(torch.device("cpu"))

    def magnitudes(self, groups: Tensor) -> Tensor:
        if len(groups) < FEWEST_GROUPS:
            return self._eager.magnitudes(groups)
        result = torch.empty(len(groups), dtype=torch.float32)
        _call(_magnitudes(), groups, result)
        return result

    def extremes(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        if len(groups) < FEWEST_GROUPS:
            return self._eager.extremes(groups)
        low, high = torch.empty(len(groups), dtype=torch.float32), torch.empty(len(groups), dtype=torch.float32)
        _call(_extremes(), groups, low, high)
        return low, high

    def encode(self, groups: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, codes: Tensor) -> None:
        if len(groups) < FEWEST_GROUPS:
            self._eager.encode(groups, scale, zero_point, bits, codes)
            return
        divisor = scale.float().unsqueeze(1)
        if zero_point is None:
            _call(_encode_symmetric(bits), groups, divisor, codes)
        else:
            offset = zero_point.float().sub_(1 << (bits - 1)).unsqueeze(1)
            _call(_encode_asymmetric(bits), groups, divisor, offset, codes)

    def pack(self, codes: Tensor, bits: int, packed: Tensor) -> None:
        narrow = _EIGHT_CODES.get(bits)
        whole = codes.shape[1] % 8 == 0 and codes.shape[1] * bits % 32 == 0
        if narrow is None or not whole or codes.numel() < 8 * FEWEST_GROUPS:
            self._eager.pack(codes, bits, packed)
        else:
            _call(_pack(bits), codes.view(torch.int64).view(-1), packed.view(narrow).view(-1))


def _call(function: Callable[..., None], *tensors: Tensor) -> None:
    for tensor in tensors:
        torch._dynamo.mark_dynamic(tensor, 0)
    # One compiler process is enough for one loop; torch's pool of them would outlive the work.
    with (
        torch._dynamo.config.patch(recompile_limit=_MAX_VARIANTS),
        torch._inductor.config.patch(compile_threads=1),
    ):
        function(*tensors)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    return torch.compile(function, dynamic=False, fullgraph=True)


@functools.cache
def _magnitudes() -> Callable[..., None]:
    def magnitudes(groups: Tensor, result: Tensor) -> None:
        result.copy_(groups.float().abs().amax(1))

    return _compiled(magnitudes)


@functools.cache
def _extremes() -> Callable[..., None]:
    def extremes(groups: Tensor, low: Tensor, high: Tensor) -> None:
        values = groups.float()
        low.copy_(values.amin(1))
        high.copy_(values.amax(1))

    return _compiled(extremes)


@functools.cache
def _encode_symmetric(bits: int) -> Callable[..., None]:
    half = 1 << (bits - 1)

    def encode(groups: Tensor, divisor: Tensor, codes: Tensor) -> None:
        steps = torch.round(groups.float() / divisor)
        codes.copy_((torch.clamp(steps, -half, half - 1) + half).to(torch.uint8))

    return _compiled(encode)


@functools.cache
def _encode_asymmetric(bits: int) -> Callable[..., None]:
    half = 1 << (bits - 1)

    def encode(groups: Tensor, divisor: Tensor, offset: Tensor, codes: Tensor) -> None:
        steps = torch.round(groups.float() / divisor) + offset
        codes.copy_((torch.clamp(steps, -half, half - 1) + half).to(torch.uint8))

    return _compiled(encode)


@functools.cache
def _pack(bits: int) -> Callable[..., None]:
    def pack(lanes: Tensor, narrow: Tensor) -> None:
        narrow.copy_(joined(lanes, bits).to(narrow.dtype))

    return _compiled(pack)
