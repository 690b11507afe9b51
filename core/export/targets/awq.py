"""AWQ folders in the GEMM layout: 4-bit codes and zero points packed along the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.layouts.transposed import AWQ, TransposedForm
from benchvise.core.export.targets.coded_folder import dense_linears, main_layout, packed_paths
from benchvise.core.export.targets.transposed_target import TransposedTarget


class Awq(TransposedTarget):
    key: ClassVar[str] = "awq"
    title: ClassVar[str] = "AWQ"
    summary: ClassVar[str] = "4-bit integer codes and zero points bit for bit, in the GEMM layout of AutoAWQ"
    source: ClassVar[str] = "casper-hansen/AutoAWQ, awq/modules/linear/gemm.py"
    loaded_by: ClassVar[str] = "vLLM, SGLang, LMDeploy; `transformers` with GPTQModel"
    verified_with: ClassVar[str] = "an independent unpacker of its tests; the runtimes: not verified"
    runtimes: ClassVar[tuple[str, ...]] = ("vllm",)
    form: ClassVar[TransposedForm] = AWQ
    overrides: ClassVar[bool] = False

    def less(self, packed: Sequence[PackedLayout]) -> int:  # noqa: ARG002 - true zero points in every folder
        return 0

    def quantization(self, plan: ExportPlan) -> dict[str, object]:
        packed = packed_paths(plan)
        main = main_layout(list(packed.values()))
        if main is None:
            return {}
        return {
            "quant_method": "awq",
            "bits": main.bits,
            "group_size": main.group_size or -1,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": dense_linears(plan) or None,
        }
