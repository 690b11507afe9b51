"""A GPTQ or AWQ folder read back: every byte, and the values of a sample of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.layouts.transposed_blocks import decoded
from benchvise.core.export.safetensors_folder import SAMPLED_LAYERS, verify_bytes
from benchvise.core.export.targets.transposed_target import TransposedLayer
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights


def verify_transposed(
    folder: Path, plan: ExportPlan, weights: Weights, texts: Mapping[str, str], progress: Progress
) -> None:
    """As `verify_folder`, with the values as the layout's own definition gives them.

    Raises RuntimeError where anything differs.
    """
    verify_bytes(folder, plan, weights, texts, progress)
    kinds = {planned.layout: planned for planned in plan.layers if isinstance(planned, TransposedLayer)}
    entries = {entry.name: entry for file in folder.glob("*.safetensors") for entry in read_header(file).entries}
    for planned in list(kinds.values())[:SAMPLED_LAYERS]:
        layer, tensors = planned.layer, planned.tensors()
        found: dict[str, Tensor] = {
            tensor.name.removeprefix(f"{layer.name}."): load_tensor(entries[tensor.name]) for tensor in tensors
        }
        if not torch.equal(decoded(layer, planned.layout, planned.form, planned.less, found), weights.dense(layer)):
            raise RuntimeError(f"'{layer.name}' is not read back with the values that were computed")
