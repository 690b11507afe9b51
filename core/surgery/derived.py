"""A checkpoint that surgery leaves: known from headers, before a weight is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from benchvise.core.checkpoint.records import Checkpoint, Layer


@dataclass(frozen=True)
class Cut:
    """What stays of a tensor along one of its dimensions.

    count:   how many slices stay. indices: which, in ascending order; None while only their number is known.
    """

    dimension: int
    count: int
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ChannelGroup:
    """Inner channels of one block that leave together; layers by their names, which surgery does not change here.

    producers: what gives them, weights and biases. reader: the one layer whose inputs they are.
    width, count: how many there are, and how many stay. parts: how many outputs a producer has for each channel, one
    whole set after another, as fused gates and values do.
    """

    producers: tuple[str, ...]
    reader: str
    width: int
    count: int
    parts: int = 1

    def outputs(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Which outputs of a producer are those of the channels, in ascending order as these are."""
        return tuple(part * self.width + channel for part in range(self.parts) for channel in channels)


@dataclass(frozen=True)
class Derived:
    """One step of surgery. Names, shapes, bytes and config are exact also while indices of cuts are not known.

    source, checkpoint: before and after.
    origins: for each layer of `checkpoint`, the index of the layer of `source` that it is made of.
    cuts:    by the name of a layer of `checkpoint`, how its tensor was cut; layers that are not in it are whole.
    groups:  the channels that calibration text chooses from; () once that is done, or where there is nothing to choose.
    """

    source: Checkpoint
    checkpoint: Checkpoint
    origins: tuple[int, ...]
    cuts: Mapping[str, tuple[Cut, ...]] = field(default_factory=dict)
    groups: tuple[ChannelGroup, ...] = ()

    @property
    def dropped(self) -> tuple[Layer, ...]:
        """The layers of `source` of which nothing is left."""
        left = set(self.origins)
        return tuple(layer for index, layer in enumerate(self.source.layers) if index not in left)


@dataclass(frozen=True)
class Operated:
    """A checkpoint after all surgeries of a recipe, in order; without any, `checkpoint` is `source` itself."""

    source: Checkpoint
    steps: tuple[Derived, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything is other than it was."""
        return self.checkpoint is not self.source

    @property
    def checkpoint(self) -> Checkpoint:
        return self.steps[-1].checkpoint if self.steps else self.source

    @property
    def decided(self) -> bool:
        """Whether it is known which slices stay, and not only how many."""
        cuts = (cut for step in self.steps for each in step.cuts.values() for cut in each)
        return all(cut.indices is not None for cut in cuts)

    @property
    def provisional(self) -> Operated:
        """The same with the first slices where it is not known yet which stay: good for trying out how long work takes,
        since shapes are what they will be."""
        return replace(self, steps=tuple(replace(step, cuts=_first_slices(step.cuts)) for step in self.steps))

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """For each layer of `checkpoint`, the index of the layer of `source` that it is made of."""
        found = tuple(range(len(self.source.layers)))
        for step in self.steps:
            found = tuple(found[origin] for origin in step.origins)
        return found

    @property
    def dropped(self) -> tuple[Layer, ...]:
        """The layers of `source` of which nothing is left."""
        left = set(self.origins)
        return tuple(layer for index, layer in enumerate(self.source.layers) if index not in left)

    @cached_property
    def named_as_source(self) -> Checkpoint:
        """`checkpoint`, its layers under the names that they have in `source`: those of rules and measurements."""
        if not self.changes:
            return self.source
        pairs = zip(self.checkpoint.layers, self.origins, strict=True)
        layers = tuple(_named_as(layer, self.source.layers[origin]) for layer, origin in pairs)
        return replace(self.checkpoint, layers=layers)


def _first_slices(cuts: Mapping[str, tuple[Cut, ...]]) -> dict[str, tuple[Cut, ...]]:
    return {
        name: tuple(cut if cut.indices is not None else replace(cut, indices=tuple(range(cut.count))) for cut in each)
        for name, each in cuts.items()
    }


def _named_as(layer: Layer, source: Layer) -> Layer:
    tensor = replace(layer.tensor, name=source.tensor.name)
    return replace(layer, name=source.name, tensor=tensor, tied=source.tied, depth=source.depth)


def cut_identity(cuts: tuple[Cut, ...], settings: str) -> str:
    """Hex digest of what a cut tensor is made by, for `TensorEntry.cut`; `settings` count while indices are unknown."""
    known = all(cut.indices is not None for cut in cuts)
    parts = [[cut.dimension, cut.count, cut.indices] for cut in cuts]
    return hashlib.sha256(json.dumps([parts, "" if known else settings]).encode()).hexdigest()
