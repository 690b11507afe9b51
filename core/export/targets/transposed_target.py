"""What the GPTQ and AWQ targets share: layers of turned codes, and how they are written and read back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.layouts.transposed import TransposedForm
from benchvise.core.export.targets.coded_folder import CodedFolderTarget, Maker
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights


@dataclass(frozen=True)
class TransposedLayer(PlannedLayer):
    """A layer written as turned codes. less: what its zero points are stored less by."""

    layout: PackedLayout
    scheme: Integer
    form: TransposedForm
    less: int

    def tensors(self) -> tuple[StoredTensor, ...]:
        scales = next(tensor for tensor in self.scheme.storage(self.layer) if tensor.name == "weight_scale")
        return tuple(
            StoredTensor(f"{self.layer.name}.{each.name}", each.dtype, each.shape)
            for each in self.form.tensors(self.layer, self.layout, scales.dtype)
        )

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.layouts.transposed_blocks import transposed_blocks

        stored = weights.stored(self.layer)
        for name, values in transposed_blocks(self.layer, self.scheme, self.form, self.less, stored):
            yield f"{self.layer.name}.{name}", values


class TransposedTarget(CodedFolderTarget):
    """A folder of turned codes."""

    form: ClassVar[TransposedForm]

    @abstractmethod
    def less(self, packed: Sequence[PackedLayout]) -> int:
        """What zero points are stored less by, in a folder with these layouts."""

    def maker(self, packed: Sequence[PackedLayout]) -> Maker:
        less = self.less(packed)
        return lambda layer, layout, scheme: TransposedLayer(layer, layout, scheme, self.form, less)

    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        from benchvise.core.export.transposed_folder import verify_transposed

        verify_transposed(place, plan, weights, self.texts(plan), progress)
