"""Random copies of modules, to try on them what would be done to the real ones.

A rewrite that keeps the function of a module with random weights keeps it for all weights. So nothing has to be known
about a model but its modules, and the real weights need not be there yet.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchvise.core.errors import RecipeError

FEW_ROWS = 64
"""Rows of embedding tables and output heads in a copy: none is looked at twice."""

_WINDOWS, _TOKENS = 2, 12
FAULTS = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError)


class RandomCopy:
    """A random copy of one block with inputs to run it on.

    hidden: float32 [windows, tokens, width], random.
    """

    def __init__(self, block: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.block = random_copy(block)
        self._args, self._kwargs = args, kwargs
        like = args[0] if args else kwargs["hidden_states"]
        generator = torch.Generator().manual_seed(1)
        self.hidden = torch.randn(like.shape, generator=generator).to(like.device)

    def __call__(self, hidden: Tensor | None = None) -> Tensor:
        """The block's output for `hidden` (default: its own), of the same shape."""
        return run_block(self.block, self.hidden if hidden is None else hidden, self._args, self._kwargs)


def run_block(block: nn.Module, hidden: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Run a block on `hidden` with the other arguments that the model handed it.

    hidden and result: float32 [windows, tokens, width].

    A cache of past tokens is left out: it would grow from run to run.
    """
    args = tuple(None if _is_cache(value) else value for value in args)
    kwargs = {name: None if _is_cache(value) else value for name, value in kwargs.items()}
    with torch.no_grad():
        output = block(hidden, *args[1:], **kwargs) if args else block(**{**kwargs, "hidden_states": hidden})
    return first_tensor(output)


def _is_cache(value: object) -> bool:
    return hasattr(value, "get_seq_length")


def random_copy(module: nn.Module, replaced: Mapping[nn.Module, nn.Module] | None = None) -> nn.Module:
    """The module with random float32 weights, some of its modules replaced; nothing of it is read or copied but
    buffers.

    Embedding tables and layers with many outputs that lie beside replaced modules get few rows.
    """
    generator = torch.Generator().manual_seed(0)
    memo: dict[int, Any] = {id(old): new for old, new in (replaced or {}).items()}
    few = _few_rows(module, set(replaced)) if replaced else set()
    for name, parameter in _named(module, set(replaced or ())):
        shape = list(parameter.shape)
        if id(parameter) in few:
            shape[0] = min(shape[0], FEW_ROWS)
        values = _random(name, shape, generator).to("cpu" if parameter.is_meta else parameter.device)
        memo[id(parameter)] = nn.Parameter(values, requires_grad=False)
    for buffer in module.buffers():
        if buffer.is_meta:
            memo[id(buffer)] = torch.rand(buffer.shape, generator=generator).to(buffer.dtype)
        elif buffer.is_floating_point():
            memo[id(buffer)] = buffer.detach().float().clone()
    twin = copy.deepcopy(module, memo)
    for part in twin.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    return twin.eval()


class StandIn(nn.Module):
    """Passes its hidden state on, as the block it stands for would, and remembers how it was called.

    The first one multiplies each token by 1 and its size: a turned hidden state stays turned, but channels do not pass
    one by one, so that what lies before the blocks is not taken to group what lies behind them.
    """

    def __init__(self, *, first: bool, returns_tuple: bool) -> None:
        super().__init__()
        self.first = first
        self.returns_tuple = returns_tuple
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.args, self.kwargs = args, kwargs
        hidden = self.hidden
        if self.first:
            hidden = hidden * (1 + hidden.square().mean(-1, keepdim=True).sqrt())
        return (hidden,) if self.returns_tuple else hidden

    @property
    def hidden(self) -> Tensor:
        """The hidden state it was last given, float32 [windows, tokens, width]."""
        found: Tensor = self.args[0] if self.args else self.kwargs["hidden_states"]
        return found


class PassThroughCopy:
    """A random copy of a model whose blocks pass their input on: what lies around the blocks, on its own.

    tied: linear layers that share their weight with an embedding in the model; here each has its own.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[nn.Module]) -> None:
        self.stand_ins: tuple[StandIn, ...] = ()
        self._fault: Exception | None = None
        for returns_tuple in (False, True):
            self.stand_ins = tuple(StandIn(first=block is blocks[0], returns_tuple=returns_tuple) for block in blocks)
            self.model = random_copy(model, dict(zip(blocks, self.stand_ins, strict=True)))
            self.tied = _untie(self.model)
            self._inputs = _model_inputs(self.model)
            try:
                self()
                if self._passes_on():
                    return
            except FAULTS as error:
                self._fault = error
        raise RecipeError(
            f"{type(model).__name__} cannot be run on made-up inputs, so no transform can be proven to keep its "
            "function" + (f" ({str(self._fault).strip()[:200]})" if self._fault else ""),
            remedy="Leave the transforms out of the recipe.",
        )

    def __call__(self) -> Tensor:
        """The model's first output, for the same inputs each time."""
        with torch.no_grad():
            return first_tensor(self.model(**self._inputs))

    def all_outputs(self) -> Tensor:
        """The model's first output and what the first block is given, as one vector float32 [values]."""
        return torch.cat((self().flatten(), self.hidden.flatten()))

    @property
    def hidden(self) -> Tensor:
        """What the first block was last given, float32 [windows, tokens, width]."""
        return self.stand_ins[0].hidden

    @property
    def width(self) -> int:
        return int(self.hidden.shape[-1])

    def _passes_on(self) -> bool:
        shapes = {tuple(one.hidden.shape) for one in self.stand_ins}
        return len(shapes) == 1 and self.stand_ins[0].hidden.dim() == 3


