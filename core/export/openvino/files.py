"""An OpenVINO file: the graph that is written for ONNX Runtime, read by OpenVINO's own converter with its codes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchvise.core.errors import CheckpointError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.onnx.files import NAME as ONNX_NAME
from benchvise.core.export.onnx.files import write_onnx
from benchvise.core.export.onnx.network import verify_codes
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights

NAME = "openvino_model.xml"
DATA = "openvino_model.bin"
"""As Optimum calls them, whose classes look for these names."""

_OWN_NAME = re.compile(r"[A-Z]\w*_\d+")
"""Nodes that OpenVINO names by a count of all that its process ever made."""


def write_openvino(folder: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Write `openvino_model.xml` and its data. Raises CheckpointError where the network cannot be traced or read."""
    import openvino

    between = folder / "onnx"
    between.mkdir()
    write_onnx(between, plan, weights, progress)
    progress.check_cancelled()
    try:
        model = openvino.Core().read_model(str(between / ONNX_NAME))
        for number, node in enumerate(model.get_ordered_ops()):
            if _OWN_NAME.fullmatch(node.get_friendly_name()):
                node.set_friendly_name(f"{node.get_type_name()}_{number}")
        openvino.save_model(model, str(folder / NAME), compress_to_fp16=False)
    except RuntimeError as error:
        raise CheckpointError(
            f"OpenVINO cannot read this network: {str(error).strip()[:300]}",
            where=plan.checkpoint.path,
            remedy="Export it as ONNX, which ONNX Runtime runs.",
        ) from error
    del model  # which maps the files
    shutil.rmtree(between)


def verify_openvino(folder: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Read the file back and compare codes and scales of every packed layer.

    Raises RuntimeError where the file is unsound or anything differs.
    """
    import openvino

    model = openvino.Core().read_model(str(folder / NAME))
    stored = {node.get_friendly_name(): node for node in model.get_ops() if node.get_type_name() == "Constant"}
    verify_codes(plan, weights, stored, _is, progress)


def _is(node: Any, wanted: Tensor) -> bool:
    """Codes of less than a byte are given as the bytes that they are packed in."""
    return np.array_equal(np.asarray(node.data).reshape(-1), wanted.numpy().reshape(-1))
