"""Whether a runtime loads a packed layer, and if not, what hinders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.language import message
from benchvise.core.preflight.runtimes import LoadedForm, Runtime


@dataclass(frozen=True)
class Match:
    """The form of a runtime that is nearest to a layer. hinders: (kind, reason) of all that differs; empty: it loads.

    unaligned: whether the layer's shape is none that the form's kernel takes as it is.
    """

    form: LoadedForm
    hinders: tuple[tuple[str, str], ...]
    unaligned: bool = False


def match(runtime: Runtime, layout: PackedLayout, layer: Layer) -> Match:
    """The first form that loads the layer, else the one that hinders least. The runtime must have forms."""
    form, hinders = _nearest(runtime, layout)
    rows, columns = layer.matrix_shape
    return Match(form, hinders, bool(rows % form.rows or columns % form.columns))


@lru_cache(maxsize=256)  # a plan asks for every layer, and few differ
def _nearest(runtime: Runtime, layout: PackedLayout) -> tuple[LoadedForm, tuple[tuple[str, str], ...]]:
    return min(((form, tuple(_hinders(runtime, form, layout))) for form in runtime.forms), key=_weight)


def _weight(found: tuple[LoadedForm, tuple[tuple[str, str], ...]]) -> int:
    """Another format is further away than any setting of the same."""
    return sum(10 if kind == "format" else 1 for kind, _ in found[1])


def _hinders(runtime: Runtime, form: LoadedForm, layout: PackedLayout) -> Iterator[tuple[str, str]]:
    name = runtime.title
    if layout.format not in form.formats:
        yield (
            "format",
            message("{name} has no layers of the format {format} like this", name=name, format=layout.format),
        )
        return
    if layout.bits not in form.bits:
        yield (
            "bits",
            message(
                "{name} loads {listed} bits here, not {bits}",
                name=name,
                listed=_listed(sorted(form.bits)),
                bits=layout.bits,
            ),
        )
    if layout.strategy not in form.strategies:
        yield (
            "granularity",
            message(
                "{name} takes one scale per {listed} here, not per {strategy}",
                name=name,
                listed=_listed(sorted(form.strategies)),
                strategy=layout.strategy,
            ),
        )
    elif layout.strategy == "group" and form.groups and layout.group_size not in form.groups:
        yield (
            "group",
            message(
                "{name} takes groups of {listed} here, not {group_size}",
                name=name,
                listed=_listed(form.groups),
                group_size=layout.group_size,
            ),
        )
    elif layout.strategy == "block" and form.block is not None and layout.block != form.block:
        yield (
            "granularity",
            message(
                "{name} takes blocks of {block} × {block_2} here", name=name, block=form.block[0], block_2=form.block[1]
            ),
        )
    if form.symmetric and not layout.symmetric:
        yield "symmetric", message("{name} takes no zero points here", name=name)
    if inputs_of(layout) not in form.inputs:
        asked = inputs_of(layout) or "unquantised"
        yield "inputs", message("{name} does not take such weights with {asked} inputs", name=name, asked=asked)


def inputs_of(layout: PackedLayout) -> str:
    """How the layer's inputs are quantised, as `LoadedForm.inputs` says it."""
    return f"{layout.inputs.format} {layout.inputs.mode}" if layout.inputs is not None else ""


def _listed(values: Iterable[object]) -> str:
    words = [str(value) for value in values]
    return words[0] if len(words) == 1 else message("{names} or {words}", names=", ".join(words[:-1]), words=words[-1])
