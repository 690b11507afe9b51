"""A target of another package: every layer as a float32 array in one `.npz` file, or as int8 codes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchvise.core.checkpoint.records import Checkpoint, StoredTensor
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer, TreatmentOf
from benchvise.core.export.export_warnings import written_dense
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.target import Target
from benchvise.core.export.targets.registry import TARGETS
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights

INT8 = PackedLayout("npz-int8", 8, True, "channel", None)


@dataclass(frozen=True)
class Array(PlannedLayer):
    """Float32 values, or int8 codes and a scale per row, under names of its own."""

    @property
    def name(self) -> str:
        return self.layer.name.replace(".", "/")

    def tensors(self) -> tuple[StoredTensor, ...]:
        if self.layout is None:
            return (StoredTensor(self.name, "float32", self.layer.shape),)
        scales = StoredTensor(f"{self.name}/scale", "float32", (self.layer.shape[0],))
        return (StoredTensor(f"{self.name}/codes", "int8", self.layer.shape), scales)

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        import torch

        from benchvise.core.kernels.packing import unpack_rows

        if self.layout is None:
            yield self.name, weights.dense(self.layer).float()
            return
        stored = weights.stored(self.layer)
        codes = unpack_rows(stored["weight_packed"], 8, self.layer.shape[1])
        yield f"{self.name}/codes", (codes.to(torch.int16) - 128).to(torch.int8)
        yield f"{self.name}/scale", stored["weight_scale"].float().reshape(-1)


class Npz(Target):
    key: ClassVar[str] = "npz"
    title: ClassVar[str] = "NumPy archive"
    summary: ClassVar[str] = "every layer as an array in one file"
    source: ClassVar[str] = "numpy.lib.format"
    loaded_by: ClassVar[str] = "NumPy"
    runtimes: ClassVar[tuple[str, ...]] = ("openvino",)
    suffix: ClassVar[str] = ".npz"
    companions: ClassVar[bool] = False

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        layers, others = [], []
        for layer in checkpoint.layers:
            treatment = treatment_of(layer)
            packs = treatment.scheme == Integer(8, granularity="channel") and layer.kind == "linear"
            layers.append(Array(layer, INT8 if packs else None))
            if not packs and not treatment.keeps:
                others.append((layer.name, treatment.tag))
        warnings = tuple(written_dense({"an archive holds 8 bits per channel alone": others})) if others else ()
        return ExportPlan(self.key, checkpoint, tuple(layers), warnings, modules or frozenset())

    def disk_bytes(self, plan: ExportPlan) -> int:
        zeros = {tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in plan.tensors()}
        return len(_archive(zeros))

    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        progress.start(plan.nbytes, "bytes")
        place.write_bytes(_archive(_arrays(plan, weights, progress)))

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        progress.start(plan.nbytes, "bytes")
        if place.read_bytes() != _archive(_arrays(plan, weights, progress)):
            raise RuntimeError("the archive is not what was planned")


class NeedsPackage(Npz):
    key: ClassVar[str] = "needs_package"
    package: ClassVar[str] = "benchvise_no_such_package"


@contextmanager
def registered(*targets: type[Target]) -> Iterator[None]:
    for target in targets:
        TARGETS[target.key] = target
    try:
        yield
    finally:
        for target in targets:
            del TARGETS[target.key]


def _arrays(plan: ExportPlan, weights: Weights, progress: Progress) -> dict[str, np.ndarray[Any, Any]]:
    arrays = {}
    for planned in plan.layers:
        for name, values in planned.blocks(weights):
            arrays[name] = values.numpy()
            progress.advance(arrays[name].nbytes)
    return arrays


def _archive(arrays: dict[str, np.ndarray[Any, Any]]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
