"""Records as strict JSON: NaN and infinity become null, arrays become lists, plan warnings sentences."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.wording import sentence


def plain(value: object) -> object:
    """`value` in terms of dict, list, str, int, float, bool and None. Raises TypeError for what has no such form."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, PlanWarning):
        return sentence(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def fields_of(record: object) -> dict[str, object]:
    """The fields of a record by name, plain. Raises TypeError for what is no record or has no form in JSON."""
    if not dataclasses.is_dataclass(record):
        raise TypeError(f"{type(record).__name__} is not a record")
    return {field.name: plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def to_json(data: Mapping[str, object]) -> str:
    return json.dumps(plain(data), allow_nan=False)
