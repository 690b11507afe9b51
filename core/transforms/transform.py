"""What the arithmetic of every transform offers to the walk through a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from torch import nn

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.transform import Transform

T = TypeVar("T", bound=Transform)

TreatedSchemes = Mapping[str, tuple[Scheme, Activations | None]]
"""How layers will be stored and their inputs rounded, by parameter name inside the block: "self_attn.q_proj.weight"."""


class NetworkRewrite(ABC, Generic[T]):
    """A rewrite of every block and of what lies around them, carried out piece by piece.

    notes: what is not done here and why, as sentences; complete after `embedding_and_head`.
    """

    notes: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, settings: T, model: nn.Module, blocks: Sequence[nn.Module], seed: int) -> None:
        """Find out what may be changed. Only shapes and structure of `model` are looked at, never its values.

        `blocks` are the model's own; raises RecipeError when the model cannot be run on made-up inputs.
        """

    @abstractmethod
    def embedding_and_head(self, model: nn.Module) -> None:
        """Change what lies outside the blocks (embeddings, last norm, head), float32, in place. Comes first."""

    @abstractmethod
    def block(self, block: nn.Module, index: int) -> None:
        """Change one block, float32, in place."""


class BlockRewrite(ABC, Generic[T]):
    """A rewrite that is found block by block from calibration inputs. One instance serves all blocks of a model."""

    def __init__(self, settings: T) -> None:
        self.settings = settings

    @abstractmethod
    def apply(self, block: nn.Module, run: Callable[[], None], schemes: TreatedSchemes) -> tuple[str, ...]:
        """Change the block, float32, in place, and say what was done and what was not.

        run: pushes all calibration inputs through the block once.
        """
