"""The packed form of every scheme that has one, registered by explicit import."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.layouts.floating import FloatingForm, MicroscalingForm, NvFloat4Form
from benchvise.core.export.layouts.integer import IntegerForm
from benchvise.core.export.layouts.packed_form import PackedForm
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import Treatment

PACKED_FORMS: dict[type[Scheme], PackedForm[Any]] = {
    form.scheme: form for form in (IntegerForm(), FloatingForm(), MicroscalingForm(), NvFloat4Form())
}


def packing_problem(scheme: Scheme, layer: Layer) -> str:
    """Why the formats cannot hold the values of `layer` under `scheme`, "" when they can."""
    form = PACKED_FORMS.get(type(scheme))
    return form.problem(scheme, layer) if form is not None else f"{scheme.title.lower()} layers have no packed form"


@lru_cache(maxsize=1024)
def layout_of(treatment: Treatment, zero_points: frozenset[int] = frozenset()) -> PackedLayout:
    """The layout that holds the layer's values exactly and loads with every version that was measured.

    zero_points: bits of codes beside which the loader takes packed zero points, where it is one that does. Raises
    TypeError for schemes that have no layout.
    """
    scheme, inputs = treatment.scheme, treatment.activations
    form = PACKED_FORMS.get(type(scheme))
    if form is None:
        raise TypeError(f"{scheme.key} has no packed form")
    if inputs is not None:
        # Layers that differ in how their scale was found are of one group.
        inputs = Activations(inputs.format, inputs.mode)
    return form.layout(scheme, inputs, zero_points)
