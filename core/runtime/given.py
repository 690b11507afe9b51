"""What a network is given, and what of its answer is judged: ids, images or sound in; logits or hidden states out."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

IDS = "input_ids"


def main_input(model_class: type) -> str:
    """The name of a network's first argument: "input_ids", "pixel_values", "input_features", …"""
    return str(getattr(model_class, "main_input_name", IDS))


def _takes(model: nn.Module, argument: str) -> bool:
    return argument in inspect.signature(model.forward).parameters


def further_arguments(model: nn.Module, given: Tensor) -> dict[str, Any]:
    """What a network is called with besides its first argument, which `given` is.

    A decoder that answers an encoder reads the same ids; where the encoder reads no ids, it reads the one that texts
    begin with. given: int64 [windows, tokens], or float [samples, …].
    """
    found: dict[str, Any] = {"use_cache": False} if _takes(model, "use_cache") else {}
    if _takes(model, "decoder_input_ids"):
        found["decoder_input_ids"] = given if not given.is_floating_point() else _first_ids(model, given)
    return found


def judged(answer: Any) -> Tensor:
    """The tensor in a network's answer that it is judged by: logits where there are any, else the first one.

    It is in the model's dtype, [windows, tokens, vocabulary or width] for text; what lies between differs for other
    inputs.
    """
    logits = getattr(answer, "logits", None)
    found: Tensor = logits if isinstance(logits, Tensor) else answer if isinstance(answer, Tensor) else answer[0]
    return found


def has_logits(answer: Any) -> bool:
    """Whether the answer holds logits of a distribution."""
    return isinstance(getattr(answer, "logits", None), Tensor)


def answer_of(model: nn.Module, given: Tensor) -> Any:
    """What the network answers to `given`, int64 [windows, tokens] or float32 [samples, …], on its own device."""
    on_device = given.to(next(model.parameters()).device)
    return model(on_device, **further_arguments(model, on_device))


def _first_ids(model: nn.Module, given: Tensor) -> Tensor:
    config = model.config.get_text_config(decoder=True)  # type: ignore[union-attr, operator]
    start = int(getattr(config, "decoder_start_token_id", None) or getattr(config, "bos_token_id", None) or 0)
    known = start < int(getattr(config, "vocab_size", start + 1))
    return torch.full((len(given), 1), start if known else 0, dtype=torch.int64, device=given.device)
