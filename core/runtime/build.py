"""A checkpoint's weights become a running model, tensor by tensor and without any copy of the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from types import EllipsisType

import torch
from torch import Tensor, nn

from core.checkpoint.records import Layer
from core.errors import Cancelled, CheckpointError, UserError
from core.progress import NullProgress, Progress
from core.runtime.architecture import WHAT_STILL_WORKS, architecture_of
from core.runtime.quantised_inputs import quantise_inputs
from core.weights.weights import Weights

MAX_NAMED = 4


def compute_device() -> torch.device:
    """Where models run: the first NVIDIA GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_model(
    weights: Weights,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    progress: Progress | None = None,
    placeholders: Collection[str] = (),
) -> nn.Module:
    """The model of `weights`, decoded to dense, in evaluation mode; inputs are quantised where a treatment says so.

    Layers are read when `transformers` places them, so renaming, fusing and tying follow its own rules.
    placeholders: names of layers that get zeros which take no memory, because the caller replaces their modules.
    Raises CheckpointError when there is no causal language model, or tensors are missing or of the wrong shape.
    """
    architecture = architecture_of(weights.checkpoint)
    reading = _Reading(weights, progress or NullProgress())
    empty = set(placeholders)
    entries = {
        layer.tensor.name: _LazyTensor(layer, reading, dtype if layer.name in empty else None)
        for layer in weights.checkpoint.layers
    }
    target = device or compute_device()
    try:
        model, loading = architecture.model_class.from_pretrained(
            None,
            config=architecture.config,
            state_dict=entries,
            dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
        )
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, UserError, Cancelled) as error:
        if reading.failure is not None:
            raise reading.failure from error
        raise CheckpointError(
            f"The weights do not fit the architecture in config.json: {str(error).strip()[:300]}",
            where=weights.checkpoint.path,
            remedy=f"Is the config.json the one these weights were saved with? {WHAT_STILL_WORKS}",
        ) from error
    if reading.failure is not None:
        raise reading.failure
    _refuse_gaps(sorted(loading["missing_keys"]), weights)
    for name in sorted(loading["unexpected_keys"])[:MAX_NAMED]:
        reading.progress.note(f"'{name}' has no place in the architecture and is not used")
    loaded: nn.Module = model.requires_grad_(False).eval().to(target)
    quantise_inputs(loaded, weights, reading.progress)
    return loaded


@dataclass
class _Reading:
    """What all lazy tensors of one load share: the first failure in a reading thread must not be swallowed there."""

    weights: Weights
    progress: Progress
    failure: Exception | None = field(default=None)

    def run(self, read: Callable[[], Tensor]) -> Tensor:
        try:
            self.progress.check_cancelled()
            return read()
        except (UserError, Cancelled) as error:
            self.failure = self.failure or error
            raise


class _LazyTensor:
    """Stands in a state dict for a tensor on disk; `lazy[...]` reads it, as the slices of safetensors do."""

    def __init__(self, layer: Layer, reading: _Reading, empty: torch.dtype | None) -> None:
        self._layer = layer
        self._reading = reading
        self._empty = empty

    def __getitem__(self, _: EllipsisType) -> Tensor:
        if self._empty is not None:
            return torch.zeros((), dtype=self._empty).expand(self._layer.shape)
        return self._reading.run(lambda: self._reading.weights.dense(self._layer))


def _refuse_gaps(missing: list[str], weights: Weights) -> None:
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise CheckpointError(
            f"The architecture needs tensors that the checkpoint does not have: {', '.join(missing[:MAX_NAMED])}{more}",
            where=weights.checkpoint.path,
            remedy=f"Is it the whole checkpoint, and the right config.json? {WHAT_STILL_WORKS}",
        )
