"""What every scheme declares: its settings, how it is stored, and which layers it fits. No arithmetic here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.phrases import Phrase


@dataclass(frozen=True)
class Elements:
    """The numbers that hold single weights.

    kind:      "int" for a uniform grid, "float" for floating numbers, "" for anything else.
    bits:      of one number; 0 where the kind is "".
    symmetric: whether there are no zero points.
    block:     the block of inputs under one scale that the format prescribes; 0 where it prescribes none.
    """

    kind: Literal["int", "float", ""] = ""
    bits: int = 0
    symmetric: bool = True
    block: int = 0


@dataclass(frozen=True)
class Scheme(ABC):
    """How a layer's weight is represented. Subclasses are frozen settings classes.

    capabilities: what solvers may ask for; "scale" when the scheme has scales that a clip search can shrink;
                  "mask" when weights that are zero have to be chosen; "factors" when the weight is a product.
    phrases: what its settings are called in a short text; without any it goes by its key.
    fallback: the value of its setting `indivisible` that falls back instead of refusing; "" without that setting.
    shared: True when one value is found over all layers of a rule together (a global threshold).
    """

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    capabilities: ClassVar[frozenset[str]] = frozenset()
    phrases: ClassVar[tuple[Phrase, ...]] = ()
    fallback: ClassVar[str] = ""

    @property
    @abstractmethod
    def tag(self) -> str:
        """A short name for tables and the tree: "int4 g128". Schemes that give other values have other tags."""

    @abstractmethod
    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        """The tensors that hold the compressed layer, exactly; their bytes are the layer's bytes after.

        Their names are what comes after the layer's name.
        """

    def fitted(self, layer: Layer) -> tuple[Self, tuple[str, ...]]:  # noqa: ARG002 - subclasses look at the layer
        """This scheme as it can be carried out on `layer`, and every plan warning, as phrases.

        Raises RecipeError when it cannot, naming the layer and a remedy.
        """
        return self, ()

    def regrouped(self, fit: Scheme) -> bool:
        """Whether `fit`, this scheme as it fits a layer, has another group size or no groups any more."""
        return self.grouping != fit.grouping

    @property
    def grouping(self) -> tuple[str, int] | None:
        """(granularity, group size) of a scheme whose scales belong to groups that have to divide the inputs."""
        return None

    @property
    def elements(self) -> Elements:
        """The numbers that hold single weights."""
        return Elements()

    def with_bits(self, bits: int) -> Scheme:  # noqa: ARG002 - schemes of integers look at the bits
        """This scheme with integers of so many bits; itself where it has no integers."""
        return self

    def without_groups(self) -> Scheme:
        """This scheme with one scale per output channel; itself where it has no integers in groups."""
        return self

    def without_zero_points(self) -> Scheme:
        """This scheme on a symmetric grid; itself where it has no integers."""
        return self

    @property
    def keeps(self) -> bool:
        """Whether the layer stays as it is: no solver and no activations go with the scheme."""
        return False

    @property
    def shared(self) -> bool:
        return False

    @property
    def weighs(self) -> bool:
        """Whether the layer's inputs decide what the scheme can hold (which weights stay), whatever the solver."""
        return False

    @property
    def allocated(self) -> bool:
        """Whether the run shares the planned bytes of a rule out over its layers, by `with_inner_width`."""
        return False

    def with_inner_width(self, width: int) -> Scheme:  # noqa: ARG002 - products have one
        """This scheme with factors of so many columns and rows between them; itself where there are none."""
        return self

    def largest_inner_width(self, layer: Layer) -> int:  # noqa: ARG002 - products have one
        """The widest factors that take fewer bytes than the layer's values; 0 where there are none."""
        return 0

    @property
    def factored(self) -> bool:
        """Whether the weight is the product of two factors, with which a layer multiplies one after the other."""
        return False

    def inner_width(self, rows: int, columns: int) -> int:  # noqa: ARG002 - products have one
        """Columns of the first factor of a weight [rows, columns], and rows of the second; 0 where there are none."""
        return 0

    @property
    def searched(self) -> bool:
        """Whether the scheme always finds its parameters by comparing sums, which may differ between devices."""
        return False

    def bytes_after(self, layer: Layer) -> int:
        """Exact bytes of the layer under this scheme: codes, scales and zero points."""
        return sum(stored.nbytes for stored in self.storage(layer))
