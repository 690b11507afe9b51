"""GPTQ folders: codes packed along the inputs, in the first version of the layout or, with zero points, the second."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import ClassVar

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.layouts.transposed import GPTQ, TransposedForm
from benchvise.core.export.targets.coded_folder import dense_linears, main_layout, packed_paths
from benchvise.core.export.targets.transposed_target import TransposedTarget


class Gptq(TransposedTarget):
    """The first version stores zero points less one, so that a zero point of 0 has no code in it."""

    key: ClassVar[str] = "gptq"
    title: ClassVar[str] = "GPTQ"
    summary: ClassVar[str] = (
        "integer codes of 2, 3, 4 or 8 bits bit for bit, in the `gptq` layout, or `gptq_v2` with zero points; settings "
        "of single layers under `dynamic`"
    )
    source: ClassVar[str] = "ModelCloud/GPTQModel, nn_modules/qlinear and utils/model.py"
    loaded_by: ClassVar[str] = "vLLM, SGLang, GPTQModel; `transformers` with GPTQModel and optimum"
    verified_with: ClassVar[str] = "an independent unpacker of its tests; the runtimes: not verified"
    runtimes: ClassVar[tuple[str, ...]] = ("vllm",)
    form: ClassVar[TransposedForm] = GPTQ
    overrides: ClassVar[bool] = True

    def less(self, packed: Sequence[PackedLayout]) -> int:
        return int(all(layout.symmetric for layout in packed))

    def quantization(self, plan: ExportPlan) -> dict[str, object]:
        packed = packed_paths(plan)
        main = main_layout(list(packed.values()))
        if main is None:
            return {}
        dynamic: dict[str, dict[str, object]] = {
            f"+:^{re.escape(path)}$": {
                "bits": layout.bits,
                "group_size": layout.group_size or -1,
                "sym": layout.symmetric,
            }
            for path, layout in packed.items()
            if layout != main
        }
        dynamic |= {f"-:^{re.escape(path)}$": {} for path in dense_linears(plan)}
        first = self.less(list(packed.values()))
        return {
            "quant_method": "gptq",
            "checkpoint_format": "gptq" if first else "gptq_v2",
            **_settings(main),
            "desc_act": False,
            "static_groups": False,
            "true_sequential": True,
            "damp_percent": 0.01,
            "lm_head": False,
            "pack_dtype": "int32",
            "dynamic": dynamic,
            "meta": {"quantizer": ["benchvise"]},
        }

    def texts(self, plan: ExportPlan) -> dict[str, str]:
        alone = json.dumps(self.quantization(plan), indent=2) + "\n"
        return super().texts(plan) | {"quantize_config.json": alone}


def _settings(layout: PackedLayout) -> dict[str, object]:
    return {"bits": layout.bits, "group_size": layout.group_size or -1, "sym": layout.symmetric}
