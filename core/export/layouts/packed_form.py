"""What a scheme declares to be written packed in the compressed-tensors formats. No tensors here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.scheme import Scheme

if TYPE_CHECKING:
    from torch import Tensor

S = TypeVar("S", bound=Scheme)


class PackedForm(ABC, Generic[S]):
    """The packed form of one scheme's layers, with exactly the scheme's values."""

    scheme: ClassVar[type[Scheme]]

    @abstractmethod
    def problem(self, scheme: S, layer: Layer) -> str:
        """Why the formats cannot hold the values of `layer` under `scheme`, "" when they can."""

    @abstractmethod
    def layout(self, scheme: S, inputs: Activations | None, zero_points: frozenset[int] = frozenset()) -> PackedLayout:
        """The layout that every measured version loads.

        inputs: format and mode alone. zero_points: bits of codes beside which the loader takes packed zero points.
        """

    @abstractmethod
    def tensors(self, layer: Layer, layout: PackedLayout) -> tuple[StoredTensor, ...]:
        """The tensors that hold the codes, named by what comes after the layer's name."""

    @abstractmethod
    def blocks(
        self, layer: Layer, scheme: S, layout: PackedLayout, stored: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """Scales, codes and zero points in blocks of rows, named by what comes after the layer's name.

        stored: the tensors of the scheme's storage, each of the declared dtype and shape.
        """

    def with_written_scales(self, scheme: S) -> S:
        """The scheme whose storage has the scales that are written."""
        return scheme

    def adaptations(self, scheme: S, layout: PackedLayout) -> tuple[str, ...]:  # noqa: ARG002 - the layout is the scheme's own
        """How the layout differs from the scheme, with the same values, as phrases."""
        return ()
