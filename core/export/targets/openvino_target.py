"""OpenVINO IR with the run's codes as compressed weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.export.export_plan import ExportPlan, TreatmentOf
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.openvino.sample import SAMPLE
from benchvise.core.export.targets.onnx_target import Onnx, config_text, generates_text
from benchvise.core.export.targets.safetensors_target import CONFIG
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from benchvise.core.weights.weights import Weights


class OpenVino(Onnx):
    """The network is traced as for ONNX Runtime, and OpenVINO reads that graph: codes stay codes."""

    key: ClassVar[str] = "openvino"
    title: ClassVar[str] = "OpenVINO"
    summary: ClassVar[str] = (
        "an IR with weights compressed to 2, 4 or 8 bits by the codes found here, int8 products with fixed ranges, all "
        "else in float32; keys and values of past tokens as inputs where the network generates text"
    )
    source: ClassVar[str] = "OpenVINO 2026, src/frontends/onnx: com.microsoft.MatMulNBits"
    loaded_by: ClassVar[str] = "OpenVINO"
    verified_with: ClassVar[str] = "OpenVINO (logits), at each export"
    runtimes: ClassVar[tuple[str, ...]] = ("openvino",)
    package: ClassVar[str] = "openvino"

    @property
    def problem(self) -> str:
        return super().problem or Onnx().problem

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        return replace(super().plan(checkpoint, treatment_of, modules), target=self.key)

    def samples(self, plan: ExportPlan) -> Mapping[str, str]:
        return {"run_with_openvino.py": SAMPLE} if generates_text(plan) else {}

    def disk_bytes(self, plan: ExportPlan) -> int:
        return 2 * super().disk_bytes(plan)  # the graph between is there until it is read

    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.folder import write_file
        from benchvise.core.export.openvino.files import write_openvino

        write_openvino(place, plan, weights, progress)
        write_file(place / CONFIG, config_text(plan))

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.openvino.files import verify_openvino

        self.verify_config(place, plan)
        verify_openvino(place, plan, weights, progress)

    def run(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:  # noqa: ARG002
        from benchvise.core.export.openvino.runtime_check import checked_by_openvino

        return checked_by_openvino(place, weights, progress)
