"""An ONNX file written by torch's exporter, and held against what was to be in it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchvise.core.errors import CheckpointError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.onnx.layers import NBITS, QDQ
from benchvise.core.export.onnx.modules import NBitsLinear, QdqLinear
from benchvise.core.export.onnx.network import graph_of, load_network, put_coded_modules, verify_codes
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights

NAME = "model.onnx"
DATA = f"{NAME}.data"


def write_onnx(folder: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Write `model.onnx` and its data. Raises CheckpointError where the network cannot be built or traced."""
    progress.start(plan.nbytes, "bytes")
    model = load_network(weights)
    graph = graph_of(model)  # while it still computes
    put_coded_modules(model, plan, weights, {QDQ: QdqLinear, NBITS: NBitsLinear}, progress)
    program = _exported(graph, plan)
    progress.check_cancelled()
    for node in program.model.graph:  # where in this machine's files each came from
        node.metadata_props.clear()
        node.doc_string = None
    program.save(str(folder / NAME), external_data=True)


def _exported(graph: Any, plan: ExportPlan) -> Any:
    quieted = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "torch.fx")]
    levels = [logger.level for logger in quieted]
    try:
        for logger in quieted:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                graph.module.eval(),
                graph.arguments,
                dynamo=True,
                dynamic_shapes=graph.free,
                input_names=graph.inputs,
                output_names=graph.outputs,
                verbose=False,
            )
    except Exception as error:
        raise CheckpointError(
            f"torch cannot trace this network: {str(error).strip()[:300]}",
            where=plan.checkpoint.path,
            remedy="Export it dense and convert it with a tool that knows the network.",
        ) from error
    finally:
        for logger, level in zip(quieted, levels, strict=True):
            logger.setLevel(level)


def verify_onnx(folder: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Read the file back and compare codes, scales and zero points of every packed layer.

    Raises RuntimeError where the file is unsound or anything differs.
    """
    import onnx
    from onnx import numpy_helper

    try:
        onnx.checker.check_model(str(folder / NAME))
        found = onnx.load(str(folder / NAME))
    except Exception as error:
        raise RuntimeError(f"'{NAME}' is not sound: {str(error)[:300]}") from error
    stored = {tensor.name: tensor for tensor in found.graph.initializer}
    verify_codes(
        plan,
        weights,
        stored,
        lambda value, wanted: np.array_equal(numpy_helper.to_array(value), wanted.numpy()),
        progress,
    )
