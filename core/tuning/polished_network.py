"""Polish: with all codes fixed, scales, code books, norms and biases are tuned end to end.

Source: EfficientQAT, arXiv 2407.11062, section 3.3, with the KL to the original's outputs as the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchvise.core.checkpoint.matrix_shape import from_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.runtime.build import compute_device, load_model
from benchvise.core.runtime.replace import parameter_name
from benchvise.core.schemes.arithmetic import Tunable
from benchvise.core.schemes.learning import as_stored
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.tuning.trained_part import TrainedPart
from benchvise.core.tuning.trainee import Rewritten, Trainee
from benchvise.core.weights.weights import RunWeights

_MIN_UNIT = 1e-3
"""Of a vector that is zero throughout, as fresh biases are."""


@dataclass
class Tuned(TrainedPart):
    """Part of a model whose codes stay: value = first + change · unit, rounded to the dtype it is stored in.

    tunable: of a treated layer; None for a vector that is kept (a norm's weight, a bias).
    stored:  what the layer's record holds; the others go by its names ("weight" for vectors).
    """

    stored: dict[str, Tensor]
    first: dict[str, Tensor]
    unit: dict[str, Tensor]
    tunable: Tunable | None

    @property
    def decodes(self) -> bool:
        return self.tunable is not None

    def values(self) -> dict[str, Tensor]:
        """The tuned tensors rounded as they will be stored, float32, of the same shape as in `stored`.

        Gradients go to `change`.
        """
        return {
            name: as_stored(first + self.change[name] * self.unit[name], self.stored[name].dtype)
            for name, first in self.first.items()
        }

    def weight(self) -> Tensor:
        """The layer's weight, float32 [*layer.shape], with gradients to `change`."""
        values = self.values()
        if self.tunable is None:
            return values["weight"]
        matrix = as_stored(self.tunable.weight(values), torch_dtype(self.layer.dtype))
        return from_matrix(self.layer, matrix)

    def result(self) -> dict[str, Tensor]:
        """The layer's stored tensors after tuning."""
        with torch.no_grad():
            values = {name: value.to(self.stored[name].dtype).cpu() for name, value in self.values().items()}
        return {**self.stored, **values}


class PolishedNetwork(Trainee[Any]):
    """The network of a run in float32, with `parts` to tune; all of it is in memory."""

    def __init__(self, weights: RunWeights, settings: Tuning, progress: Progress) -> None:
        """Load the network. Raises CheckpointError as `load_model` does."""
        self.model = load_model(weights, progress=progress)
        self.device = compute_device()
        self.parts: list[TrainedPart] = []
        left: list[str] = []
        for layer in weights.checkpoint.layers:
            part = self.part_of(settings, self.model, weights, layer)
            if part is not None:
                self.parts.append(part)
            elif not weights.treatment(layer).keeps:
                left.append(layer.name)
        self.notes = (_left(settings.title, left),) if left else ()
        self._parameters = [change for part in self.parts for change in part.change.values()]

    @classmethod
    def part_of(
        cls,
        settings: Any,  # noqa: ARG003 - those of its own kind of step
        model: nn.Module,
        weights: RunWeights,
        layer: Layer,
    ) -> TrainedPart | None:
        """What is tuned of the layer; None for nothing. What a step costs is tried out on what this gives."""
        return tuned_part(model, weights, layer)

    @property
    def parameters(self) -> list[Tensor]:
        return self._parameters

    def logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.outputs(ids).logits
        return logits

    def outputs(self, ids: Tensor, **options: bool) -> Any:
        """What the model gives for ids int64 [windows, tokens], with gradients to `parameters`; options: its own."""
        weights: Mapping[str, Tensor] = {part.parameter: part.weight() for part in self.parts}
        given = {"use_cache": False, **options}
        return functional_call(self.model, dict(weights), (ids.to(self.device),), given)

    def rewritten(self) -> Iterator[Rewritten]:
        return (Rewritten(part.layer, part.treatment, part.result()) for part in self.parts)


def tuned_part(model: nn.Module, weights: RunWeights, layer: Layer, *, matrices: bool = False) -> Tuned | None:
    """The layer of a model with `weights`, ready to be tuned; None when nothing in it can be.

    matrices: whether kept matrices are tuned as vectors are.
    """
    name, treatment = parameter_name(model, layer), weights.treatment(layer)
    if name is None:
        return None
    if treatment.keeps:
        values = model.get_parameter(name)
        if (values.dim() != 1 and not matrices) or not torch_dtype(layer.dtype).is_floating_point:
            return None
        return _tuned(layer, treatment, name, weights.stored(layer), {"weight": values.detach().clone()}, None)
    stored = weights.stored(layer)
    tunable = arithmetic_of(treatment.scheme).tunable(treatment.scheme, stored, layer.matrix_shape[1])
    return None if tunable is None else _tuned(layer, treatment, name, stored, dict(tunable.parameters), tunable)


def _tuned(
    layer: Layer,
    treatment: Treatment,
    parameter: str,
    stored: dict[str, Tensor],
    first: dict[str, Tensor],
    tunable: Tunable | None,
) -> Tuned:
    unit = {name: _unit(name, values) for name, values in first.items()}
    change = {name: torch.zeros_like(values) for name, values in first.items()}
    return Tuned(layer, treatment, parameter, change, stored, first, unit, tunable)


def _unit(name: str, values: Tensor) -> Tensor:
    """What a change of one means: for a scale as much as itself, for all else as much as its neighbours on average."""
    if name.endswith("scale"):
        return values.abs()
    return values.abs().mean(-1, keepdim=True).clamp_(min=_MIN_UNIT)


def _left(title: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{title} leaves these layers as they are, having nothing in them to tune: {', '.join(names[:3])}{more}"
