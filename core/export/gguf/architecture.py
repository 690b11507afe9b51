"""What a record of an architecture says: how a network of `transformers` is described to llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

ValueKind = Literal["count", "number", "flag", "text"]


@dataclass(frozen=True)
class Key:
    """One key of the metadata. name: without the architecture's own before it.

    config: names in config.json; the first that is there and not null gives the value. added: all of them are summed.
    """

    name: str
    config: tuple[str, ...]
    kind: ValueKind = "count"
    added: bool = False


@dataclass(frozen=True)
class Piece:
    """Which values of a stored tensor a tensor of the file takes.

    start, stop, step: of its rows, within each expert where it holds several. turned: rows and columns change places
    within each expert, before rows are taken, or within each head, after. heads: the settings that count the rows of a
    head one after another, and which of them is taken; the heads become a dimension of their own. rows: of a head.
    """

    start: int = 0
    stop: int | None = None
    step: int = 1
    turned: bool = False
    heads: tuple[str, ...] = ()
    taken: str = ""
    rows: int = 0

    def settled(self, settings: Mapping[str, Any]) -> Piece:
        """The piece with numbers in the place of settings."""
        if not self.heads:
            return self
        sizes = [int(settings[name]) for name in self.heads]
        start = sum(sizes[: self.heads.index(self.taken)])
        return replace(self, start=start, stop=start + int(settings[self.taken]), rows=sum(sizes))


@dataclass(frozen=True)
class Fixed:
    """A setting that llama.cpp computes with some values only.

    values: those. equal: another setting whose value it must have. present: it may have any but none.
    """

    config: str
    values: tuple[object, ...] = ()
    equal: str = ""
    present: bool = False


@dataclass(frozen=True)
class GgufArchitecture:
    """One architecture of llama.cpp.

    key:         its name in `general.architecture`.
    model_types: in config.json.
    keys:        metadata besides what all have.
    settings:    what `transformers` takes where config.json leaves a key out.
    names:       stems of tensors that the package `gguf` does not know, by the file's; "{}" stands for the block.
    pairs:       rows of queries and keys are reordered, so that the pairs that are rotated together are neighbours.
    norm:        what is added to the weights of norms.
    split:       by the stem in a block: the tensors that are made of one, each with what it takes.
    left_out:    patterns of tensors that llama.cpp has no use for.
    fixed:       settings that must have the value which llama.cpp takes for granted.
    rotary:      how the frequencies are told: "one" base for all, "windows" with a base of their own, "" for none.
    constants:   metadata that is the same for all networks of the architecture.
    rotary_size: the setting that counts the rotated values of a head, where it is not the size of the head.
    """

    key: str
    model_types: tuple[str, ...]
    keys: tuple[Key, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    pairs: bool = False
    norm: float = 0.0
    split: Mapping[str, Mapping[str, Piece]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    rotary: Literal["one", "windows", ""] = "one"
    rotary_size: str = ""
    constants: Mapping[str, tuple[ValueKind, object]] = field(default_factory=dict)
