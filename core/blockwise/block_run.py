"""One block of a network, called as the model itself would call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchvise.core.runtime.given import judged


@dataclass(frozen=True)
class Arguments:
    """What a block is given besides its hidden state, which always comes first."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class ModuleForward(Protocol):
    """Hidden states (or ids) pushed through a module, whose parts can be observed meanwhile.

    dtype: in which its layers multiply where that is not float32, else None.
    """

    @property
    def module(self) -> nn.Module: ...

    @property
    def dtype(self) -> torch.dtype | None: ...

    def __call__(self, hidden: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class EndRun:
    """What lies before the first block or behind the last one; `module` is the whole model."""

    module: nn.Module
    call: Callable[[Tensor], Tensor]
    dtype: torch.dtype | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        return self.call(hidden)


@dataclass(frozen=True)
class BlockRun:
    """`run(hidden)`: what the block makes of hidden states [windows, tokens, width], of any number of windows.

    Masks, rotary tables and all other arguments are those that the model's own forward hands to this block. Gradients
    flow when the caller lets them. Where a model cannot be taken apart, the block is the whole model, its hidden state
    the token ids int64 [windows, tokens], and the result the logits [windows, tokens, vocabulary].

    index:     which block.
    arguments: for hidden states of so many windows and tokens.
    dtype:     of floating tensors among the arguments; None for what the model's own forward makes them.
    following: more arguments, which are made of the hidden state itself.
    """

    module: nn.Module
    index: int
    arguments: Callable[[int, int], Arguments]
    dtype: torch.dtype | None = None
    following: Callable[[Tensor], dict[str, Any]] | None = None

    def __call__(self, hidden: Tensor) -> Tensor:
        given = self._given(hidden)
        return hidden_of(self.module(hidden, *given.args, **given.kwargs))

    def with_parameters(self, parameters: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """As `BlockForward.with_parameters`: hidden and result float32 [windows, tokens, width]."""
        given = self._given(hidden)
        return hidden_of(functional_call(self.module, dict(parameters), (hidden, *given.args), given.kwargs))

    def _given(self, hidden: Tensor) -> Arguments:
        given = self.arguments(hidden.shape[0], hidden.shape[1])
        if self.following is not None:
            given = Arguments(given.args, {**given.kwargs, **self.following(hidden)})
        if self.dtype is None:
            return given
        return Arguments(_cast(given.args, self.dtype), _cast(given.kwargs, self.dtype))

    def of(self, module: nn.Module) -> BlockRun:
        """The same call on another module of the same make, such as a copy from before it was compressed."""
        return replace(self, module=module)


def hidden_of(output: Any) -> Tensor:
    """The hidden state, float32 [windows, tokens, width], in what a block returned; of a whole model the logits."""
    return judged(output)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """The same with floating tensors of that dtype, wherever they are in tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if type(value) in (tuple, list):
        return type(value)(_cast(each, dtype) for each in value)
    if type(value) is dict:
        return {key: _cast(each, dtype) for key, each in value.items()}
    return value
