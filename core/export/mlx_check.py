"""A written MLX folder run by mlx-lm: its logits held against torch's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchvise.core.errors import CheckpointError
from benchvise.core.export.onnx.runtime_check import computed_here, distance_of, given_to
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights

MAX_KL = 0.02
"""Nats per token above which the folder computes something else: biases and products are rounded to 16 bits there."""


def checked_by_mlx(folder: Path, weights: Weights, progress: Progress) -> str:
    """What was found, as a phrase; "" where mlx-lm is not installed.

    Raises RuntimeError where it computes something else, CheckpointError where it does not load the folder.
    """
    if find_spec("mlx_lm") is None:
        return ""
    import mlx.core as mx
    from mlx_lm.utils import load_model

    try:
        model, _ = load_model(folder)
    except Exception as error:
        raise CheckpointError(f"mlx-lm does not load what was written: {str(error).strip()[:300]}") from error
    feed = given_to(weights, ["input_ids"], {})
    progress.check_cancelled()
    found = np.array(model(mx.array(feed["input_ids"])).astype(mx.float32))
    distance, words = distance_of(torch.from_numpy(found), computed_here(weights, feed), logits=True)
    if not distance <= MAX_KL:
        raise RuntimeError(f"mlx-lm computes something else: {distance:.3g}")
    return f"mlx-lm computes the same: {words}"
