"""A model's forward pass taken up in the middle: blocks before a changed layer need not be computed again.

The model's own forward pass runs, so that embeddings, masks, rotary tables, the last norm and the head are its own;
only the blocks before the one to start from are stood in for, the last of them giving the hidden state it gave when it
was captured. Whether a model allows this is not guessed from its class but tried: see `resumable`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.evaluate.forward import logits_of
from benchvise.core.runtime.replace import holder_name

CAPTURE_BYTES = 2 << 30
_FAULTS = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError, AssertionError)


@dataclass(frozen=True)
class Blocks:
    """The stack of decoder layers of a model and where it lies, e.g. "model.layers"."""

    path: str
    modules: tuple[nn.Module, ...]


@dataclass(frozen=True)
class Captured:
    """What the blocks gave for one batch. `outputs[i]` is what block i returned, None where it was not kept."""

    ids: Tensor
    outputs: tuple[Any, ...]

    def nearest(self, start: int) -> int:
        """The latest block, at most `start`, before which an output was kept; 0 is the whole model."""
        while start > 0 and self.outputs[start - 1] is None:
            start -= 1
        return start


def find_blocks(model: nn.Module) -> Blocks | None:
    """The longest list of equal modules that holds most of the model's weights, None when there is no such list."""
    total = sum(parameter.numel() for parameter in model.parameters())
    best: Blocks | None = None
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) < 2 or len({type(child) for child in module}) > 1:
            continue
        if best is not None and path.startswith(f"{best.path}."):
            continue
        found = Blocks(path, tuple(module))
        if best is None or _weights(found) > _weights(best):
            best = found
    return best if best is not None and 4 * _weights(best) >= total - _embedding_weights(model) else None


def capture(model: nn.Module, blocks: Blocks, ids: Tensor, hidden_bytes: int) -> tuple[Captured, Tensor]:
    """Run the model on a batch of ids, int64 [windows, tokens]; what the blocks gave, and the logits.

    The logits [windows, tokens, vocabulary] are in the model's dtype.
    hidden_bytes: of one hidden state over all batches; only every so many blocks are kept when all would take more than
    CAPTURE_BYTES.
    """
    stride = max(1, -(-hidden_bytes * len(blocks.modules) // CAPTURE_BYTES))
    kept: list[Any] = [None] * len(blocks.modules)

    def keep(index: int, output: Any) -> None:
        if (index + 1) % stride == 0 or index + 1 == len(kept):
            kept[index] = _detached(output)

    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output, index=index: keep(index, output))
        for index, block in enumerate(blocks.modules)
    ]
    try:
        logits = logits_of(model, ids)
    finally:
        for hook in hooks:
            hook.remove()
    return Captured(ids, tuple(kept)), logits


def resume(model: nn.Module, blocks: Blocks, captured: Captured, start: int) -> Tensor:
    """Logits of the captured batch, computed from block `start` on (the number of blocks: only what follows them).

    They are [windows, tokens, vocabulary] in the model's dtype.
    """
    start = captured.nearest(start)
    with _standing_in(blocks, captured, start):
        return logits_of(model, captured.ids)


def resumable(model: nn.Module, blocks: Blocks, captured: Captured, logits: Tensor) -> bool:
    """Whether taking the pass up after the first, a middle and the last block gives exactly the same logits.

    logits: of the captured batch, [windows, tokens, vocabulary] in the model's dtype.
    """
    count = len(blocks.modules)
    for start in sorted({1, count // 2, count - 1, count}):
        try:
            if not torch.equal(resume(model, blocks, captured, start), logits):
                return False
        except _FAULTS:
            return False
    return True


def first_affected(model: nn.Module, blocks: Blocks, layer: Layer) -> int:
    """The first block whose result depends on the layer; their number for an untied output head."""
    name = holder_name(model, layer) or ""
    if name.startswith(f"{blocks.path}."):
        return int(name[len(blocks.path) + 1 :].split(".", 1)[0])
    head = model.get_output_embeddings()  # type: ignore[operator]
    changed = model.get_parameter(name) if name else None
    if head is None or changed is None or changed is not head.weight:
        return 0
    entrance = model.get_input_embeddings()  # type: ignore[operator]
    return 0 if changed is entrance.weight else len(blocks.modules)


@contextmanager
def _standing_in(blocks: Blocks, captured: Captured, start: int) -> Iterator[None]:
    """Blocks before `start` give what they gave when captured; those with no kept output pass their input on."""
    rest = next((output[1:] for output in captured.outputs if isinstance(output, tuple)), None)

    def stand_in(index: int) -> Any:
        output = captured.outputs[index]

        def forward(*args: Any, **kwargs: Any) -> Any:
            if output is not None:
                return output
            hidden = args[0] if args else kwargs["hidden_states"]
            return hidden if rest is None else (hidden, *rest)

        return forward

    replaced = blocks.modules[:start]
    own = [vars(block).get("forward") for block in replaced]
    for index, block in enumerate(replaced):
        block.forward = stand_in(index)
    try:
        yield
    finally:
        for block, forward in zip(replaced, own, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward


def _detached(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, tuple):
        return tuple(part.detach() if isinstance(part, Tensor) else part for part in output)
    return output


def _weights(blocks: Blocks) -> int:
    return sum(parameter.numel() for block in blocks.modules for parameter in block.parameters())


def _embedding_weights(model: nn.Module) -> int:
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        tables.append(head.weight)
    return sum(table.numel() for table in {id(table): table for table in tables}.values())
