"""One block of a network, called as the model itself would call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor, nn
from torch.func import functional_call


@dataclass(frozen=True)
class Arguments:
    """What a block is given besides its hidden state, which always comes first."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class ModuleForward(Protocol):
    """Hidden states (or ids) pushed through a module, whose parts can be observed meanwhile."""

    @property
    def module(self) -> nn.Module: ...

    def __call__(self, hidden: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class EndRun:
    """What lies before the first block or behind the last one; `module` is the whole model."""

    module: nn.Module
    call: Callable[[Tensor], Tensor]

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
    """

    module: nn.Module
    index: int
    arguments: Callable[[int, int], Arguments]

    def __call__(self, hidden: Tensor) -> Tensor:
        given = self.arguments(hidden.shape[0], hidden.shape[1])
        return hidden_of(self.module(hidden, *given.args, **given.kwargs))

    def with_parameters(self, parameters: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """As `BlockForward.with_parameters`: hidden and result float32 [windows, tokens, width]."""
        given = self.arguments(hidden.shape[0], hidden.shape[1])
        return hidden_of(functional_call(self.module, dict(parameters), (hidden, *given.args), given.kwargs))

    def of(self, module: nn.Module) -> BlockRun:
        """The same call on another module of the same make, such as a copy from before it was compressed."""
        return replace(self, module=module)


def hidden_of(output: Any) -> Tensor:
    """The hidden state, float32 [windows, tokens, width], in what a block returned; of a whole model the logits."""
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found
