"""Which kernel multiplies by a compressed weight on a device, and the weight laid out for it.

Every route computes y = x @ ŵᵀ with ŵ = s · (u − z), in the precision of its kernel; they differ in speed and memory.
Codes of fewer bits than a kernel has are moved to the kernel's width exactly: u − z stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from benchvise.core.kernels.availability import triton_runs_on
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.kernels.quantise import Packed, decode
from benchvise.core.methods.grouping import KERNEL_GROUPS


class MatmulKind(Enum):
    """A way of multiplying by a compressed weight."""

    INT4_CPU = "int4 weights, bfloat16 activations"
    INT8_CPU = "int8 weights, bfloat16 activations"
    INT8_GROUPS_CPU = "int8 weights in groups, as two int4 halves, bfloat16 activations"
    TRITON = "Triton: packed weights, half-precision activations"
    FACTORS = "two factors, one after the other"
    DENSE = "decoded once, then dense"


@dataclass(frozen=True)
class MatmulRoute:
    """A chosen way and, as a sentence for people, the reason, which tells why no faster one was taken."""

    kind: MatmulKind
    why: str

    def __str__(self) -> str:
        return f"{self.kind.value} ({self.why})"


@dataclass(frozen=True)
class PreparedLinear:
    """A compressed weight [rows, cols] laid out for its kernel.

    tensors: all that it keeps in memory. multiply: x [tokens, cols] → y [tokens, rows], of any floating dtype.
    """

    route: MatmulRoute
    rows: int
    tensors: tuple[Tensor, ...]
    multiply: Callable[[Tensor], Tensor]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the weight takes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., cols] → x @ ŵᵀ [..., rows], in the dtype of x."""
        y = self.multiply(x.reshape(-1, x.shape[-1]))
        return y.to(x.dtype).reshape(*x.shape[:-1], self.rows)


def choose_matmul(
    device: torch.device,
    bits: int,
    group_size: int,
    cols: int,
    symmetric: bool,
    triton: bool | None = None,
) -> MatmulRoute:
    """The fastest way to multiply on `device` by a weight of `cols` columns, its codes of `bits` bits in groups of
    `group_size`.

    triton: whether Triton's kernels run there; None where `device` is this machine's, which can be asked.
    """
    if triton_runs_on(device) if triton is None else triton:
        return MatmulRoute(MatmulKind.TRITON, "reads the packed codes where they lie")
    if device.type != "cpu":
        return MatmulRoute(MatmulKind.DENSE, f"Triton, which has the kernels for {device.type}, is not installed")
    if group_size % KERNEL_GROUPS[-1] and group_size != cols:
        return MatmulRoute(MatmulKind.DENSE, f"groups of {group_size} weights are no multiple of {KERNEL_GROUPS[-1]}")
    if bits <= 4:
        width = "" if bits == 4 else f", {bits}-bit codes kept as 4 bit"
        rounding = "" if symmetric or bits < 4 else ", zero points rounded to bfloat16"
        return MatmulRoute(MatmulKind.INT4_CPU, f"fastest on a CPU while decoding{width}{rounding}")
    width = "" if bits == 8 else f", {bits}-bit codes kept as 8 bit"
    if group_size == cols:
        return MatmulRoute(MatmulKind.INT8_CPU, f"one scale a row{width}")
    return MatmulRoute(MatmulKind.INT8_GROUPS_CPU, f"a scale for {group_size} weights{width}")


def factored_linear(left: Tensor, right: Tensor, dtype: torch.dtype, device: torch.device) -> PreparedLinear:
    """Lay out the factors [rows, rank] and [rank, cols] of a weight: two products with dense matrices of `dtype`."""
    first, second = (part.to(device=device, dtype=dtype).contiguous() for part in (right, left))
    linear = torch.nn.functional.linear
    return PreparedLinear(
        MatmulRoute(MatmulKind.FACTORS, f"rank {len(right)}"),
        len(left),
        (first, second),
        lambda x: linear(linear(x.to(dtype), first), second),
    )


def prepare_linear(packed: Packed, bits: int, cols: int, dtype: torch.dtype, device: torch.device) -> PreparedLinear:
    """Lay out `packed` [rows, cols] for the fastest kernel of `device`.

    dtype: that of a dense weight, where no kernel reads the codes; on a GPU also that of the activations, which are
    bfloat16 unless it is float16.
    """
    rows, groups = packed.scale.shape
    route = choose_matmul(device, bits, cols // groups, cols, packed.zero_point is None)
    scale = packed.scale.to(device)
    zero_point = None if packed.zero_point is None else packed.zero_point.to(device)
    words = packed.packed.to(device)
    if route.kind is MatmulKind.TRITON:
        from benchvise.core.kernels.triton_matmul import triton_linear

        tensors, multiply = triton_linear(Packed(words, scale, zero_point), bits, cols, dtype)
    elif route.kind is MatmulKind.DENSE:
        dense = decode(unpack_rows(words, bits, cols), scale, zero_point, bits).to(dtype)
        tensors, multiply = (dense,), lambda x: torch.nn.functional.linear(x.to(dtype), dense)
    else:
        from benchvise.core.kernels import cpu_matmul

        build = {
            MatmulKind.INT4_CPU: cpu_matmul.int4_linear,
            MatmulKind.INT8_CPU: cpu_matmul.int8_linear,
            MatmulKind.INT8_GROUPS_CPU: cpu_matmul.int8_groups_linear,
        }[route.kind]
        tensors, multiply = build(unpack_rows(words, bits, cols), scale, zero_point, bits)
    return PreparedLinear(route, rows, tensors, multiply)
