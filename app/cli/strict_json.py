"""Records as strict JSON: NaN and infinity become null, arrays become lists."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np


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
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def fields_of(record: object) -> dict[str, object]:
    """The fields of a record by name, plain."""
    if not dataclasses.is_dataclass(record):
        raise TypeError(f"{type(record).__name__} is not a record")
    return {field.name: plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def to_json(data: Mapping[str, object]) -> str:
    return json.dumps(plain(data), allow_nan=False)
