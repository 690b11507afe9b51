"""Folders whose packed layers are integers of one form: which layers take it, what stays dense and why."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.tying import tied_head
from benchvise.core.export.dense_layer import dense_layer
from benchvise.core.export.export_plan import ExportPlan, PlannedLayer, TreatmentOf, is_expert_matrix
from benchvise.core.export.export_warnings import full_inputs, written_dense
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.layouts.transposed import integer_of
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.export.targets.safetensors_target import SafetensorsTarget
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import Treatment

Maker = Callable[[Layer, PackedLayout, Integer], PlannedLayer]


class LayerForm(Protocol):
    """What a format holds of single layers."""

    def problem(self, scheme: Scheme, layer: Layer) -> str: ...

    def layout(self, scheme: Integer) -> PackedLayout: ...


class CodedFolderTarget(SafetensorsTarget):
    """A folder with one main setting of bits and group size. overrides: whether layers may have others."""

    form: ClassVar[LayerForm]
    overrides: ClassVar[bool]

    @abstractmethod
    def maker(self, packed: Sequence[PackedLayout]) -> Maker:
        """What makes a planned layer of a layer, its layout and its scheme, in a folder with these layouts."""

    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        layouts, reasons = self._layouts(checkpoint, treatment_of, modules)
        make = self.maker([layout for layout, _ in layouts.values()])
        head = tied_head(checkpoint.config)
        planned: list[PlannedLayer] = []
        dense: dict[str, list[tuple[str, str]]] = {}
        for layer in checkpoint.layers:
            if layer.name in layouts:
                planned.append(make(layer, *layouts[layer.name]))
                continue
            planned.append(dense_layer(layer, head))
            if layer.name in reasons:
                dense.setdefault(reasons[layer.name], []).append((layer.name, treatment_of(layer).tag))
        inputs = [layer.name for layer in checkpoint.layers if treatment_of(layer).activations is not None]
        warnings = (*written_dense(dense), *full_inputs(inputs))
        refusal = "" if checkpoint.architecture else "The checkpoint names no architecture, so no runtime could load it"
        if not layouts:
            why = f": {'; '.join(dense)}" if dense else ""
            refusal = refusal or f"No layer of this run can be written as {self.title}{why}"
        return ExportPlan(self.key, checkpoint, tuple(planned), warnings, modules, refusal)

    def _layouts(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None
    ) -> tuple[dict[str, tuple[PackedLayout, Integer]], dict[str, str]]:
        """By layer name: layout and scheme of what is packed, and why treated layers are not."""
        layouts: dict[str, tuple[PackedLayout, Integer]] = {}
        reasons: dict[str, str] = {}
        for layer in checkpoint.layers:
            treatment = treatment_of(layer)
            if treatment.keeps:
                continue
            reason = self._problem(treatment, layer, modules)
            scheme = integer_of(treatment.scheme)
            if scheme is not None and not reason:
                layouts[layer.name] = (self.form.layout(scheme), scheme)
            else:
                reasons[layer.name] = reason
        main = main_layout([layout for layout, _ in layouts.values()])
        if main is None or self.overrides:
            return layouts, reasons
        size = f"groups of {main.group_size}" if main.group_size else "one scale per channel"
        other = [name for name, (layout, _) in layouts.items() if layout.group_size != main.group_size]
        for name in other:
            del layouts[name]
            reasons[name] = f"{self.title} folders have one setting for all layers, here {size}"
        return layouts, reasons

    def _problem(self, treatment: Treatment, layer: Layer, modules: NetworkModules | None) -> str:
        problem = self.form.problem(treatment.scheme, layer)
        if problem:
            return problem
        if layer.transposed or layer.tied or layer.kind != "linear" or len(layer.shape) != 2:
            return f"it is no Linear module of its own ({layer.role}, shape {list(layer.shape)})"
        if layer.role in ("mlp.router", "lm_head") or is_expert_matrix(layer):
            return f"{self.title} loaders differ in whether they take it packed ({layer.role})"
        if modules is not None and layer.name not in modules.paths:
            return "the network has no Linear module of that name"
        return ""


def main_layout(layouts: Sequence[PackedLayout]) -> PackedLayout | None:
    """The layout that most layers have, None without any."""
    return Counter(layouts).most_common(1)[0][0] if layouts else None


def packed_paths(plan: ExportPlan) -> dict[str, PackedLayout]:
    """The layouts of the packed layers by their modules' paths."""
    return {plan.path_of(layer): layout for layer, layout in plan.packed()}


def dense_linears(plan: ExportPlan) -> list[str]:
    """The paths of Linear modules that are not packed, without the output head."""
    packed = packed_paths(plan)
    stored = {
        plan.path_of(planned.layer)
        for planned in plan.layers
        if planned.layout is None and planned.layer.kind == "linear" and len(planned.layer.shape) == 2
    }
    linear = plan.modules.linear if plan.modules is not None else frozenset()
    return sorted((stored | linear) - set(packed))
