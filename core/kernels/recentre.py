"""Codes moved to a wider code whose zero lies in the middle, so that one kernel serves several numbers of bits."""

from __future__ import annotations

import torch
from torch import Tensor


def recentred(codes: Tensor, zero_point: Tensor | None, bits: int, wide: int) -> Tensor:
    """uint8 codes [rows, cols] u' of `wide` bits with u' − 2^(wide−1) = u − z, exactly.

    zero_point: uint8 [rows, groups], or None when symmetric (z = 2^(bits−1)). Raises ValueError when it is
    given and `wide` is not greater than `bits`, since u − z would not fit.
    """
    middle = 1 << (wide - 1)
    if zero_point is None:
        return codes + (middle - (1 << (bits - 1)))
    if wide <= bits:
        raise ValueError(f"{bits}-bit codes with zero points do not fit {wide} bits")
    # The offset may be below zero: kept modulo 256, as the sum is, which itself is in range.
    offset = (middle - zero_point.to(torch.int16)).to(torch.uint8).unsqueeze(-1)
    return (codes.view(*zero_point.shape, -1) + offset).view(codes.shape)
