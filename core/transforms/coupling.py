"""Which layers read what another layer or norm gives, channel by channel, found and proven on a random copy of a block.

Found: the outputs of a source are multiplied by factors that differ from channel to channel. Where an input of a linear
layer is then multiplied by exactly one of these factors, for every token, it is that channel times something which the
source does not change: nothing at all, a gate, the weights of an attention head. A ReLU lets positive factors pass,
other activations do not.
Proven: the source is divided and its readers multiplied by random factors, and the block must give what it gave. So
whoever else reads the source is noticed too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.transforms.linear import Linear, as_linear, close
from benchvise.core.transforms.norm import Norm, NormForm, as_norm
from benchvise.core.transforms.random_copy import RandomCopy, tried
from benchvise.core.transforms.rotation import Rotation

MIN_FACTOR, GREATEST_FACTOR = 1.5, 3.0


@dataclass(frozen=True)
class Consumer:
    """A linear layer; for each of its inputs, the position in `Feed.rows` of the channel it reads: int64 [inputs]."""

    name: str
    channels: Tensor


@dataclass(frozen=True)
class CoupledGroup:
    """A source whose channels reach the consumers one by one.

    rows: the outputs of the source that take part, int64 [n], ascending; all of a norm.
    head: neighbouring channels may be mixed by any matrix in runs of this length; 1 when they may only be scaled.
    """

    source: str
    norm: bool
    rows: Tensor
    consumers: tuple[Consumer, ...]
    head: int = 1


@dataclass(frozen=True)
class Structure:
    """What is known of a block or of what lies around the blocks; modules by their names in it.

    linears: whether each keeps its weight transposed. norms: also those that feed no consumer.
    """

    linears: Mapping[str, bool]
    norms: Mapping[str, NormForm]
    groups: tuple[CoupledGroup, ...]
    notes: tuple[str, ...]

    def linear(self, root: nn.Module, name: str) -> Linear:
        return Linear(root.get_submodule(name), self.linears[name])

    def norm(self, root: nn.Module, name: str) -> Norm:
        return Norm(root.get_submodule(name), self.norms[name])


def find_coupling(root: nn.Module, run: Callable[[], Tensor], norm_widths: set[int]) -> Structure:
    """The structure of a random copy. run: its output, float32 of any shape, for inputs that stay the same.

    norm_widths: widths that norms without weight are tried with.
    """
    generator = torch.Generator().manual_seed(3)
    linears: dict[str, bool] = {}
    norms: dict[str, NormForm] = {}
    with torch.no_grad():
        for name, module in root.named_modules():
            linear = as_linear(module, generator)
            if linear is not None:
                linears[name] = linear.transposed
                continue
            own = next((parameter.shape[0] for parameter in module.parameters(recurse=False) if parameter.dim()), None)
            for width in norm_widths if own is None else {own}:
                form = as_norm(module, width, generator)
                if form is not None:
                    norms[name] = form
        search = _Search(root, run, Structure(linears, norms, (), ()))
        return search.structure()


def structure_of(random_copy: RandomCopy) -> Structure:
    """The structure of a block."""
    return find_coupling(random_copy.block, random_copy, {random_copy.hidden.shape[-1]})


def scale_group(structure: Structure, root: nn.Module, group: CoupledGroup, factors: Tensor) -> None:
    """Divide the source's channels by `factors`, float32 [rows], positive, and multiply their readers by them.

    Raises ValueError for a norm without a weight.
    """
    if group.norm:
        norm = structure.norm(root, group.source)
        gain, bias = norm.gain, norm.bias
        if gain is None:
            raise ValueError(f"'{group.source}' has no weight that could be scaled")
        norm.set_gain(gain / factors)
        if bias is not None:
            bias.div_(factors)
    else:
        structure.linear(root, group.source).scale_outputs(group.rows.to(factors.device), 1 / factors)
    for consumer in group.consumers:
        structure.linear(root, consumer.name).scale_inputs(factors[consumer.channels.to(factors.device)])


def rotate_heads(structure: Structure, root: nn.Module, group: CoupledGroup, turn: Rotation) -> None:
    """Turn the source's channels in runs of `turn.width`, and what reads them."""
    source = structure.linear(root, group.source)
    source.rotate_outputs(group.rows.to(source.matrix.device), turn)
    for consumer in group.consumers:
        structure.linear(root, consumer.name).rotate_inputs(turn)


