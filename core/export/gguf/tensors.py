"""The tensors of a GGUF export: which layers each is made of, and the type that it is stored as. No values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal

from benchvise.core.checkpoint.encodings.gguf_types import TYPES
from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.export_plan import PlannedLayer
from benchvise.core.export.gguf.architecture import Piece
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.scheme import Scheme

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights

TYPE_OF = {kind.name: kind for kind in TYPES.values()}
WHOLE = Piece()

TensorOrigin = Literal["values", "codes", "file"]


@dataclass(frozen=True)
class Part:
    """What a tensor takes from one layer.

    origin: "codes" of the layer's scheme carried over, bytes of the "file" that was opened, or its "values".
    scheme: of the codes. head: rows of a head whose halves are interleaved, 0 for rows as they are. shift: is added.
    """

    layer: Layer
    origin: TensorOrigin = "values"
    scheme: Scheme | None = None
    piece: Piece = WHOLE
    head: int = 0
    shift: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.layer.shape)
        if self.piece.rows:
            taken = len(range(self.piece.rows)[self.piece.start : self.piece.stop])
            heads, columns = shape[0] // self.piece.rows, shape[1]
            return (heads, columns, taken) if self.piece.turned else (heads, taken, columns)
        if self.piece.turned:
            shape[-2:] = shape[:-3:-1]
        if self.piece != WHOLE and len(shape) > 1:
            axis = -2 if self.piece.turned or len(shape) > 2 else -1
            shape[axis] = len(range(shape[axis])[self.piece.start : self.piece.stop : self.piece.step])
        return tuple(shape)


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of the file. kind: its type as ggml names it, in small letters. parts: stacked in their order.

    stacked: whether the parts are experts, of which the first dimension counts. table: values that follow from the
    config; there are no parts then.
    """

    name: str
    kind: str
    parts: tuple[Part, ...]
    stacked: bool = False
    table: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        if not self.parts:
            return (len(self.table),)
        shape = self.parts[0].shape
        return (len(self.parts), *shape) if self.stacked else shape

    @property
    def nbytes(self) -> int:
        kind = TYPE_OF[self.kind]
        return prod(self.shape) // kind.block * kind.nbytes

    @property
    def stored(self) -> StoredTensor:
        """How the data is written: blocks as bytes, by the row."""
        kind, shape = TYPE_OF[self.kind], self.shape
        if kind.dtype:
            return StoredTensor(self.name, kind.dtype, shape)
        return StoredTensor(self.name, "uint8", (*shape[:-1], shape[-1] // kind.block * kind.nbytes))


@dataclass(frozen=True)
class GgufLayer(PlannedLayer):
    """A layer with the tensors that begin with it; layers that another begins, and those left out, have none.

    tag: of the treatment, "" for a layer that is kept.
    """

    written: tuple[GgufTensor, ...] = ()
    tag: str = ""

    def tensors(self) -> tuple[StoredTensor, ...]:
        return tuple(tensor.stored for tensor in self.written)

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.gguf.tensor_blocks import tensor_blocks

        for tensor in self.written:
            yield from ((tensor.name, block) for block in tensor_blocks(tensor, weights))


def layout_of_type(kind: str, scheme: Scheme) -> PackedLayout:
    """The layout of a layer whose codes are carried over."""
    elements = scheme.elements
    return PackedLayout(f"gguf {kind}", elements.bits, elements.symmetric, "block", None, kind=elements.kind)
