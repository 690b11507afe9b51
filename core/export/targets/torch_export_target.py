"""A program of `torch.export` that holds the run's codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.export.export_plan import ExportPlan, TreatmentOf
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.targets.onnx_target import Onnx, config_text, generates_text
from benchvise.core.export.targets.safetensors_target import CONFIG
from benchvise.core.export.torch_export.sample import SAMPLE
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from benchvise.core.weights.weights import Weights


class TorchExport(Onnx):
    """The network is traced as for ONNX Runtime; its codes are decoded by torch's own operators at each call."""

    key: ClassVar[str] = "torch-export"
    title: ClassVar[str] = "torch.export"
    summary: ClassVar[str] = (
        "a program `model.pt2` that needs torch alone, with codes of 2, 4 or 8 bits decoded as it runs, all else "
        "in float32: small, and no faster; keys and values of past tokens as inputs where the network generates text"
    )
    source: ClassVar[str] = "pytorch, torch.export.save"
    loaded_by: ClassVar[str] = "torch.export.load; compilers that take its graph"
    verified_with: ClassVar[str] = "torch (logits), at each export"
    runtimes: ClassVar[tuple[str, ...]] = ()
    dedicated: ClassVar[bool] = False
    package: ClassVar[str] = ""

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        return replace(super().plan(checkpoint, treatment_of, modules), target=self.key)

    def samples(self, plan: ExportPlan) -> Mapping[str, str]:
        return {"run_with_torch.py": SAMPLE} if generates_text(plan) else {}

    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.folder import write_file
        from benchvise.core.export.torch_export.files import write_program

        write_program(place, plan, weights, progress)
        write_file(place / CONFIG, config_text(plan))

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.torch_export.files import verify_program

        self.verify_config(place, plan)
        verify_program(place, plan, weights, progress)

    def run(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:  # noqa: ARG002
        from benchvise.core.export.torch_export.files import checked_by_torch

        return checked_by_torch(place, weights, progress)