class _Search:
    def __init__(self, root: nn.Module, run: Callable[[], Tensor], parts: Structure) -> None:
        self.root, self.run, self.parts = root, run, parts
        self.output, self.inputs = self._observed()
        self.claimed: set[str] = set()
        self.notes: list[str] = []

    def structure(self) -> Structure:
        groups: list[CoupledGroup] = []
        for name in self.parts.norms:
            groups += self._norm_groups(name)
        for name in self.parts.linears:
            if name in self.inputs:
                groups += self._linear_groups(name)
        return Structure(self.parts.linears, self.parts.norms, tuple(groups), tuple(self.notes))

    def _norm_groups(self, name: str) -> Iterator[CoupledGroup]:
        width = self._outputs(name)
        if width is None:
            return
        rows = torch.arange(width)
        consumers = self._readers(name, rows)
        if not consumers:
            return
        group = CoupledGroup(name, True, rows, consumers)
        if self.parts.norms[name].offset is not None and not self._scalable(group):
            self.notes.append(f"{name} is left alone: its output is read by more than {_names(consumers)}")
            return
        self.claimed |= {consumer.name for consumer in consumers}
        yield group

    def _linear_groups(self, name: str) -> Iterator[CoupledGroup]:
        free = {self._width(consumer) for consumer in self.inputs if consumer not in self.claimed and consumer != name}
        outputs = self.parts.linear(self.root, name).matrix.shape[0]
        for rows in _row_choices(outputs, free):
            consumers = tuple(consumer for consumer in self._readers(name, rows) if consumer.name not in self.claimed)
            if not consumers:
                continue
            group = CoupledGroup(name, False, rows, consumers)
            if not self._scalable(group):
                continue
            self.claimed |= {consumer.name for consumer in consumers}
            yield CoupledGroup(name, False, rows, consumers, self._head(group))
            return

    def _readers(self, name: str, rows: Tensor) -> tuple[Consumer, ...]:
        factors = torch.linspace(MIN_FACTOR, GREATEST_FACTOR, len(rows), device=self.output.device)
        module = self.root.get_submodule(name)

        def multiply(_module: nn.Module, _inputs: object, given: Tensor) -> Tensor:
            every = given.new_ones(given.shape[-1])
            every[rows.to(given.device)] = factors
            return given * every

        hook = module.register_forward_hook(multiply)
        try:
            _, inputs = self._observed()
        finally:
            hook.remove()
        found = []
        for consumer, before in self.inputs.items():
            after = inputs.get(consumer)
            channels = None if after is None or consumer == name else _source_channels(before, after, factors)
            if channels is not None:
                found.append(Consumer(consumer, channels.cpu()))
        return tuple(found)

    def _observed(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The output, and the inputs [tokens, inputs] of every linear layer that runs."""
        seen: dict[str, Tensor] = {}

        def keep(name: str, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0].reshape(-1, inputs[0].shape[-1]).clone()

        hooks = [
            self.root.get_submodule(name).register_forward_pre_hook(
                lambda _module, inputs, name=name: keep(name, inputs)
            )
            for name in self.parts.linears
        ]
        try:
            return self.run(), seen
        finally:
            for hook in hooks:
                hook.remove()

    def _outputs(self, name: str) -> int | None:
        """How many channels the module gives when the block runs, None when it does not run."""
        given: list[int] = []
        hook = self.root.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output: given.append(output.shape[-1])
        )
        try:
            self.run()
        finally:
            hook.remove()
        return given[0] if given else None

    def _width(self, name: str) -> int:
        return self.parts.linear(self.root, name).matrix.shape[1]

    def _scalable(self, group: CoupledGroup) -> bool:
        factors = torch.rand(len(group.rows), generator=torch.Generator().manual_seed(4)) + 0.5
        with self._tried(group):
            scale_group(self.parts, self.root, group, factors.to(self.output.device))
            return close(self.run(), self.output)

    def _head(self, group: CoupledGroup) -> int:
        """The longest run that may be mixed: every divisor is tried that the readers' order allows."""
        for length in _divisors(len(group.rows)):
            if length == 1 or not all(_in_runs(consumer.channels, length) for consumer in group.consumers):
                continue
            with self._tried(group):
                rotate_heads(self.parts, self.root, group, Rotation(length, 5))
                if close(self.run(), self.output):
                    return length
        return 1

    def _tried(self, group: CoupledGroup) -> AbstractContextManager[None]:
        return tried(nn.ModuleList([self.root.get_submodule(name) for name in (group.source, *_sink_names(group))]))


def _sink_names(group: CoupledGroup) -> list[str]:
    return [consumer.name for consumer in group.consumers]


def _names(consumers: tuple[Consumer, ...]) -> str:
    return ", ".join(consumer.name for consumer in consumers)


def _source_channels(before: Tensor, after: Tensor, factors: Tensor) -> Tensor | None:
    """For each input the channel whose factor it was multiplied by, int64 [inputs]; None unless that holds for all."""
    if before.shape != after.shape or not len(before):
        return None
    size = before.square().sum(0)
    ratio = (before * after).sum(0) / size.clamp_min(1e-30)
    if bool((size == 0).any()) or bool((after - ratio * before).square().sum(0).gt(1e-6 * size).any()):
        return None
    step = float(factors[1] - factors[0]) if len(factors) > 1 else 1.0
    position = ((ratio - factors[0]) / step).round().long().clamp_(0, len(factors) - 1)
    matched = (ratio - factors[position]).abs() <= min(0.3 * step, 1e-3)
    return position if bool(matched.all()) else None


def _row_choices(outputs: int, widths: set[int]) -> Iterator[Tensor]:
    """Outputs of a source that may belong together: all of them, or one part of a fused layer.

    Fused layers: gate and up in halves; q, k and v one after another; q, k and v head by head.
    """
    every = torch.arange(outputs)
    yield every
    for width in sorted(widths, reverse=True):
        if outputs == 2 * width:
            yield every[width:]
            yield every[:width]
        rest = outputs - width
        if rest > 0 and rest % 2 == 0 and width % (rest // 2) == 0:
            yield every[outputs - rest // 2 :]
        if outputs == 3 * width:
            for length in _divisors(width):
                if 1 < length < width:
                    yield every.view(width // length, 3, length)[:, 2].reshape(-1)


def _in_runs(channels: Tensor, length: int) -> bool:
    """Whether the readers' inputs, in runs of `length`, each read one whole run of the source's channels in order."""
    if len(channels) % length:
        return False
    runs = channels.view(-1, length)
    return bool((runs[:, 0] % length == 0).all()) and torch.equal(runs, runs[:, :1] + torch.arange(length))


def _divisors(number: int) -> list[int]:
    """Descending."""
    return [divisor for divisor in range(number, 0, -1) if number % divisor == 0]
