"""How much each treatment of each layer increases the KL: kept in the workspace, read by allocations.

A file holds one checkpoint on one text. Sensitivities belong to the content of a layer's tensor: those of a
changed tensor are forgotten, those of the other layers stay.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchvise.core.errors import UserError
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment, parse_recipe
from benchvise.core.workspace.atomic_files import write_text

ENABLE_ONE, DISABLE_ONE, FISHER = "enable_one", "disable_one", "fisher"
METHODS = (ENABLE_ONE, DISABLE_ONE, FISHER)
"""From the one that is believed first to the one that is believed last."""
SAVE_SECONDS = 1.0


@dataclass(frozen=True)
class LayerSensitivity:
    """kl: nats per token at the output, infinite when the outputs are no numbers; and what it did to the layer."""

    kl: float
    output_error: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class MeasuredChoice:
    """Several layers treated at once: by layer the key of its treatment, and the KL that came of it."""

    choice: Mapping[str, str]
    kl: float


class SensitivityFile:
    """Sensitivities by layer, treatment and method. A file that cannot be read counts as empty: it only saves time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = time.monotonic()
        found = _read(path)
        self.identity = str(found.get("identity", ""))
        self.tokens = int(found.get("tokens", 0))
        self._tensors: dict[str, str] = dict(found.get("tensors", {}))
        self._content: dict[str, str] = dict(found.get("content", {}))
        self._cells: dict[str, dict[str, dict[str, list[float | None]]]] = found.get("cells", {})
        self._joint_effects: dict[str, list[Any]] = found.get("joint_effects", {})
        self.asked, self.treatments = _asked(found)

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self._cells)

    def describe(self, identity: str, tokens: int, tensors: Mapping[str, str] | None = None) -> None:
        """identity: of the checkpoint as it is now. tokens: of the text. tensors: by layer, of those measured now."""
        self.identity, self.tokens = identity, tokens
        self._tensors.update(tensors or {})

    def of_tensor(self, layer: str, identity: str) -> bool:
        """Whether what is kept of the layer was measured on the tensor of that identity."""
        return self._tensors.get(layer) == identity

    def add_asked(self, text: str, windows: int, window_tokens: int, treatments: Sequence[Treatment]) -> None:
        """Remember what was asked for, so that the measurement can be shown again; earlier treatments stay."""
        self.asked = (text, windows, window_tokens)
        self.treatments = tuple(({each.key: each for each in (*self.treatments, *treatments)}).values())

    def see(self, layer: str, content: str) -> bool:
        """Tell what the layer's tensor holds; False when it held something else before, which is forgotten."""
        known = self._content.get(layer)
        self._content[layer] = content
        if known in (None, content):
            return True
        self._cells.pop(layer, None)
        self._joint_effects.clear()
        return False

    def get(self, layer: str, treatment: str, method: str) -> LayerSensitivity | None:
        """treatment: its key. What was asked for last is what `latest` finds."""
        cells = self._cells.get(layer, {})
        if treatment in cells:
            cells[treatment] = cells.pop(treatment)
        return _kl_increase(cells.get(treatment, {}).get(method))

    def latest(self, layer: str, treatment: Treatment, method: str) -> LayerSensitivity | None:
        """Of the treatment with whatever calibration, the one last measured or asked for."""
        words = treatment_key(treatment, "")
        cells = self._cells.get(layer, {})
        keys = [key for key in cells if key.startswith(words)] if treatment.needs_calibration else [words]
        return _kl_increase(cells.get(keys[-1], {}).get(method)) if keys else None

    def put(self, layer: str, treatment: str, method: str, kl_increase: LayerSensitivity) -> None:
        """Remember a sensitivity; the file follows at most once a second, and on `save`."""
        kl = kl_increase.kl if math.isfinite(kl_increase.kl) else None
        cells = self._cells.setdefault(layer, {})
        cells[treatment] = cell = cells.pop(treatment, {})
        cell[method] = [kl, kl_increase.output_error, kl_increase.sqnr_db]
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def joint_effects(self) -> tuple[MeasuredChoice, ...]:
        return tuple(MeasuredChoice(choice, kl) for choice, kl in self._joint_effects.values())

    def put_joint_effects(self, measured: MeasuredChoice) -> None:
        self._joint_effects[_digest(measured.choice)] = [dict(measured.choice), measured.kl]

    def known_joint_effects(self, choice: Mapping[str, str]) -> float | None:
        found = self._joint_effects.get(_digest(choice))
        return None if found is None else float(found[1])

    def save(self) -> None:
        """Raises OutputError when the workspace cannot be written to."""
        everything = {
            "identity": self.identity,
            "tokens": self.tokens,
            "tensors": self._tensors,
            "content": self._content,
            "cells": self._cells,
            "joint_effects": self._joint_effects,
            "asked": self.asked,
            "treatments": Recipe(tuple(Rule(("*",), each) for each in self.treatments)).to_yaml(),
        }
        write_text(self._path, json.dumps(everything))
        self._saved = time.monotonic()


@lru_cache(maxsize=4096)  # asked for every layer, and few treatments differ
def treatment_key(treatment: Treatment, calibration: str) -> str:
    """The key of a sensitivity. calibration: names what solvers are shown, for those that look at anything."""
    return f"{treatment.key} {calibration}" if treatment.needs_calibration else treatment.key


def load_sensitivities(path: Path) -> SensitivityFile:
    """Raises UserError when nothing was measured under that key."""
    found = SensitivityFile(path)
    if not found.layers:
        raise UserError(
            "There is no such measurement of sensitivities in the workspace",
            where=str(path),
            remedy="Measure sensitivity first.",
        )
    return found


def _kl_increase(values: list[float | None] | None) -> LayerSensitivity | None:
    if values is None:
        return None
    kl, output_error, sqnr_db = values
    return LayerSensitivity(math.inf if kl is None else kl, output_error, sqnr_db)


def _digest(choice: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(choice.items())).encode()).hexdigest()[:32]


def _asked(found: Mapping[str, Any]) -> tuple[tuple[str, int, int] | None, tuple[Treatment, ...]]:
    """What was asked for, and treatments; nothing in files of earlier versions or where methods are not there."""
    try:
        text, windows, window_tokens = found["asked"]
        rules = parse_recipe(found["treatments"], where="sensitivities").rules
        return (str(text), int(windows), int(window_tokens)), tuple(rule.treatment for rule in rules)
    except (KeyError, TypeError, ValueError, AttributeError, UserError):
        return None, ()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for cells in found["cells"].values():
            for methods in cells.values():
                for values in methods.values():
                    kl, error, sqnr = values
                    if not all(each is None or math.isfinite(each) for each in (kl, error, sqnr)):
                        return {}
        for choice, kl in found["joint_effects"].values():
            if not isinstance(choice, dict) or not math.isfinite(kl):
                return {}
        return dict(found) if isinstance(found["content"], dict) else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
