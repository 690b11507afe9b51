"""What the linear layers of a block get while calibration inputs run through it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SAMPLE_TOKENS = 1024
_SUM_TOKENS = 512


class InputSample:
    """Of one layer's inputs: the greatest and the mean magnitude of each, and a sample of tokens drawn evenly."""

    def __init__(self, generator: torch.Generator) -> None:
        self.tokens = 0
        self._generator = generator
        self._greatest = torch.empty(0)
        self._sums = np.zeros(0)
        self._rows = torch.empty(0)
        self._keys = torch.empty(0)

    def add(self, inputs: Tensor) -> None:
        """inputs: [..., columns] of any floating dtype."""
        rows = inputs.detach().float().reshape(-1, inputs.shape[-1])
        keys = torch.rand(len(rows), generator=self._generator)
        if not len(rows):
            return
        sizes = rows.abs()
        sums = _column_sums(sizes)
        if self.tokens:
            self._greatest = torch.maximum(self._greatest, sizes.amax(0))
            self._sums += sums
            rows, keys = torch.cat((self._rows, rows)), torch.cat((self._keys, keys))
        else:
            self._greatest, self._sums = sizes.amax(0), sums
        self.tokens += len(sizes)
        kept = keys.topk(min(SAMPLE_TOKENS, len(keys))).indices
        self._rows, self._keys = rows[kept.to(rows.device)], keys[kept]

    @property
    def greatest(self) -> Tensor:
        """max|x|, float32 [columns]."""
        return self._greatest

    @property
    def mean(self) -> Tensor:
        """mean|x|, float32 [columns]."""
        return torch.from_numpy(self._sums / max(1, self.tokens)).float().to(self._greatest.device)

    @property
    def rows(self) -> Tensor:
        """At most SAMPLE_TOKENS tokens, float32 [n, columns]."""
        return self._rows


class BlockInputs:
    """Everything `observe_inputs` saw: samples by layer, and how the block itself was called first."""

    def __init__(self) -> None:
        self.samples: dict[str, InputSample] = {}
        self.args: tuple[Any, ...] | None = None
        self.kwargs: Mapping[str, Any] = {}


def observe_inputs(block: nn.Module, run: Callable[[], None], layers: Collection[str]) -> BlockInputs:
    """Run the calibration inputs through the block and look at what its layers, by name, get.

    Layers that are handed the very same tensor share one sample.
    """
    seen = BlockInputs()
    generator = torch.Generator().manual_seed(8)
    shared: set[str] = set()
    last: list[tuple[Tensor, str]] = []

    def layer_called(name: str, inputs: tuple[Tensor, ...]) -> None:
        if name in shared:
            return
        if name not in seen.samples and last and last[0][0] is inputs[0]:
            shared.add(name)
            seen.samples[name] = seen.samples[last[0][1]]
            return
        seen.samples.setdefault(name, InputSample(generator)).add(inputs[0])
        last[:] = [(inputs[0], name)]

    def block_called(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if seen.args is None:
            seen.args, seen.kwargs = args, dict(kwargs)

    hooks = [block.register_forward_pre_hook(lambda _, args, kwargs: block_called(args, kwargs), with_kwargs=True)]
    hooks += [
        block.get_submodule(name).register_forward_pre_hook(lambda _, inputs, name=name: layer_called(name, inputs))
        for name in layers
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _column_sums(values: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Sums over the rows by numpy: the order of torch's own depends on the number of threads."""
    sums = np.zeros(values.shape[1])
    for start in range(0, len(values), _SUM_TOKENS):
        sums += values[start : start + _SUM_TOKENS].double().cpu().numpy().sum(0)
    return sums