@contextmanager
def tried(module: nn.Module) -> Iterator[None]:
    """What is done to the module's parameters in this section is undone at its end."""
    kept = [(parameter, parameter.data.clone()) for parameter in module.parameters()]
    try:
        yield
    finally:
        for parameter, values in kept:
            parameter.data.copy_(values)


def first_tensor(output: Any) -> Tensor:
    """The tensor, of any shape and dtype, that a module gives first. Raises TypeError when there is none."""
    parts = output.values() if isinstance(output, Mapping) else output
    for part in (output,) if isinstance(output, Tensor) else parts:
        if isinstance(part, Tensor):
            return part
    raise TypeError(f"{type(output).__name__} holds no tensor")


def _model_inputs(model: nn.Module) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(2)
    config: Any = getattr(model, "config", None)
    if getattr(model, "main_input_name", "input_ids") == "pixel_values":
        size = config.image_size if isinstance(config.image_size, list | tuple) else (config.image_size,) * 2
        return {"pixel_values": torch.randn(_WINDOWS, config.num_channels, *size, generator=generator)}
    ids = torch.randint(2, FEW_ROWS // 2, (_WINDOWS, _TOKENS), generator=generator)
    device = next((parameter.device for parameter in model.parameters()), ids.device)
    inputs: dict[str, Any] = {"input_ids": ids.to(device)}
    if hasattr(config, "use_cache"):
        inputs["use_cache"] = False
    return inputs


def _untie(model: nn.Module) -> frozenset[str]:
    """Give linear layers that share an embedding's table one of their own; their names."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    names = [
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module.weight) in tables
    ]
    for name in names:
        module = model.get_submodule(name)
        values = module.get_parameter("weight").data
        module.weight = nn.Parameter(values.flip(0).clone(), requires_grad=False)
    return frozenset(names)


def _few_rows(module: nn.Module, replaced: set[nn.Module]) -> set[int]:
    """Parameters whose first dimension may be cut, by id: tables, and layers that give more than any width."""
    tables = {id(part.weight) for part in _outside(module, replaced) if isinstance(part, nn.Embedding)}
    found = set(tables)
    for part in _outside(module, replaced):
        if isinstance(part, nn.Linear) and (id(part.weight) in tables or part.out_features > 8 * part.in_features):
            found |= {id(parameter) for parameter in part.parameters()}
    return found


def _outside(module: nn.Module, replaced: set[nn.Module]) -> Iterator[nn.Module]:
    if module in replaced:
        return
    yield module
    for child in module.children():
        yield from _outside(child, replaced)


def _named(module: nn.Module, replaced: set[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    for part in _outside(module, replaced):
        yield from part.named_parameters(recurse=False)


def _random(name: str, shape: list[int], generator: torch.Generator) -> Tensor:
    """Values that keep signals near unit size through any layer: biases small, gains near one."""
    values: Tensor = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return values / math.sqrt(max(1, shape[-1]))
    return values * 0.1 if name.endswith("bias") else (values * 0.2).clamp_(-0.8, 0.8) + 1
