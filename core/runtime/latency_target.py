"""What is forecast: a model's linear layers by place and size, and what each would be multiplied by."""

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
from benchvise.core.runtime.architecture import Architecture, architecture_of
from benchvise.core.runtime.decode import computes_last_alone
from benchvise.core.runtime.linear_layers import LinearPlace, linear_places, running_dtype
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
"""What each place of a model is multiplied by."""


@dataclass(frozen=True)
class LatencyTarget:
    """A model whose latency is asked for.

    digest:      of its config. other_bytes: of all parameters that are no linear layer's weight.
    device:      that it would run on, which need not be this machine's; triton: whether Triton's kernels run there.
    head:        index of the place that computes logits, -1 for none. last_alone: it does so for the last token only.
    """

    architecture: Architecture
    places: tuple[LinearPlace, ...]
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

    def work(self, place: LinearPlace, treatment: Treatment) -> LinearOp:
        """The place under `treatment`, dense where no kernel takes it."""
        rows, columns = place.rows, place.columns
        route = route_of(treatment, columns, self.device, triton=self.triton)
        if treatment.keeps or isinstance(route, str):
            name, dense = dense_route(self.dtype), rows * columns * self.dtype.itemsize
            return LinearOp(rows, columns, KEEP.running_key, name, dense, "dense", KEEP)
        inputs = treatment.activations
        tag = treatment.scheme.tag + (f" {inputs.tag}" if inputs is not None else "")
        read = running_bytes(treatment, rows, columns, self.dtype, MatmulKind(route))
        return LinearOp(rows, columns, treatment.running_key, route.value, read, tag, treatment)

    def refusal(self, place: LinearPlace, treatment: Treatment) -> str | None:
        """Why the place runs dense though it is treated."""
        if treatment.keeps:
            return None
        return refusal(treatment, place.columns, self.device, triton=self.triton)

    def cast(self, treatments: Mapping[str, Treatment]) -> KernelAssignment:
        """Every place under its layer's treatment, dense where none is named."""
        return tuple(self.work(place, self.treatment(place, treatments)) for place in self.places)

    @staticmethod
    def treatment(place: LinearPlace, treatments: Mapping[str, Treatment]) -> Treatment:
        return treatments.get(place.layer.name, KEEP) if place.layer is not None else KEEP

    def weight_bytes(self, cast: KernelAssignment) -> int:
        """Memory that all weights take."""
        return self.other_bytes + sum(work.weight_bytes for work in cast)

    def refuse_positions(self, tokens: int, remedy: str) -> None:
        """Raises UserError for more tokens than the model knows positions."""
        limit = self.architecture.max_positions
        if limit is not None and tokens > limit:
            raise UserError(f"The model knows {limit:,} positions, not {tokens:,}", remedy=remedy)


def latency_target_of(checkpoint: Checkpoint, device: torch.device, *, triton: bool | None = None) -> LatencyTarget:
    """Raises CheckpointError when the checkpoint has no architecture that runs."""
    architecture = architecture_of(checkpoint)
    model = architecture.on_meta()
    places = linear_places(model, checkpoint)
    config = json.dumps(checkpoint.config, sort_keys=True, default=str)
    return described(architecture, model, places, running_dtype(checkpoint, device), device, config, triton=triton)


def described(
    architecture: Architecture,
    model: nn.Module,
    places: Sequence[LinearPlace],
    dtype: torch.dtype,
    device: torch.device,
    config: str,
    *,
    triton: bool | None = None,
) -> LatencyTarget:
    """The target of an architecture. model: on the meta device. config: words that name the architecture."""
    return LatencyTarget(
        architecture,
        tuple(places),
        dtype,
        device,
        triton,
        hashlib.sha256(config.encode()).hexdigest()[:16],
        _other_bytes(model, places, dtype),
        _head(model, places),
        computes_last_alone(model),
    )


def _head(model: nn.Module, places: Sequence[LinearPlace]) -> int:
    head = model.get_output_embeddings()  # type: ignore[operator]
    return next((index for index, place in enumerate(places) if model.get_submodule(place.path) is head), -1)


def _other_bytes(model: nn.Module, places: Iterable[LinearPlace], dtype: torch.dtype) -> int:
    """Bytes of all parameters that are no linear layer's weight: embeddings, norms, biases."""
    linear = {id(model.get_parameter(f"{place.path}.weight")) for place in places}
    return sum(p.numel() * dtype.itemsize for p in model.parameters() if id(p) not in linear)
