"""Quantising a block of weights that stays in the cache, with torch's own operations and reused scratch memory."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows_into

# A block of this many weights, as float32 and with its codes, takes 7 MB and stays in the third-level cache. Measured
# from 2^16 to 2^22: half the block costs a quarter more, for calling torch more often, and four times it a third.
CPU_BLOCK_WEIGHTS = 1 << 20
# On a GPU the blocks only bound the scratch memory.
GPU_BLOCK_WEIGHTS = 1 << 26


class EagerSteps:
    """The steps of quantising one block, in plain torch on any device.

    A block is seen as `groups` [count, group_size], contiguous and of any floating dtype.
    """

    def __init__(self, device: torch.device) -> None:
        self.block_weights = CPU_BLOCK_WEIGHTS if device.type == "cpu" else GPU_BLOCK_WEIGHTS
        self._values = torch.empty(0, dtype=torch.float32, device=device)

    def magnitudes(self, groups: Tensor) -> Tensor:
        """float32 [count]: the largest magnitude of each group; NaN where the group holds one."""
        if groups.dtype in (torch.float16, torch.bfloat16):
            # Without their sign these are ordered as integers are, NaN above all; and integers reduce ten times faster.
            unsigned = torch.bitwise_and(groups.view(torch.int16), 0x7FFF)
            return unsigned.amax(1).view(groups.dtype).float()
        return self._as_float32(groups).abs_().amax(1)

    def extremes(self, groups: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [count] twice: the smallest and the largest value of each group; NaN where the group holds one."""
        values = self._as_float32(groups)
        return values.amin(1), values.amax(1)

    def encode(self, groups: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, codes: Tensor) -> None:
        """Write the codes on the grid `scale`, uint8 `zero_point` [count] into contiguous uint8 `codes` [count, size].

        Without zero points the grid is symmetric.
        """
        half = 1 << (bits - 1)
        values = self._as_float32(groups).div_(scale.float().unsqueeze(1)).round_()
        if zero_point is not None:
            values.add_(zero_point.float().sub_(half).unsqueeze(1))
        # Signed first: float32 to int8 is a vector instruction where float32 to uint8 is a loop, six times slower.
        codes.view(torch.int8).copy_(values.clamp_(-half, half - 1))
        codes.add_(half)

    def pack(self, codes: Tensor, bits: int, packed: Tensor) -> None:
        """Pack contiguous uint8 `codes` [rows, cols] into contiguous int32 `packed` [rows, words]."""
        pack_rows_into(codes, bits, packed)

    def _as_float32(self, groups: Tensor) -> Tensor:
        """A float32 copy in the scratch memory, valid until the next call."""
        if self._values.numel() < groups.numel():
            self._values = torch.empty(groups.numel(), dtype=torch.float32, device=groups.device)
        return self._values[: groups.numel()].view(groups.shape).copy_(groups)
