"""One treatment on one layer: solved block by block, with what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.checkpoint.records import Layer
from core.checkpoint.tensors import load_tensor, torch_dtype
from core.compress.layer_matrix import LayerMatrix, from_matrix
from core.errors import CheckpointError
from core.progress import NullProgress, Progress
from core.recipe.recipe import Treatment
from core.schemes.arithmetic import SchemeArithmetic, Shared
from core.schemes.matrix import SolvedRows
from core.solvers.registry import SOLVE


@dataclass
class Quality:
    """Signal and error of a layer, added up block by block in float64, in order."""

    signal: float = 0.0
    noise: float = 0.0
    max_error: float = 0.0
    zeros: int = 0

    def add(self, before: Tensor, after: Tensor) -> None:
        """before, after: [rows, columns], the weights and what they are represented as."""
        reference, decoded = before.float(), after.float()
        error = decoded - reference
        self.signal += _sum_of_squares(reference)
        self.noise += _sum_of_squares(error)
        if error.numel():
            self.max_error = max(self.max_error, float(error.abs().max()))
        self.zeros += after.numel() - int(torch.count_nonzero(after))

    @property
    def sqnr_db(self) -> float | None:
        """10·log₁₀(Σw² / Σ(w − ŵ)²); None without error or without signal."""
        if self.noise == 0.0 or self.signal == 0.0:
            return None
        return float(10 * np.log10(self.signal / self.noise))


@dataclass
class SolvedLayer:
    """A layer under way: use up `rows`, then `tail` holds the remaining stored tensors and `quality` the result."""

    layer: Layer
    treatment: Treatment
    quality: Quality = field(default_factory=Quality)
    arithmetic: SchemeArithmetic[Any] | None = None
    device: str = "cpu"

    def tail(self) -> dict[str, Tensor]:
        return self.arithmetic.tail() if self.arithmetic is not None else {}


def solve_layer(
    layer: Layer, treatment: Treatment, progress: Progress, shared: Shared | None = None
) -> tuple[Iterator[SolvedRows], SolvedLayer]:
    """The layer's rows under the treatment as a stream, and the record that fills as the stream is used up.

    Raises CheckpointError for weights that are NaN or infinite, naming the layer.
    """
    device = device_for(treatment)
    matrix = LayerMatrix(layer, progress, device)
    rows, arithmetic = SOLVE[type(treatment.solver)](matrix, treatment.scheme, treatment.solver, shared)
    solved = SolvedLayer(layer, treatment, arithmetic=arithmetic, device=device)
    return rows, solved


def device_for(treatment: Treatment) -> str:
    """Where a treatment is computed: searches compare sums, which differ between devices, so they stay on the CPU."""
    searches = bool(treatment.solver.tag(treatment.scheme))
    return "cuda" if torch.cuda.is_available() and not searches else "cpu"


def treated_weight(layer: Layer, treatment: Treatment) -> Tensor:
    """The layer's weight as it would compute after the treatment, [*layer.shape] in the layer's dtype, on the CPU.

    A global scope is taken over this layer alone. Raises CheckpointError and RecipeError as `solve_layer` and plans do.
    """
    return treated(layer, treatment)[0]


def treated(layer: Layer, treatment: Treatment) -> tuple[Tensor, dict[str, Tensor]]:
    """As `treated_weight`, and with the tail of the stored tensors (scales and zero points)."""
    if not layer.compressible:
        raise CheckpointError(
            f"'{layer.name}' ({layer.dtype}, shape {list(layer.shape)}) is no floating-point matrix",
            where=layer.tensor.file,
            remedy="Choose a weight of at least two dimensions.",
        )
    if treatment.keeps:
        return load_tensor(layer.tensor), {}
    fitted = Treatment(treatment.scheme.fitted(layer)[0], treatment.solver)
    rows, solved = solve_layer(layer, fitted, NullProgress())
    matrix = torch.cat([part.decoded.cpu() for part in rows])
    return from_matrix(layer, matrix.to(torch_dtype(layer.dtype))), solved.tail()


def _sum_of_squares(values: Tensor) -> float:
    # Row by row first: a sum over one row does not depend on the number of threads, one over all rows does.
    per_row = values.square().sum(1)
    return float(np.sum(per_row.cpu().numpy(), dtype=np.float64))
