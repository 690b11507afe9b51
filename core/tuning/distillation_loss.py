"""What distillation lowers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import cross_entropy

from benchvise.core.evaluate.divergence import kl_divergence
from benchvise.core.methods.distil import Distil


def distillation_loss(settings: Distil, logits: Tensor, ids: Tensor, wanted: Tensor) -> Tensor:
    """α·CE + (1 − α)·T²·KL, a scalar: means over positions, CE over those that have a next token.

    logits, wanted: float32 [windows, tokens, vocabulary], of the student and, as log-probabilities, of the original.
    ids: int64 [windows, tokens].
    """
    found, alpha, heat = logits.log_softmax(-1), settings.hard_labels, settings.temperature
    loss = logits.new_zeros(())
    if alpha < 1:
        soft, hard = found, wanted
        if heat != 1:
            soft, hard = (logits / heat).log_softmax(-1), (wanted / heat).log_softmax(-1)
        loss = (1 - alpha) * heat**2 * kl_divergence(hard.flatten(0, 1), soft.flatten(0, 1)).mean()
    if alpha > 0:
        following = ids[:, 1:].to(logits.device).flatten()
        loss = loss + alpha * cross_entropy(logits[:, :-1].flatten(0, 1), following)
    return loss


def hidden_error(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """The squared error of hidden states as a share of the original's squares, a scalar: the mean over our blocks.

    ours, theirs: float32 [windows, tokens, width] behind each block. Where the original has more blocks, each of ours
    is held against the one that is as far on the way. Raises ValueError for widths that differ.
    """
    widths = {states.shape[-1] for states in (*ours, *theirs)}
    if len(widths) > 1:
        raise ValueError(f"hidden states of the widths {sorted(widths)} cannot be compared")
    pairs = [(states, theirs[(at + 1) * len(theirs) // len(ours) - 1]) for at, states in enumerate(ours)]
    errors = [(own - other).square().mean() / other.square().mean() for own, other in pairs]
    return sum(errors[1:], errors[0]) / len(errors)
