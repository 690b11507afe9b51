"""Distillation: codes, values, scales and weights are trained end to end on the original's outputs.

Source: Hinton et al., arXiv 1503.02531, section 2, with the compressed network as the student: its rounding passes
gradients straight through, as in arXiv 1902.08153.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.half_precision import multiplies_halves
from benchvise.core.checkpoint.matrix_shape import as_matrix, from_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.methods.distil import Distil
from benchvise.core.progress import Progress
from benchvise.core.runtime.replace import parameter_name
from benchvise.core.schemes.learning import as_stored
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.schemes.training import Trainable
from benchvise.core.tuning.distillation_loss import distillation_loss, hidden_error
from benchvise.core.tuning.polished_network import PolishedNetwork, Tuned, tuned_part
from benchvise.core.tuning.trained_part import TrainedPart
from benchvise.core.weights.weights import RunWeights

_LOOSE = 0.1
"""The rate of values that are no codes, as a share of that of codes, which move a whole step at once, or not at all."""


@dataclass
class DistilledPart(TrainedPart):
    """Part of a model of which codes, values and scales are trained: value = first + change · unit.

    adapted: names whose change is a product of two factors, which are trained: "NAME.left" and "NAME.right".
    """

    trainable: Trainable
    unit: dict[str, Tensor]
    adapted: frozenset[str] = frozenset()

    @property
    def decodes(self) -> bool:
        return True

    def weight(self) -> Tensor:
        matrix = as_stored(self.trainable.weight(self._values()), torch_dtype(self.layer.dtype))
        return from_matrix(self.layer, matrix)

    def result(self) -> dict[str, Tensor]:
        with torch.no_grad():
            return {name: values.cpu() for name, values in self.trainable.stored(self._values()).items()}

    def _values(self) -> dict[str, Tensor]:
        return {name: self._value(name, first) for name, first in self.trainable.first.items()}

    def _value(self, name: str, first: Tensor) -> Tensor:
        if name in self.adapted:
            return first + self.change[f"{name}.left"] @ self.change[f"{name}.right"] * self.unit[name]
        return first + self.change[name] * self.unit[name] if name in self.change else first


class DistilledNetwork(PolishedNetwork):
    """The network of a run in float32, of which everything that may change is a parameter."""

    def __init__(self, weights: RunWeights, settings: Distil, progress: Progress) -> None:
        """Load the network. Raises CheckpointError as `load_model` does."""
        super().__init__(weights, settings, progress)
        self._settings = settings
        self.hidden = settings.hidden_states > 0
        self._halves = settings.halves and multiplies_halves(self.device)

    @classmethod
    def part_of(cls, settings: Distil, model: nn.Module, weights: RunWeights, layer: Layer) -> TrainedPart | None:
        found = None if settings.trains == "scales" else _trained(settings, model, weights, layer)
        return found or _tuned(settings, model, weights, layer)

    def loss(self, ids: Tensor, wanted: Tensor, hidden: Sequence[Tensor] = ()) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._halves):
            found = self.outputs(ids, output_hidden_states=self.hidden)
        loss = distillation_loss(self._settings, found.logits.float(), ids, wanted)
        if self.hidden:
            states = [each.float() for each in found.hidden_states[1:]]
            loss = loss + self._settings.hidden_states * hidden_error(states, hidden)
        return loss


def _trained(settings: Distil, model: nn.Module, weights: RunWeights, layer: Layer) -> DistilledPart | None:
    name, treatment = parameter_name(model, layer), weights.treatment(layer)
    if name is None or treatment.keeps:
        return None
    scheme = treatment.scheme
    target = as_matrix(layer, weights.solved_from(layer)).float()
    trainable = arithmetic_of(scheme).trainable(scheme, weights.stored(layer), target)
    if trainable is None:
        return None
    unit = {
        each: values * (settings.scale_rate if each in trainable.fine else _LOOSE if each in trainable.loose else 1.0)
        for each, values in trainable.unit.items()
    }
    frozen = trainable.fine if settings.scale_rate == 0 else frozenset[str]()
    adapted = frozenset[str]()
    if settings.trains == "adapters":
        wide = {each for each, values in trainable.first.items() if values.dim() == 2 and each not in trainable.fine}
        adapted = frozenset(wide)
    change: dict[str, Tensor] = {}
    for each, values in trainable.first.items():
        if each in adapted:
            change |= _factors(f"{layer.name} {each}", values, settings.rank, each)
        elif each not in frozen:
            change[each] = torch.zeros_like(values)
    return DistilledPart(layer, treatment, name, change, trainable, unit, adapted) if change else None


def _factors(seed: str, values: Tensor, rank: int, name: str) -> dict[str, Tensor]:
    """Two factors whose product is zero at first, and moves by about one where all of the first move by one."""
    rows, columns = values.shape
    generator = torch.Generator().manual_seed(crc32(seed.encode()))
    right = torch.randn(min(rank, rows, columns), columns, generator=generator).mul_(min(rank, rows, columns) ** -0.5)
    return {f"{name}.left": torch.zeros(rows, len(right)), f"{name}.right": right.to(values.device)}


def _tuned(settings: Distil, model: nn.Module, weights: RunWeights, layer: Layer) -> Tuned | None:
    """What is no code: scales where codes stay, vectors, and with `trains: all` matrices that are kept."""
    part = tuned_part(model, weights, layer, matrices=settings.trains_kept)
    if part is None:
        return None
    share = _LOOSE if part.treatment.keeps and len(layer.shape) > 1 else settings.scale_rate
    if share == 0:
        return None
    return replace(part, unit={name: values * share for name, values in part.unit.items()})
