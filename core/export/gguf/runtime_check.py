"""A written GGUF file loaded by llama.cpp itself, and its outputs held against the workbench's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchvise.core.errors import CheckpointError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.progress import NullProgress, Progress
from benchvise.core.runtime.architecture import language_model_of
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.llama_cpp import ask
from benchvise.core.runtime.tokenizer import load_tokenizer
from benchvise.core.weights.weights import Weights

COMPARED_BYTES = 600 << 20
"""Float32 bytes of a network above which it is only loaded, since the workbench's own takes that much memory."""
MAX_KL = 0.05
"""Nats per token above which the file computes something else. llama.cpp rounds the inputs of its block types to 8
bits, which alone costs up to some thousandths; a tensor in the wrong place costs whole nats."""

_TEXTS = (
    "The old lighthouse keeper climbed the stairs every evening, counted the ships that passed, and wrote their names.",
    "Water boils at 100 degrees at sea level; on a mountain of 3,000 metres it boils at about 90. Why?",
)
_TOKENS = 48


def checked_by_llama_cpp(path: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:
    """What was found, as a phrase; "" where llama.cpp is not installed.

    Raises RuntimeError where llama.cpp computes something else, CheckpointError where it does not load the file.
    """
    if not ask.is_installed():
        return ""
    told = ask.tell(path, _TEXTS)
    sequences, same = _sequences(weights, told)
    read = (
        f", and reads text {'in the same way' if same else 'in another way'}"
        if told.tokens and same is not None
        else ""
    )
    # A table of rotary factors is no setting of `transformers`: the workbench's network lacks it, the file has it.
    incomplete = weights.checkpoint.kind == "gguf" and bool(weights.checkpoint.left_out)
    if not sequences or incomplete or 4 * weights.checkpoint.parameters > COMPARED_BYTES:
        return f"llama.cpp loads it{read}"
    try:
        ours = _our_logits(weights, sequences)
    except CheckpointError:  # no network that the workbench can run
        return f"llama.cpp loads it{read}"
    progress.check_cancelled()
    divergence = _divergence(path, sequences, ours)
    if not divergence <= MAX_KL:
        raise RuntimeError(f"llama.cpp computes something else from '{plan.target}': KL {divergence:.3g} per token")
    return f"llama.cpp computes the same: mean KL {divergence:.1e} over {sum(map(len, sequences))} tokens{read}"


def _sequences(weights: Weights, told: ask.Told) -> tuple[list[list[int]], bool | None]:
    """Tokens to compare on, and whether llama.cpp reads the texts as the checkpoint's own tokenizer does."""
    any_tokens = [[(7 * place + 3) % told.vocabulary for place in range(_TOKENS)]]
    if not told.reads_text:
        return any_tokens, None
    try:
        tokenizer = load_tokenizer(weights.checkpoint)
        ours = [tokenizer(text)["input_ids"][:_TOKENS] for text in _TEXTS]
    except (CheckpointError, ValueError, KeyError, TypeError):
        return any_tokens, None
    same = bool(told.tokens) and [list(each[:_TOKENS]) for each in told.tokens] == ours
    return [each for each in ours if each], same


def _our_logits(weights: Weights, sequences: list[list[int]]) -> list[torch.Tensor]:
    language_model_of(weights.checkpoint)
    model = load_model(weights, device=torch.device("cpu"), progress=NullProgress())
    with torch.no_grad():
        return [model(torch.tensor([each])).logits[0].float() for each in sequences]


def _divergence(path: Path, sequences: list[list[int]], ours: list[torch.Tensor]) -> float:
    """Mean KL of llama.cpp's next tokens to ours, in nats."""
    found = []
    for theirs, expected in zip(ask.logits(path, sequences), ours, strict=True):
        found.append(_kl(expected, theirs))
    return float(torch.cat(found).mean())


def _kl(ours: torch.Tensor, theirs: NDArray[np.float32]) -> torch.Tensor:
    log = ours.double().log_softmax(-1)
    other = torch.from_numpy(theirs[:, : ours.shape[-1]].copy()).double().log_softmax(-1)
    return (log.exp() * (log - other)).sum(-1)
