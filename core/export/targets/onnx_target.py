"""ONNX for ONNX Runtime: MatMulNBits with the run's codes, QDQ int8 with its fixed ranges, all else in float32."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer, TreatmentOf
from benchvise.core.export.export_warnings import adapted, full_inputs, written_dense
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.onnx.layers import FullLayer, coded_layer, coding_problem, keeps_inputs
from benchvise.core.export.onnx.sample import SAMPLE
from benchvise.core.export.target import Target
from benchvise.core.export.targets.safetensors_target import CONFIG, unquantised
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from benchvise.core.weights.weights import Weights

_GRAPH_BYTES = 1 << 16
"""More than a graph takes for each layer."""


class Onnx(Target):
    """The whole network is in memory while it is traced."""

    key: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX"
    summary: ClassVar[str] = (
        "a graph with `MatMulNBits` of 2, 4 or 8 bits and the codes found here, int8 products with fixed ranges, all "
        "else in float32; keys and values of past tokens as inputs where the network generates text"
    )
    source: ClassVar[str] = "onnxruntime, docs/ContribOperators.md; torch.onnx.export"
    loaded_by: ClassVar[str] = "ONNX Runtime"
    verified_with: ClassVar[str] = "ONNX Runtime (logits), at each export where it is installed"
    runtimes: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    takes_dense: ClassVar[bool] = True
    dedicated: ClassVar[bool] = True
    converted: ClassVar[bool] = True
    package: ClassVar[str] = "onnxscript"

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        layers: list[PlannedLayer] = []
        dense: dict[str, list[tuple[str, str]]] = {}
        changed: dict[tuple[str, str], list[str]] = {}
        inputs: list[str] = []
        for layer in checkpoint.layers:
            treatment = treatment_of(layer)
            problem = "" if treatment.keeps else coding_problem(treatment.scheme, layer)
            if not problem and not treatment.keeps and modules is not None and layer.name not in modules.paths:
                problem = "the network has no Linear module of that name"
            if problem:
                dense.setdefault(problem, []).append((layer.name, treatment.tag))
            if treatment.activations is not None and (problem or not keeps_inputs(treatment)):
                inputs.append(layer.name)
            if problem or treatment.keeps:
                layers.append(FullLayer(layer, None))
                continue
            coded = coded_layer(layer, treatment)
            layers.append(coded)
            if coded.layout.bits != treatment.scheme.elements.bits:
                changed.setdefault((treatment.scheme.tag, f"{coded.layout.bits}-bit codes"), []).append(layer.name)
        refusal = "" if checkpoint.architecture else "The checkpoint names no architecture, so there is no graph"
        warnings = (*written_dense(dense), *adapted(changed), *full_inputs(inputs))
        return ExportPlan(self.key, checkpoint, tuple(layers), warnings, modules, refusal)

    def trial(self, plan: ExportPlan) -> str | None:
        from benchvise.core.export.onnx.network import network_problem

        return network_problem(plan.checkpoint) or None

    def samples(self, plan: ExportPlan) -> Mapping[str, str]:
        return {"run_with_onnxruntime.py": SAMPLE} if generates_text(plan) else {}

    def disk_bytes(self, plan: ExportPlan) -> int:
        return 2 * plan.nbytes + _GRAPH_BYTES * (len(plan.layers) + 16)

    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.folder import write_file
        from benchvise.core.export.onnx.files import write_onnx
        from benchvise.core.export.onnx.runtime_check import choose_accuracy_level

        write_onnx(place, plan, weights, progress)
        choose_accuracy_level(place, plan, weights)
        write_file(place / CONFIG, config_text(plan))

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.onnx.files import verify_onnx

        self.verify_config(place, plan)
        verify_onnx(place, plan, weights, progress)

    def verify_config(self, place: Path, plan: ExportPlan) -> None:
        """Raises RuntimeError where the config was not written as it was planned."""
        if (place / CONFIG).read_text(encoding="utf-8") != config_text(plan):
            raise RuntimeError(f"'{CONFIG}' was not written as it was planned")

    def run(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:
        from benchvise.core.export.onnx.runtime_check import checked_by_onnxruntime

        return checked_by_onnxruntime(place, plan, weights, progress)


def generates_text(plan: ExportPlan) -> bool:
    """Whether the network gives next tokens, so that keys and values of past ones are inputs."""
    return "ForCausalLM" in plan.checkpoint.architecture or "LMHead" in plan.checkpoint.architecture


def config_text(plan: ExportPlan) -> str:
    """The checkpoint's config without what it said of quantisation."""
    return json.dumps(unquantised(plan.checkpoint.config), indent=2, ensure_ascii=False) + "\n"
