"""What hooks see in the original network, kept until the compressed one comes to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.input_hooks import InputHook, Observed
from benchvise.core.blockwise.statistics import Stream, Wanted, finite


class OriginalInputs:
    """The inputs at those of the hooks at which moments with the original's are wanted, by the hooks' numbers.

    Where the block multiplies in half precision, they are kept so, as their layers see them.
    """

    def __init__(self, hooks: Sequence[InputHook], wanted: Wanted) -> None:
        self._hooks = {number: hook for number, hook in enumerate(hooks) if wanted.compares(hook)}
        self._kept: dict[int, Tensor] = {}

    def see(self, stream: Stream, batching: Batching, outputs: Tensor | None, done: Callable[[int], None]) -> None:
        """Push all windows of the original's stream through; `done` is told how many at a time.

        outputs: float32 [windows, tokens, width], filled with what the block gives; may be the stream's hidden states.
        Raises NotFinite.
        """
        hooks = tuple(self._hooks.values())
        windows = len(stream.hidden)

        def take(part: slice, seen: Observed) -> None:
            for number, ((_, rows),) in zip(self._hooks, seen.inputs, strict=True):
                found = rows.view(part.stop - part.start, -1, rows.shape[1])
                if number not in self._kept:
                    dtype = stream.run.dtype or found.dtype
                    self._kept[number] = found.new_empty(windows, *found.shape[1:], dtype=dtype)
                self._kept[number][part] = found
            if outputs is not None and seen.output is not None:
                outputs[part] = finite(seen.output)
            done(part.stop - part.start)

        if hooks or outputs is not None:
            batching.run(windows, lambda part: stream.observe(part, hooks, to_end=outputs is not None), take)

    def of(self, number: int, part: slice) -> list[Tensor] | None:
        """The inputs [tokens, columns] of hook `number`, float32 or bfloat16, for the slice of the windows; None where
        they are not wanted."""
        kept = self._kept.get(number)
        return None if kept is None else [torch.flatten(kept[part], 0, 1)]

    def forget(self, number: int) -> None:
        """Tap `number` asks no more."""
        self._kept.pop(number, None)
