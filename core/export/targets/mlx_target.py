"""MLX folders: codes bit for bit, with a scale and a bias for each group."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint, StoredTensor
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer, TreatmentOf
from benchvise.core.export.export_warnings import adapted
from benchvise.core.export.layouts.mlx import MLX, MlxForm
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.targets.coded_folder import CodedFolderTarget, Maker, main_layout, packed_paths
from benchvise.core.export.targets.safetensors_target import unquantised
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights

SAMPLE = '''"""Continue a text with MLX: python run_with_mlx.py "Once upon a time" 40"""

import sys
from pathlib import Path

from mlx_lm import generate, load

prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
model, tokenizer = load(str(Path(__file__).parent))
print(prompt + generate(model, tokenizer, prompt=prompt, max_tokens=count, verbose=False))
'''


@dataclass(frozen=True)
class MlxLayer(PlannedLayer):
    """A layer as codes with affine groups."""

    layout: PackedLayout
    scheme: Integer

    def tensors(self) -> tuple[StoredTensor, ...]:
        scales = next(tensor for tensor in self.scheme.storage(self.layer) if tensor.name == "weight_scale")
        return tuple(
            StoredTensor(f"{self.layer.name}.{each.name}", each.dtype, each.shape)
            for each in MLX.tensors(self.layer, self.layout, scales.dtype)
        )

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.layouts.mlx_blocks import mlx_tensors

        for name, values in mlx_tensors(self.layer, self.scheme, weights.stored(self.layer)):
            yield f"{self.layer.name}.{name}", values


class Mlx(CodedFolderTarget):
    """Layers may differ in bits and groups, which the config says by their names."""

    key: ClassVar[str] = "mlx"
    title: ClassVar[str] = "MLX"
    summary: ClassVar[str] = (
        "integer codes of 2, 3, 4, 5, 6 or 8 bits bit for bit in groups of 32, 64 or 128, each with scale and bias; "
        "settings of single layers under `quantization`"
    )
    source: ClassVar[str] = "ml-explore/mlx, mlx.core.quantize; mlx-lm, utils.py"
    loaded_by: ClassVar[str] = "mlx-lm on Apple silicon, and by MLX's CPU build on Linux"
    verified_with: ClassVar[str] = "mlx-lm (logits), at each export where it is installed"
    runtimes: ClassVar[tuple[str, ...]] = ("mlx",)
    dedicated: ClassVar[bool] = True
    form: ClassVar[MlxForm] = MLX
    overrides: ClassVar[bool] = True

    def maker(self, packed: Sequence[PackedLayout]) -> Maker:  # noqa: ARG002 - no layer depends on the others
        return MlxLayer

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        plan = super().plan(checkpoint, treatment_of, modules)
        rounded: dict[tuple[str, str], list[str]] = {}
        for planned in plan.layers:
            if isinstance(planned, MlxLayer) and not planned.scheme.symmetric and planned.layer.dtype != "float32":
                form = f"a bias in {planned.layer.dtype} for each zero point"
                rounded.setdefault((planned.scheme.tag, form), []).append(planned.layer.name)
        warnings = (*plan.plan_warnings, *adapted(rounded))
        return ExportPlan(self.key, checkpoint, plan.layers, warnings, modules, plan.refusal)

    def config_text(self, plan: ExportPlan) -> str:
        packed = packed_paths(plan)
        main = main_layout(list(packed.values()))
        config = unquantised(plan.checkpoint.config)
        if main is not None:
            config["quantization"] = {
                **_settings(main),
                **{path: _settings(layout) for path, layout in packed.items() if layout != main},
            }
        return json.dumps(config, indent=2, ensure_ascii=False) + "\n"

    def samples(self, plan: ExportPlan) -> Mapping[str, str]:  # noqa: ARG002 - the same for all
        return {"run_with_mlx.py": SAMPLE}

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.safetensors_folder import verify_bytes

        verify_bytes(place, plan, weights, self.texts(plan), progress)

    def run(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:  # noqa: ARG002
        from benchvise.core.export.mlx_check import checked_by_mlx

        return checked_by_mlx(place, weights, progress)


def _settings(layout: PackedLayout) -> dict[str, object]:
    return {"group_size": layout.group_size, "bits": layout.bits}
