"""Dense safetensors: every tensor in its original dtype."""

from __future__ import annotations

from typing import ClassVar

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.checkpoint.tying import tied_head
from benchvise.core.export.dense_layer import dense_layer
from benchvise.core.export.export_plan import ExportPlan, TreatmentOf
from benchvise.core.export.export_warnings import full_inputs
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.targets.safetensors_target import SafetensorsTarget


class Dense(SafetensorsTarget):
    key: ClassVar[str] = "dense"
    title: ClassVar[str] = "Dense safetensors"
    summary: ClassVar[str] = "every tensor in its original dtype, with the values that compressed layers compute with"
    source: ClassVar[str] = "https://huggingface.co/docs/safetensors"
    loaded_by: ClassVar[str] = "everything that loads the original"
    verified_with: ClassVar[str] = "`transformers` (logits)"
    runtimes: ClassVar[tuple[str, ...]] = ("transformers", "vllm")
    takes_dense: ClassVar[bool] = True
    as_original: ClassVar[bool] = True
    preference: ClassVar[int] = 1

    @property
    def action(self) -> str:
        return "Export dense"

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        head = tied_head(checkpoint.config)
        layers = tuple(dense_layer(layer, head) for layer in checkpoint.layers)
        inputs = [layer.name for layer in checkpoint.layers if treatment_of(layer).activations is not None]
        return ExportPlan(self.key, checkpoint, layers, tuple(full_inputs(inputs)), modules)
