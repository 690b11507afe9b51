"""The scheme of layers that stay as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.scheme import Scheme


@dataclass(frozen=True)
class Keep(Scheme):
    """The layer is stored as it came."""

    key: ClassVar[str] = "keep"
    title: ClassVar[str] = "Keep original"
    summary: ClassVar[str] = "The layer stays as it is, byte for byte."
    source: ClassVar[str] = "—"

    @property
    def keeps(self) -> bool:
        return True

    @property
    def tag(self) -> str:
        return "keep"

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        return (StoredTensor("weight", layer.dtype, layer.shape),)
