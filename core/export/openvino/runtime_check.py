"""A written OpenVINO file run by OpenVINO: its outputs held against torch's."""

from __future__ import annotations

from pathlib import Path

import openvino
import torch

from benchvise.core.errors import CheckpointError
from benchvise.core.export.onnx.runtime_check import Feed, computed_here, distance_of, given_to
from benchvise.core.export.openvino.files import NAME
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights

MAX_DISTANCE = 1e-3
"""Of the outputs' distance, above which the file computes something else: OpenVINO rounds inputs of products as the
processor likes it best, which this is asked not to do, and sums in an order of its own."""


def checked_by_openvino(folder: Path, weights: Weights, progress: Progress) -> str:
    """What was found, as a phrase.

    Raises RuntimeError where it computes something else, CheckpointError where it does not load the file.
    """
    core = openvino.Core()
    try:
        model = core.read_model(str(folder / NAME))
        asked = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
        compiled = core.compile_model(model, "CPU", asked)
    except RuntimeError as error:
        raise CheckpointError(f"OpenVINO does not load what was written: {str(error).strip()[:300]}") from error
    shapes = {each.any_name: each.partial_shape for each in model.inputs}
    caches = {
        name: (shape[1].get_length(), shape[3].get_length())
        for name, shape in shapes.items()
        if name.startswith("past_key_values.")
    }
    feed: Feed = given_to(weights, list(shapes), caches)
    progress.check_cancelled()
    found = compiled({name: feed[name] for name in shapes if name in feed})
    theirs = torch.from_numpy(found[compiled.outputs[0]])
    title = f"OpenVINO {openvino.__version__.split('-')[0]}"
    distance, words = distance_of(theirs, computed_here(weights, feed), compiled.outputs[0].any_name == "logits")
    if not distance <= MAX_DISTANCE:
        raise RuntimeError(f"{title} computes something else: {distance:.3g}")
    return f"{title} computes the same: {words}"
