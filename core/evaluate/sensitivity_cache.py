"""Measured sensitivities kept in the workspace, so that a cancelled measurement goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import math
import time
from pathlib import Path

from torch import Tensor

from core.checkpoint.identity import checkpoint_identity
from core.checkpoint.records import Checkpoint, Layer
from core.recipe.recipe import Treatment
from core.workspace.places import write_text

SAVE_SECONDS = 1.0


def measurement_key(checkpoint: Checkpoint, ids: Tensor) -> str:
    """Hex digest over all that sensitivities of a checkpoint depend on: its tensors, its config, and the windows."""
    digest = hashlib.sha256(checkpoint_identity(checkpoint).encode())
    digest.update(json.dumps(checkpoint.config, sort_keys=True, default=str).encode())
    digest.update(str(tuple(ids.shape)).encode())
    digest.update(ids.numpy().tobytes())
    return digest.hexdigest()


class SensitivityCache:
    """KL by (layer, treatment) of one measurement, in a JSON file that is replaced as a whole.

    A file that cannot be read or understood counts as empty: it only saves time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = time.monotonic()
        self._values = _read(path)

    def get(self, layer: Layer, treatment: Treatment) -> float | None:
        return self._values.get(_cell(layer, treatment))

    def put(self, layer: Layer, treatment: Treatment, kl: float) -> None:
        """Remember one value; the file follows at most once a second, and on `save`."""
        self._values[_cell(layer, treatment)] = kl
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Raises OutputError when the workspace cannot be written to."""
        write_text(self._path, json.dumps(self._values))
        self._saved = time.monotonic()


def _cell(layer: Layer, treatment: Treatment) -> str:
    return f"{layer.tensor.name} {json.dumps(treatment.to_mapping(), sort_keys=True)}"


def _read(path: Path) -> dict[str, float]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {
        str(key): float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
