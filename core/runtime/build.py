"""A checkpoint's weights become a running model, tensor by tensor and without any copy of the whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from types import EllipsisType

import torch
from torch import Tensor, nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import Cancelled, CheckpointError, UserError
from benchvise.core.progress import NullProgress, Progress
from benchvise.core.runtime.architecture import WHAT_STILL_WORKS, Architecture, architecture_of
from benchvise.core.runtime.experts import expert_places
from benchvise.core.runtime.quantised_inputs import quantise_inputs
from benchvise.core.weights.weights import Weights

MAX_NAMED = 4
DEVICE_VARIABLE = "BENCHVISE_DEVICE"


def compute_device() -> torch.device:
    """Where models run: the first NVIDIA GPU, else the CPU; the CPU where $BENCHVISE_DEVICE is "cpu"."""
    wanted = os.environ.get(DEVICE_VARIABLE, "")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


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
    entries = _entries(weights, reading, set(placeholders), dtype, architecture)
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

    def __init__(self, layer: Layer, reading: _Reading) -> None:
        self._layer = layer
        self._reading = reading

    def __getitem__(self, _: EllipsisType) -> Tensor:
        return self._reading.run(lambda: self._reading.weights.dense(self._layer))


class _Zeros:
    """Stands in a state dict for a tensor that is not to be read; the zeros share one place in memory."""

    def __init__(self, shape: torch.Size | tuple[int, ...], dtype: torch.dtype) -> None:
        self._shape = shape
        self._dtype = dtype

    def __getitem__(self, _: EllipsisType) -> Tensor:
        return torch.zeros((), dtype=self._dtype).expand(self._shape)


def _entries(
    weights: Weights, reading: _Reading, empty: set[str], dtype: torch.dtype, architecture: Architecture
) -> dict[str, _LazyTensor | _Zeros]:
    """What `transformers` reads, by name. Stacks of experts none of which is read are there whole: stacking zeros would
    take the memory that they save."""
    layers = weights.checkpoint.layers
    model = architecture.on_meta() if empty else None
    places = expert_places(model, layers) if model is not None else {}
    read = {place.name for name, place in places.items() if name not in empty}
    entries: dict[str, _LazyTensor | _Zeros] = {}
    for layer in layers:
        place = places.get(layer.name)
        if layer.name not in empty:
            entries[layer.tensor.name] = _LazyTensor(layer, reading)
        elif model is None or place is None or place.name in read:
            entries[layer.tensor.name] = _Zeros(layer.shape, dtype)
        else:
            entries[place.name] = _Zeros(model.get_parameter(place.name).shape, dtype)
    return entries


def _refuse_gaps(missing: list[str], weights: Weights) -> None:
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise CheckpointError(
            f"The architecture needs tensors that the checkpoint does not have: {', '.join(missing[:MAX_NAMED])}{more}",
            where=weights.checkpoint.path,
            remedy=f"Is it the whole checkpoint, and the right config.json? {WHAT_STILL_WORKS}",
        )
