"""Moving size between what gives a layer's inputs and the layer: what smoothing and scaling have in common.

For every source whose channels reach linear layers one by one, factors are proposed, judged by the rounding error of
what these layers give, and folded in where that pays.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.scheme import Scheme
from benchvise.core.transforms.coupling import CoupledGroup, Structure, scale_group, structure_of
from benchvise.core.transforms.inputs import BlockInputs, InputSample, observe_inputs
from benchvise.core.transforms.linear import Linear, relative_error
from benchvise.core.transforms.model_structure import kind_of
from benchvise.core.transforms.random_copy import FAULTS, RandomCopy, run_block
from benchvise.core.transforms.rounding import RoundedLayer, weight_error
from benchvise.core.transforms.transform import BlockRewrite, T, TreatedSchemes

MIN_GAIN = 0.01
"""The rounding error must fall by this share, else a source is left as it is."""

KEPT = 1e-4
"""Largest relative change of the block's output that float32 rounding may explain."""


@dataclass(frozen=True)
class Readers:
    """The layers behind one source; all figures by the source's channel, float32 [rows]."""

    inputs_greatest: Tensor
    inputs_mean: Tensor
    weights_greatest: Tensor
    weights_mean: Tensor
    """Mean magnitude, each weight as a share of the largest in its row."""


@dataclass(frozen=True)
class Proposal:
    """Factors float32 [rows], positive, by which the readers' weights are multiplied. label: for the notes."""

    label: str
    factors: Tensor


class ChannelScaling(BlockRewrite[T]):
    """Subclasses propose factors."""

    def __init__(self, settings: T) -> None:
        super().__init__(settings)
        self._structures: dict[str, Structure] = {}

    @abstractmethod
    def proposals(self, readers: Readers) -> Iterator[Proposal]:
        """Factors to judge, besides leaving everything as it is."""

    def apply(self, block: nn.Module, run: Callable[[], None], schemes: TreatedSchemes) -> tuple[str, ...]:
        with torch.no_grad():
            layers = [name.removesuffix(".weight") for name in schemes if name.endswith(".weight")]
            seen = observe_inputs(block, run, [name for name, module in block.named_modules() if name in layers])
            if seen.args is None:
                return ("nothing is scaled: no calibration input reached the block",)
            try:
                structure = self._structure(block, seen)
                output = run_block(block, _hidden(seen), seen.args, seen.kwargs)
            except FAULTS as error:
                return (f"nothing is scaled: the block cannot be tried ({str(error).strip()[:200]})",)
            notes = []
            for group in structure.groups:
                work = _Work(block, structure, group, seen, schemes)
                note = self._channel_scaled(work, output) if work.layers else ""
                notes += [note] if note else []
        return (*notes, *structure.notes)

    def _structure(self, block: nn.Module, seen: BlockInputs) -> Structure:
        kind = kind_of(block)
        if kind not in self._structures:
            self._structures[kind] = structure_of(RandomCopy(block, seen.args or (), seen.kwargs))
        return self._structures[kind]

    def _channel_scaled(self, work: _Work, output: Tensor) -> str:
        """Find the best factors for one source and fold them in; what came of it."""
        refusal = work.refusal()
        if refusal:
            return f"{work.title}: left as it is, {refusal}"
        start = work.error(torch.ones(len(work.group.rows), device=output.device))
        best, least = None, start
        for proposal in self.proposals(work.readers()):
            factors = work.exact(proposal.factors)
            error = work.error(factors)
            if error < least:
                best, least = Proposal(proposal.label, factors), error
        fall = 1 - least / start if start > 0 else 0.0
        if best is None or fall < MIN_GAIN:
            return f"{work.title}: left as it is, no factors lower the rounding error by 1 % (best: {fall:.1%})"
        if work.source_suffers(best.factors):
            return f"{work.title}: left as it is, {work.group.source} itself would round worse"
        change = work.carry_out(best.factors, output)
        if change > KEPT:
            return f"{work.title}: undone, the block's output changed by {change:.1e}"
        return f"{work.title}: rounding error {-fall:+.1%} ({best.label})"


