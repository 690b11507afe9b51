"""What treatments of layers cost in milliseconds, as it was forecast once: for choosing among them without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchvise.core.errors import UserError
from benchvise.core.protocol.results import Estimate, LayerCosts
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.workspace.atomic_files import workspace_path, write_text


def layer_costs_key(
    checkpoint: str, layers: Sequence[str], treatments: Sequence[Treatment], batch: int, context: int, machine: str
) -> str:
    """Hex digest of all that the costs depend on. checkpoint: its identity. machine: whose times, exactly."""
    asked = [checkpoint, list(layers), [treatment.to_mapping() for treatment in treatments], batch, context, machine]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def save_layer_costs(workspace: str, costs: LayerCosts) -> None:
    """Raises OutputError."""
    plain = asdict(costs) | {"milliseconds": costs.milliseconds.tolist(), "weight_bytes": costs.weight_bytes.tolist()}
    write_text(_file(workspace, costs.key), json.dumps(plain) + "\n")


def has_layer_costs(workspace: str, key: str) -> bool:
    """Whether costs of that key are kept."""
    return _file(workspace, key).is_file()


def load_layer_costs(workspace: str, key: str) -> LayerCosts:
    """The costs of that key. Raises UserError when there are none, or the file is not readable as such (ValueError)."""
    file = _file(workspace, key)
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        costs = LayerCosts(
            **stored
            | {
                "layers": tuple(stored["layers"]),
                "tags": tuple(stored["tags"]),
                "keys": tuple(stored["keys"]),
                "milliseconds": np.array(stored["milliseconds"], np.float64),
                "weight_bytes": np.array(stored["weight_bytes"], np.int64),
                "rest": Estimate(**stored["rest"]),
            }
        )
        shape = (len(costs.layers), len(costs.keys))
        if len(costs.tags) != len(costs.keys) or costs.milliseconds.shape != shape or costs.weight_bytes.shape != shape:
            raise ValueError("layers and treatments do not fit the table")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            "The times of the layers cannot be read from the workspace",
            where=str(file),
            remedy="Forecast them once more.",
        ) from error
    return costs


def _file(workspace: str, key: str) -> Path:
    return workspace_path(workspace) / "costs" / f"{Path(key).name}.json"
