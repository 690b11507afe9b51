"""What carries out every tuning step: ours by explicit import, those of other packages by the step itself."""

from __future__ import annotations

from typing import Any

from benchvise.core.methods.distil import Distil
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.tuning import Tuning
from benchvise.core.plugins import implementation
from benchvise.core.tuning.distilled_network import DistilledNetwork
from benchvise.core.tuning.polished_network import PolishedNetwork
from benchvise.core.tuning.trainee import Trainee

TRAINEES: dict[type[Tuning], type[Trainee[Any]]] = {Polish: PolishedNetwork, Distil: DistilledNetwork}


def trainee_of(step: Tuning) -> type[Trainee[Any]]:
    """What carries out a tuning step. Raises RecipeError when the step of another package gives none."""
    if type(step) in TRAINEES:
        return TRAINEES[type(step)]
    found: type[Trainee[Any]] = implementation(type(step), Trainee)
    return found
