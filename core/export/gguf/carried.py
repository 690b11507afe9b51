"""Schemes whose codes a GGUF type holds bit for bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from benchvise.core.checkpoint.records import Layer
from benchvise.core.methods.gguf import TYPES, Gguf, GgufName
from benchvise.core.methods.microscaling import Microscaling
from benchvise.core.methods.scheme import Scheme

if TYPE_CHECKING:
    from torch import Tensor

S = TypeVar("S", bound=Scheme)


class CarriedForm(ABC, Generic[S]):
    """How the codes of one scheme become the bytes of blocks."""

    scheme: ClassVar[type[Scheme]]

    @abstractmethod
    def kind(self, scheme: S, layer: Layer) -> str:
        """The type that holds the layer's codes, "" where there is none."""

    @abstractmethod
    def rows(self, scheme: S, stored: Mapping[str, Tensor]) -> Tensor:
        """The bytes of all rows, uint8 [rows, bytes of a row], from the tensors that the scheme stores."""


class GgufForm(CarriedForm[Gguf]):
    scheme = Gguf

    def kind(self, scheme: Gguf, layer: Layer) -> str:  # noqa: ARG002 - a fitted scheme has the layer's own type
        return scheme.type

    def rows(self, scheme: Gguf, stored: Mapping[str, Tensor]) -> Tensor:
        from benchvise.core.schemes.gguf.blocks import join

        return join(scheme.type, stored)


class CarriedMicroscaling(CarriedForm[Microscaling]):
    """MXFP4: the same codes and scales, of which a block holds neighbours 16 apart in one byte."""

    scheme = Microscaling

    def kind(self, scheme: Microscaling, layer: Layer) -> str:
        fits = scheme.number == "e2m1" and scheme.block == 32 and layer.matrix_shape[1] % 32 == 0
        return "mxfp4" if fits else ""

    def rows(self, scheme: Microscaling, stored: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002 - one form
        from benchvise.core.export.gguf.microscaling_blocks import mxfp4_rows

        return mxfp4_rows(stored["weight_packed"], stored["weight_scale"])


CARRIED: dict[type[Scheme], CarriedForm[Any]] = {form.scheme: form for form in (GgufForm(), CarriedMicroscaling())}


def carried_kind(scheme: Scheme, layer: Layer) -> str:
    """The GGUF type that holds what `scheme` stores of the layer, "" where none does."""
    form = CARRIED.get(type(scheme))
    if form is None or layer.transposed or layer.kind == "conv" or len(layer.shape) < 2:
        return ""
    return form.kind(scheme, layer)


def nearest_scheme(scheme: Scheme, layer: Layer) -> Scheme | None:
    """The GGUF type of K quants, or Q8_0, whose bits per weight are nearest to the scheme's; None where it is one."""
    if carried_kind(scheme, layer) or len(layer.shape) != 2 or layer.transposed:
        return None
    bits = 8 * sum(tensor.nbytes for tensor in scheme.storage(layer)) / max(1, layer.parameters)
    name = min(_LADDER, key=lambda each: abs(8 * TYPES[each].nbytes / TYPES[each].weights - bits))
    return Gguf(name).fitted(layer)[0]


_LADDER: tuple[GgufName, ...] = ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q8_0")
