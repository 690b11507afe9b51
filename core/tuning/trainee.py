"""A compressed network while one tuning step trains it: what every kind of step gives to the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.evaluate.divergence import kl_divergence
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.weights.weights import RunWeights

S = TypeVar("S", bound=Tuning)


@dataclass(frozen=True)
class Rewritten:
    """A layer as training left it: the tensors of its treatment, or {"weight": …} for a layer that is kept."""

    layer: Layer
    treatment: Treatment
    stored: dict[str, Tensor]


class Trainee(ABC, Generic[S]):
    """Made once for a step, from what the job left so far. The loop owns optimiser, order of samples and state.

    notes: what is not trained, and why, as sentences. hidden: whether the loss looks at the original's hidden states.
    """

    notes: tuple[str, ...] = ()
    hidden: bool = False

    @abstractmethod
    def __init__(self, weights: RunWeights, settings: S, progress: Progress) -> None:
        """Load the network. Raises CheckpointError as `load_model` does."""

    @property
    @abstractmethod
    def parameters(self) -> list[Tensor]:
        """What is trained: float32 leaves of any shape in a fixed order, the same ones at every call."""

    @abstractmethod
    def logits(self, ids: Tensor) -> Tensor:
        """Logits [windows, tokens, vocabulary] for ids int64 [windows, tokens], with gradients to `parameters`."""

    def loss(self, ids: Tensor, wanted: Tensor, hidden: Sequence[Tensor] = ()) -> Tensor:  # noqa: ARG002 - asked for by `hidden`
        """What a step lowers, a scalar: the mean KL from the original's log-probabilities `wanted`, float32 [windows,
        tokens, vocabulary], for ids int64 [windows, tokens].

        hidden: the original's hidden states behind its blocks, float32 [windows, tokens, width]; none unless asked for.
        """
        found = self.logits(ids).float().log_softmax(-1)
        return kl_divergence(wanted.flatten(0, 1), found.flatten(0, 1)).mean()

    def after_step(self) -> None:
        """Bring the parameters back to where they may be, after the optimiser moved them."""

    @abstractmethod
    def rewritten(self) -> Iterator[Rewritten]:
        """Every layer whose stored tensors training changed."""
