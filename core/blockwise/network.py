"""A transformers model of which one block at a time has weights: the way of hidden states through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.block_run import Arguments, BlockRun
from benchvise.core.checkpoint.records import Layer
from benchvise.core.evaluate.blocks import find_blocks
from benchvise.core.memory import release_freed
from benchvise.core.progress import Progress
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.build import compute_device, load_model
from benchvise.core.runtime.experts import expert_place, experts_one_by_one, write_expert
from benchvise.core.runtime.given import further_arguments, judged
from benchvise.core.runtime.replace import holder_name, is_mixed, parameter_name
from benchvise.core.weights.weights import Weights

KEPT_ARGUMENTS = 3
_TRIED_TOKENS = 16


class Network:
    """The model in float32, its ends (embeddings, last norm, head) with weights, its blocks without.

    blocks:  the decoder blocks, or the whole model as a single one where it cannot be taken apart; `notes` say so.
    inside:  by a layer's name, the block it belongs to; layers of the ends are not in it.
    Raises CheckpointError as `load_model` does.
    """

    def __init__(self, weights: Weights, progress: Progress, sample: Tensor | None = None) -> None:
        """sample: what calibration gives the network, where that are no ids: float [samples, …]."""
        self.weights = weights
        self._sample = sample if sample is not None and sample.is_floating_point() else None
        self.device = compute_device()
        self.notes: tuple[str, ...] = ()
        self._arguments: dict[tuple[int, int], list[Arguments]] = {}
        self._as_tuple: tuple[Any, ...] | None = None
        self._undo: list[Callable[[], None]] = []
        self._progress = progress
        layers = weights.checkpoint.layers
        meta = architecture_of(weights.checkpoint).on_meta()
        found = find_blocks(meta)
        path = found.path if found is not None else ""
        self.inside = layers_inside(meta, layers, path) if found is not None else {}
        fused = [layer.name for layer in layers if is_mixed(meta, layer)]
        self.whole = found is None
        self._resident = self.whole or bool(fused)
        self._load(path)
        if fused and not self.whole:
            self.notes += (
                f"All weights stay in memory at once: the architecture turns or mixes {fused[0]!r} with others"
                + (f" (and {len(fused) - 1} more layers likewise)" if len(fused) > 1 else ""),
            )

    @property
    def count(self) -> int:
        return len(self.blocks)

    def run(self, index: int) -> BlockRun:
        """The call of block `index`, whose weights are those that it has at the time."""
        if self.whole:
            following = partial(further_arguments, self.model)
            return BlockRun(self.model, index, lambda _windows, _tokens: Arguments((), {}), following=following)
        return BlockRun(self.blocks[index], index, lambda windows, tokens: self._given(windows, tokens)[index])

    def parameter_inside(self, index: int, layer: Layer) -> str | None:
        """The name, inside block `index`, of the parameter that is the layer's weight; None where there is none."""
        name = parameter_name(self.model, layer)
        return None if name is None else self.name_inside(index, name)

    def name_outside(self, index: int, name: str) -> str:
        """What `name_inside` undoes."""
        return name if self.whole else f"{self._path}.{index}.{name}"

    def name_inside(self, index: int, name: str) -> str:
        """The name, inside block `index`, of a parameter of the model."""
        return name if self.whole else name.removeprefix(f"{self._path}.{index}.")

    def load(self, index: int) -> None:
        """Give block `index` its weights, as the checkpoint has them."""
        if self._resident:
            return
        with torch.no_grad():
            for layer in self.weights.checkpoint.layers:
                if self.inside.get(layer.name) == index:
                    self._progress.check_cancelled()
                    self._fill(layer)
        self.blocks[index].to(self.device)

    def drop(self, index: int) -> None:
        """Take the weights of block `index` away, and undo what was to be undone with that."""
        while self._undo:
            self._undo.pop()()
        if not self._resident:
            empty(self.blocks[index])
            # Freed pieces of one block between which those of the next do not fit would add up.
            release_freed()

    def on_drop(self, undo: Callable[[], None]) -> None:
        """Have that done when the block under work is dropped."""
        self._undo.append(undo)

    @torch.no_grad()
    def enter(self, ids: Tensor) -> Tensor:
        """The hidden states [windows, tokens, width] that the first block is given for ids [windows, tokens]."""
        if self.whole:
            return ids.to(self.device)
        with self._standing_in(stop=lambda index: index == 0) as seen:
            self._forward(ids)
        return seen[0][0]

    @torch.no_grad()
    def leave(self, hidden: Tensor) -> Tensor:
        """Logits, float32 [windows, tokens, vocabulary], for what the last block gave, [windows, tokens, width]."""
        with self._standing_in(result=lambda index, given: hidden if index == self.count - 1 else given):
            return judged(self._forward(self._any_input(*hidden.shape[:2])))

    def _load(self, path: str) -> None:
        placeholders = () if self._resident else self.inside
        self.model = load_model(
            self.weights, device=torch.device("cpu"), progress=self._progress, placeholders=placeholders
        )
        self._path = path
        self.blocks: tuple[nn.Module, ...] = (self.model,)
        if not self.whole:
            holder: nn.Module = self.model.get_submodule(path)
            self.blocks = tuple(holder.children())
            if not self._only_hidden_states_pass():
                self.whole = self._resident = True
                self.inside = {}
                self._load("")
                return
        if self.whole:
            name = type(self.model).__name__
            self.notes += (f"{name} cannot be taken apart into blocks: one block of all, with all weights in memory",)
            self.inside = {layer.name: 0 for layer in self.weights.checkpoint.layers}
        self._move_ends()

    def _move_ends(self) -> None:
        """Bring what has weights to the device; blocks are brought there as they get theirs."""
        if self._resident:
            self.model.to(self.device)
            return
        parent, _, leaf = self._path.rpartition(".")
        owner, blocks = self.model.get_submodule(parent), self.model.get_submodule(self._path)
        setattr(owner, leaf, nn.ModuleList())
        self.model.to(self.device)
        setattr(owner, leaf, blocks)

    def _fill(self, layer: Layer) -> None:
        name, place = parameter_name(self.model, layer), expert_place(self.model, layer)
        holder = place.name if place is not None else name
        if holder is None:
            raise RuntimeError(f"{layer.name} has lost its place in the model")
        path, _, leaf = holder.rpartition(".")
        module = self.model.get_submodule(path)
        parameter = module.get_parameter(leaf)
        if place is None:
            weight = self.weights.dense(layer).to(device=self.device, dtype=parameter.dtype).contiguous()
            setattr(module, leaf, nn.Parameter(weight, requires_grad=False))
            return
        if _is_empty(parameter):
            stack = torch.empty(parameter.shape, dtype=parameter.dtype, device=self.device)
            setattr(module, leaf, nn.Parameter(stack, requires_grad=False))
        write_expert(self.model, place, self.weights.dense(layer))

    def _given(self, windows: int, tokens: int) -> list[Arguments]:
        """What the model's own forward hands to each block for so many windows and tokens."""
        key = (windows, tokens)
        if key not in self._arguments:
            while len(self._arguments) >= KEPT_ARGUMENTS:
                del self._arguments[next(iter(self._arguments))]
            self._arguments[key] = [given for _, given in self._pass_through(self._any_input(windows, tokens))]
        return self._arguments[key]

    def _any_input(self, windows: int, tokens: int) -> Tensor:
        """Ids that are all equal, or zeros: what they are was found to make no difference."""
        if self._sample is not None:
            return self._sample.new_zeros(windows, *self._sample.shape[1:])
        return torch.ones(windows, tokens, dtype=torch.int64)

    def _other_input(self) -> Tensor:
        """Something else."""
        if self._sample is not None:
            return torch.linspace(-1, 1, self._sample[:1].numel()).reshape(self._sample[:1].shape)
        return torch.arange(_TRIED_TOKENS)[None] % 7

    def _forward(self, given: Tensor) -> Any:
        on_device = given.to(self.device)
        try:
            return self.model(on_device, **further_arguments(self.model, on_device))
        except _Stopped:
            return None

    def _pass_through(self, ids: Tensor, step: float = 0.0) -> list[tuple[Tensor, Arguments]]:
        """What each block is given when every block adds `step` to its hidden state and does nothing else."""
        last = self.count - 1
        with (
            torch.no_grad(),
            self._standing_in(lambda index: index == last, lambda _, given: given + step if step else given) as seen,
        ):
            self._forward(ids)
        return seen

    def _only_hidden_states_pass(self) -> bool:
        """Whether blocks can be run one by one: each gets what the one before gave, and else nothing that depends on it
        or on the text. Found by trying."""
        try:
            self._as_tuple = self._rest_of_output()
            plain = self._pass_through(self._any_input(1, _TRIED_TOKENS))
            other = self._pass_through(self._other_input(), step=1.0)
            if self._handed_on(plain) or not self._shapes_stay(plain):
                return False
        except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError):
            return False
        chained = all(torch.equal(after, before + 1.0) for (before, _), (after, _) in pairwise(other))
        equal = all(_equal(a, b) for (_, a), (_, b) in zip(plain, other, strict=True))
        return len(plain) == self.count and chained and equal

    def _handed_on(self, given: list[tuple[Tensor, Arguments]]) -> bool:
        """Whether what the first block returns beside its hidden state is given to another one."""
        beside = {id(part) for part in self._as_tuple or () if isinstance(part, Tensor)}
        return any(
            id(part) in beside
            for _, arguments in given
            for part in (*arguments.args, *arguments.kwargs.values())
            if isinstance(part, Tensor)
        )

    def _shapes_stay(self, given: list[tuple[Tensor, Arguments]]) -> bool:
        """Whether a block of each make gives hidden states of the shape that it is given."""
        tried: set[tuple[object, ...]] = set()
        for block, (hidden, arguments) in zip(self.blocks, given, strict=True):
            make = tuple((name, parameter.shape) for name, parameter in block.named_parameters())
            if make not in tried and self._called(block, hidden, arguments).shape != hidden.shape:
                return False
            tried.add(make)
        return True

    def _called(self, block: nn.Module, hidden: Tensor, given: Arguments) -> Any:
        with torch.no_grad(), experts_one_by_one(self.model):  # the block has no weights yet
            output = block(hidden, *given.args, **given.kwargs)
        return output[0] if isinstance(output, tuple) else output

    def _rest_of_output(self) -> tuple[Any, ...] | None:
        """What a block returns after its hidden state; None when it returns nothing but that."""
        with torch.no_grad():
            with self._standing_in(lambda index: index == 0) as seen:
                self._forward(self._any_input(1, _TRIED_TOKENS))
            hidden, given = seen[0]
            with experts_one_by_one(self.model):  # the block has no weights yet
                output = self.blocks[0](hidden, *given.args, **given.kwargs)
        return tuple(output[1:]) if isinstance(output, tuple) else None

    @contextmanager
    def _standing_in(
        self,
        stop: Callable[[int], bool] = lambda _: False,
        result: Callable[[int, Tensor], Tensor] = lambda _, given: given,
    ) -> Iterator[list[tuple[Tensor, Arguments]]]:
        """Every block notes what it is given and returns `result` of its hidden state; after `stop`, nothing runs."""
        seen: list[tuple[Tensor, Arguments]] = []

        def stand_in(index: int) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                if args:
                    hidden, *rest = args
                else:
                    hidden, rest = kwargs.pop("hidden_states"), []
                seen.append((hidden, Arguments(tuple(rest), kwargs)))
                if stop(index):
                    raise _Stopped
                given = result(index, hidden)
                return given if self._as_tuple is None else (given, *self._as_tuple)

            return forward

        for index, block in enumerate(self.blocks):
            block.forward = stand_in(index)
        try:
            yield seen
        finally:
            for block in self.blocks:
                del block.forward


class _Stopped(Exception):  # noqa: N818 - it is an outcome, not an error
    """What was wanted of a forward pass is there."""


def empty(module: nn.Module) -> None:
    """Replace all parameters by zeros that share one place in memory."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            zeros = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
            setattr(part, name, nn.Parameter(zeros, requires_grad=False))


def _is_empty(parameter: Tensor) -> bool:
    return parameter.numel() > 1 and not any(parameter.stride())


def layers_inside(model: nn.Module, layers: tuple[Layer, ...], path: str) -> dict[str, int]:
    """By the names of the layers that lie in the list of blocks at `path` of the model, which block that is."""
    found: dict[str, int] = {}
    for layer in layers:
        name = holder_name(model, layer)
        if name is not None and name.startswith(f"{path}."):
            found[layer.name] = int(name[len(path) + 1 :].split(".", 1)[0])
    return found


def _equal(one: Any, other: Any) -> bool:
    """Whether two arguments hold the same, as far as tensors go."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Arguments) and isinstance(other, Arguments):
        return _equal(one.args, other.args) and _equal(one.kwargs, other.kwargs)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return isinstance(one, Tensor) == isinstance(other, Tensor)
