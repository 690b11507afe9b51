"""What each candidate would make of each layer, in bytes."""

from __future__ import annotations

import numpy as np

from benchvise.core.allocate.table import candidates
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.protocol.requests import SizeCandidates
from benchvise.core.protocol.results import CandidateSizes


def size_candidates(request: SizeCandidates, checkpoint: Checkpoint) -> CandidateSizes:
    """Exact bytes, from headers alone. Raises CheckpointError for a layer that the checkpoint does not have."""
    layers = [checkpoint.layer(name) for name in request.layers]
    nbytes = candidates(layers, request.treatments).nbytes
    kept = np.array([layer.nbytes for layer in layers], np.float64)
    return CandidateSizes(np.where(np.isfinite(nbytes), nbytes, kept[:, None]).T.astype(np.int64))
