"""What is forecast: a model's linear modules, their sizes, and what each would be multiplied by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import UserError
from benchvise.core.kernels.select import MatmulKind
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.runtime.architecture import Architecture, language_model_of
from benchvise.core.runtime.decode import computes_last_alone
from benchvise.core.runtime.linear_layers import LinearModule, linear_modules, running_dtype
from benchvise.core.runtime.prepare import dense_route, refusal, route_of, running_bytes


@dataclass(frozen=True)
class LinearOp:
    """A linear layer [rows, columns] on a kernel.

    key: `Treatment.running_key` of what it runs as, that of `KEEP` where no kernel takes its treatment.
    tag: the same for people, "dense" for a dense one.
    """

    rows: int
    columns: int
    key: str
    route: str
    weight_bytes: int
    tag: str = field(compare=False)
    treatment: Treatment = field(compare=False)

    @property
    def dense(self) -> bool:
        return self.treatment.keeps

    @property
    def multiply_adds(self) -> int:
        """For one input."""
        return self.rows * self.columns


KernelAssignment = tuple[LinearOp, ...]
"""What each linear of a model is multiplied by."""


@dataclass(frozen=True)
class LatencyTarget:
    """A model whose latency is asked for.

    digest:      of its config. other_bytes: of all parameters that are no linear layer's weight.
    device:      that it would run on, which need not be this machine's; triton: whether Triton's kernels run there.
    head:        index of the linear that computes logits, -1 for none. last_alone: it does so for the last token only.
    """

    architecture: Architecture
    linears: tuple[LinearModule, ...]
    dtype: torch.dtype
    device: torch.device
    triton: bool | None
    digest: str
    other_bytes: int
    head: int
    last_alone: bool

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def work(self, linear: LinearModule, treatment: Treatment) -> LinearOp:
        """The linear under `treatment`, dense where no kernel takes it."""
        rows, columns = linear.rows, linear.columns
        route = route_of(treatment, columns, self.device, triton=self.triton)
        if treatment.keeps or isinstance(route, str):
            name, dense = dense_route(self.dtype), rows * columns * self.dtype.itemsize
            return LinearOp(rows, columns, KEEP.running_key, name, dense, "dense", KEEP)
        inputs = treatment.activations
        tag = treatment.scheme.tag + (f" {inputs.tag}" if inputs is not None else "")
        read = running_bytes(treatment, rows, columns, self.dtype, MatmulKind(route))
        return LinearOp(rows, columns, treatment.running_key, route.value, read, tag, treatment)

    def refusal(self, linear: LinearModule, treatment: Treatment) -> str | None:
        """Why the linear runs dense though it is treated."""
        if treatment.keeps:
            return None
        return refusal(treatment, linear.columns, self.device, triton=self.triton)

    def assignment(self, treatments: Mapping[str, Treatment]) -> KernelAssignment:
        """Every linear under its layer's treatment, dense where none is named."""
        return tuple(self.work(linear, self.treatment(linear, treatments)) for linear in self.linears)

    @staticmethod
    def treatment(linear: LinearModule, treatments: Mapping[str, Treatment]) -> Treatment:
        return treatments.get(linear.layer.name, KEEP) if linear.layer is not None else KEEP

    def weight_bytes(self, assignment: KernelAssignment) -> int:
        """Memory that all weights take."""
        return self.other_bytes + sum(work.weight_bytes for work in assignment)

    def refuse_positions(self, tokens: int, remedy: str) -> None:
        """Raises UserError for more tokens than the model knows positions."""
        limit = self.architecture.max_positions
        if limit is not None and tokens > limit:
            raise UserError(f"The model knows {limit:,} positions, not {tokens:,}", remedy=remedy)


def latency_target_of(checkpoint: Checkpoint, device: torch.device, *, triton: bool | None = None) -> LatencyTarget:
    """Raises CheckpointError when the checkpoint has no architecture that runs."""
    architecture = language_model_of(checkpoint)
    model = architecture.on_meta()
    linears = linear_modules(model, checkpoint)
    config = json.dumps(checkpoint.config, sort_keys=True, default=str)
    return described(architecture, model, linears, running_dtype(checkpoint, device), device, config, triton=triton)


def described(
    architecture: Architecture,
    model: nn.Module,
    linears: Sequence[LinearModule],
    dtype: torch.dtype,
    device: torch.device,
    config: str,
    *,
    triton: bool | None = None,
) -> LatencyTarget:
    """The target of an architecture. model: on the meta device. config: words that name the architecture."""
    return LatencyTarget(
        architecture,
        tuple(linears),
        dtype,
        device,
        triton,
        hashlib.sha256(config.encode()).hexdigest()[:16],
        _other_bytes(model, linears, dtype),
        _head(model, linears),
        computes_last_alone(model),
    )


def _head(model: nn.Module, linears: Sequence[LinearModule]) -> int:
    head = model.get_output_embeddings()  # type: ignore[operator]
    return next((index for index, linear in enumerate(linears) if model.get_submodule(linear.path) is head), -1)


def _other_bytes(model: nn.Module, linears: Iterable[LinearModule], dtype: torch.dtype) -> int:
    """Bytes of all parameters that are no linear layer's weight: embeddings, norms, biases."""
    ours = {id(model.get_parameter(f"{linear.path}.weight")) for linear in linears}
    return sum(p.numel() * dtype.itemsize for p in model.parameters() if id(p) not in ours)
