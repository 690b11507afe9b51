"""Which kernel a compressed layer runs on, and its weight in the form which that kernel reads."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.kernels.select import MatmulKind, PreparedLinear, choose_matmul, factored_linear, prepare_linear
from benchvise.core.methods.grouping import KERNEL_GROUPS
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.registry import arithmetic_of


def dense_route(dtype: torch.dtype) -> str:
    """What a linear layer on a dense weight is called in the counts of routes."""
    return f"dense {str(dtype).removeprefix('torch.')}"


def refusal(treatment: Treatment, columns: int, device: torch.device, *, triton: bool | None = None) -> str | None:
    """Why a weight of so many columns under `treatment` runs dense on `device`; None when a kernel reads it compressed.

    triton: as in `choose_matmul`.
    """
    found = route_of(treatment, columns, device, triton=triton)
    return found if isinstance(found, str) else None


def route_of(
    treatment: Treatment, columns: int, device: torch.device, *, triton: bool | None = None
) -> MatmulKind | str:
    """The kernel that reads the weight compressed, or why it runs dense."""
    scheme = treatment.scheme
    if treatment.keeps:
        return f"{scheme.tag}: no kernel reads this faster than a dense weight"
    if scheme.factored:
        return MatmulKind.FACTORS
    arithmetic = arithmetic_of(scheme)
    refused = arithmetic.kernel_refusal(scheme)
    if refused:
        return refused
    form = arithmetic.kernel_form(scheme, columns)
    route = choose_matmul(device, form.bits, form.group_size, columns, form.symmetric, triton)
    return f"{scheme.tag}: {route.why}" if route.kind is MatmulKind.DENSE else route.kind


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
    scheme, arithmetic = treatment.scheme, arithmetic_of(treatment.scheme)
    if scheme.factored:
        return factored_linear(*arithmetic.factors(scheme, stored, rows, columns), dtype, device)
    codes = arithmetic.kernel_codes(scheme, stored, rows)
    return prepare_linear(codes, arithmetic.kernel_form(scheme, columns).bits, columns, dtype, device)


def reads_codes(treatment: Treatment) -> bool:
    """Whether some kernel reads the treatment's codes or factors as they are."""
    scheme = treatment.scheme
    return scheme.factored or (not treatment.keeps and not arithmetic_of(scheme).kernel_refusal(scheme))


def running_bytes(treatment: Treatment, rows: int, columns: int, dtype: torch.dtype, route: MatmulKind) -> int:
    """Bytes that one multiplication by a weight [rows, columns] reads in the form that `route` keeps it in."""
    scheme = treatment.scheme
    if route is MatmulKind.FACTORS:
        return scheme.inner_width(rows, columns) * (rows + columns) * dtype.itemsize
    if route is MatmulKind.DENSE or not reads_codes(treatment):
        return rows * columns * dtype.itemsize
    if route is MatmulKind.INT8_CPU:
        return rows * columns + 2 * rows
    if route in (MatmulKind.INT4_CPU, MatmulKind.INT8_GROUPS_CPU):
        form = arithmetic_of(scheme).kernel_form(scheme, columns)
        group = next((size for size in KERNEL_GROUPS if form.group_size % size == 0), KERNEL_GROUPS[-1])
        halves = 1 if route is MatmulKind.INT4_CPU else 2
        return halves * (rows * columns // 2 + 4 * rows * -(-columns // group))
    return sum(part.nbytes for part in treatment.storage(_weight(rows, columns, dtype)))


def random_stored(treatment: Treatment, rows: int, columns: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors as the scheme stores a [rows, columns] weight of `dtype`, with random codes and equal scales."""
    generator = torch.Generator().manual_seed(0)
    stored: dict[str, Tensor] = {}
    for part in treatment.storage(_weight(rows, columns, dtype)):
        if part.dtype == "int32":
            stored[part.name] = torch.randint(-(2**31), 2**31 - 1, part.shape, dtype=torch.int32, generator=generator)
        else:
            stored[part.name] = torch.full(part.shape, 0.01, dtype=torch_dtype(part.dtype))
    return stored


def _weight(rows: int, columns: int, dtype: torch.dtype) -> Layer:
    name = str(dtype).removeprefix("torch.")
    entry = TensorEntry("weight", name, (rows, columns), "", 0, rows * columns * dtype.itemsize)
    return Layer("weight", entry, "linear", "linear", None)
