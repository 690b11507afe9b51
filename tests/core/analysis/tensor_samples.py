"""Tensors of every dtype with their float64 values as the oracle, and a progress that remembers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchvise.core.analysis.source import ArraySource
from benchvise.core.errors import Cancelled
from benchvise.core.progress import NullProgress

FLOATS = ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")
DTYPES = (*FLOATS, *INTEGERS)
SILENT = NullProgress()


@dataclass(frozen=True)
class Sample:
    """A tensor as stored and its values in float64, as torch converts them."""

    source: ArraySource
    values: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        return self.values[np.isfinite(self.values)]


def sample(dtype: str, shape: tuple[int, ...], *, seed: int = 0, spoiled: bool = False) -> Sample:
    """Skewed heavy-tailed values with exact zeros; `spoiled` adds NaN and infinities where the dtype has them."""
    rng = np.random.default_rng(seed)
    numbers = rng.standard_t(4, shape) * 3 + 0.7
    numbers = np.where(rng.random(shape) < 0.1, 0.0, numbers)
    if dtype in INTEGERS:
        low = 0 if dtype.startswith("u") or dtype == "bool" else -100
        stored = np.clip(np.round(numbers * 5), low, 1 if dtype == "bool" else 100).astype(dtype)
        return Sample(ArraySource(stored), stored.astype(np.float64))
    if spoiled:
        numbers = np.where(rng.random(shape) < 0.02, np.nan, numbers)
        if dtype != "float8_e4m3fn":
            numbers = np.where(rng.random(shape) < 0.02, np.inf, numbers)
            numbers = np.where(rng.random(shape) < 0.03, -np.inf, numbers)
    tensor = torch.from_numpy(numbers).to(getattr(torch, dtype))
    carriers = {"bfloat16": torch.uint16, "float8_e4m3fn": torch.uint8, "float8_e5m2": torch.uint8}
    stored = tensor.view(carriers.get(dtype, tensor.dtype)).numpy()
    return Sample(ArraySource(stored, dtype), tensor.to(torch.float64).numpy())


class Recorder(NullProgress):
    """Adds up what it is told; cancels once `limit` units are done."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.total = 0
        self.unit = ""
        self.done = 0
        self.limit = limit

    def start(self, total: int, unit: str) -> None:
        self.total, self.unit = total, unit

    def advance(self, units: int) -> None:
        self.done += units
        if self.done >= self.limit:
            raise Cancelled