class _Work:
    """One source of one block, its treated readers and what is known of their inputs."""

    def __init__(
        self, block: nn.Module, structure: Structure, group: CoupledGroup, seen: BlockInputs, schemes: TreatedSchemes
    ) -> None:
        self.block, self.structure, self.group, self.seen = block, structure, group, seen
        self._source_scheme = schemes.get(f"{group.source}.weight", (Keep(), None))[0]
        self.layers: list[tuple[RoundedLayer, Tensor]] = []
        for consumer in group.consumers:
            scheme, activations = schemes.get(f"{consumer.name}.weight", (Keep(), None))
            sample = seen.samples.get(consumer.name)
            if sample is not None and sample.tokens and (activations is not None or not isinstance(scheme, Keep)):
                layer = self._rounded(structure.linear(block, consumer.name), scheme, activations, sample)
                self.layers.append((layer, consumer.channels.to(layer.weight.device)))

    @property
    def title(self) -> str:
        return f"{self.group.source} → {', '.join(consumer.name for consumer in self.group.consumers)}"

    def refusal(self) -> str:
        """Why nothing can be done for this source, as a phrase; "" when something can."""
        if self.group.norm and self.structure.norms[self.group.source].offset is None:
            return "the norm has no weight to fold factors into"
        blind = [layer.scheme.key for layer, _ in self.layers if not layer.judged]
        return f"the rounding of {blind[0]} cannot be judged ahead" if blind else ""

    def readers(self) -> Readers:
        rows = len(self.group.rows)
        device = self.layers[0][0].weight.device
        figures = torch.zeros(4, rows, device=device)
        for consumer in self.group.consumers:
            channels = consumer.channels.to(device)
            matrix = self.structure.linear(self.block, consumer.name).matrix.abs()
            share = matrix / matrix.amax(1, keepdim=True).clamp_min(1e-12)
            of_weights = (matrix.amax(0), share.double().mean(0).float())
            sample = self.seen.samples.get(consumer.name)
            if sample is not None and sample.tokens:
                for index, values in enumerate((sample.greatest, sample.mean)):
                    figures[index].scatter_reduce_(0, channels, values, "amax")
            for index, values in enumerate(of_weights):
                figures[2 + index].scatter_reduce_(0, channels, values, "amax")
        return Readers(*figures)

    def exact(self, factors: Tensor) -> Tensor:
        """The nearest factors that the source takes without rounding, finite and positive; 1 where it gives nothing."""
        factors = torch.where(factors.isfinite() & (factors > 0), factors, 1.0)
        if not self.group.norm:
            return factors
        norm = self.structure.norm(self.block, self.group.source)
        gain = norm.gain
        if gain is None:
            return torch.ones_like(factors)
        exact = gain / norm.nearest_gain(gain / factors)
        return torch.where(exact.isfinite() & (exact > 0), exact, 1.0)

    def error(self, factors: Tensor) -> float:
        """Σ of squared differences of what the readers give once rounded, over the sampled tokens."""
        return sum(layer.error(factors[channels]) for layer, channels in self.layers)

    def source_suffers(self, factors: Tensor) -> bool:
        """Whether the source's own weights round worse by 1 % when its rows are divided."""
        if self.group.norm or isinstance(self._source_scheme, Keep):
            return False
        matrix = self.structure.linear(self.block, self.group.source).matrix
        rows = torch.ones(matrix.shape[0], device=matrix.device)
        before = weight_error(self._source_scheme, matrix, rows)
        rows[self.group.rows.to(rows.device)] = 1 / factors
        return weight_error(self._source_scheme, matrix, rows) > before * (1 + MIN_GAIN)

    def carry_out(self, factors: Tensor, output: Tensor) -> float:
        """Fold the factors in; the relative change of the block's output, undone when it is above `KEPT`."""
        names = (self.group.source, *(consumer.name for consumer in self.group.consumers))
        parameters = [parameter for name in names for parameter in self.block.get_submodule(name).parameters()]
        kept = [parameter.data.clone() for parameter in parameters]
        scale_group(self.structure, self.block, self.group, factors)
        change = relative_error(
            run_block(self.block, _hidden(self.seen), self.seen.args or (), self.seen.kwargs), output
        )
        if change > KEPT:
            for parameter, values in zip(parameters, kept, strict=True):
                parameter.data.copy_(values)
        return change

    @staticmethod
    def _rounded(linear: Linear, scheme: Scheme, activations: Activations | None, sample: InputSample) -> RoundedLayer:
        return RoundedLayer(linear.matrix, scheme, activations, sample.rows, sample.greatest)


def _hidden(seen: BlockInputs) -> Tensor:
    found: Tensor = seen.args[0] if seen.args else seen.kwargs["hidden_states"]
    return found
