"""Which kernel a compressed layer runs on, and its weight in the form which that kernel reads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from core.checkpoint.records import Layer, TensorEntry
from core.checkpoint.tensors import torch_dtype
from core.kernels.quantise import Packed
from core.kernels.select import MatmulKind, PreparedLinear, choose_matmul, prepare_linear
from core.methods.integer import Integer
from core.recipe.recipe import Treatment
from core.schemes.integer import IntegerArithmetic


def dense_route(dtype: torch.dtype) -> str:
    """What a linear layer on a dense weight is called in the counts of routes."""
    return f"dense {str(dtype).removeprefix('torch.')}"


def refusal(treatment: Treatment, rows: int, columns: int, device: torch.device) -> str | None:
    """Why a weight [rows, columns] under `treatment` runs dense on `device`; None when a kernel reads it compressed."""
    scheme = treatment.scheme
    if not isinstance(scheme, Integer):
        return f"{scheme.tag}: no kernel reads this faster than a dense weight"
    if scheme.float_zero:
        return f"{scheme.tag}: no kernel reads zero points that are floating numbers"
    if scheme.granularity == "block":
        return f"{scheme.tag}: no kernel reads scales that blocks of rows share"
    route = choose_matmul(device, scheme.bits, scheme.group_columns(columns), rows, columns, scheme.symmetric)
    return f"{scheme.tag}: {route.why}" if route.kind is MatmulKind.DENSE else None


def prepare(
    stored: Mapping[str, Tensor],
    treatment: Treatment,
    rows: int,
    columns: int,
    dtype: torch.dtype,
    device: torch.device,
) -> PreparedLinear:
    """The weight [rows, columns] that `stored` holds, laid out for its kernel.

    dtype: of the model around it. Raises ValueError for a treatment that `refusal` refuses.
    """
    scheme = treatment.scheme
    if not isinstance(scheme, Integer) or scheme.float_zero or scheme.granularity == "block":
        raise ValueError(f"'{scheme.tag}' has no codes that a kernel could read")
    scale, zero_point = IntegerArithmetic.stored_grid(scheme, stored)
    if scheme.granularity == "tensor":
        scale = scale.expand(rows, 1)
        zero_point = None if zero_point is None else zero_point.expand(rows, 1)
    return prepare_linear(Packed(stored["weight_packed"], scale, zero_point), scheme.bits, columns, dtype, device)


def random_stored(treatment: Treatment, rows: int, columns: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors as the scheme stores a [rows, columns] weight of `dtype`, with random codes and equal scales."""
    generator = torch.Generator().manual_seed(0)
    name = str(dtype).removeprefix("torch.")
    entry = TensorEntry("weight", name, (rows, columns), "", 0, rows * columns * dtype.itemsize)
    stored: dict[str, Tensor] = {}
    for part in treatment.storage(Layer("weight", entry, "linear", "linear", None)):
        if part.dtype == "int32":
            stored[part.name] = torch.randint(-(2**31), 2**31 - 1, part.shape, dtype=torch.int32, generator=generator)
        else:
            stored[part.name] = torch.full(part.shape, 0.01, dtype=torch_dtype(part.dtype))
    return stored
