"""A look at a layer that needs no torch: what lies in a file as it computes is counted by numpy, at once."""

from __future__ import annotations

from importlib import import_module

from benchvise.core.analysis.source import EntrySource
from benchvise.core.analysis.statistics import look as look_at
from benchvise.core.checkpoint.matrix_shape import matrix_entry
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.checkpoint.reopen import LAST_OPENED
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Look
from benchvise.core.protocol.results import Looked
from benchvise.core.workspace.workspace import RUN_PREFIX


def look(request: Look, progress: Progress) -> Looked:
    """Histogram and statistics; what is treated, decoded or cut goes the way of `core.analysis.look`.

    Raises as that does.
    """
    entry = _in_file(request)
    if entry is None:
        whole: Looked = import_module("benchvise.core.analysis.look").look(request, progress)
        return whole
    before, statistics = look_at(EntrySource(entry), request.bins, request.bounds, progress=progress)
    if request.after is None:
        return Looked(request.layer, before, statistics)
    return Looked(request.layer, before, statistics, before, statistics)


def _in_file(request: Look) -> TensorEntry | None:
    """Where the layer lies as it computes; None where it does not, or where a treatment is asked for."""
    treated = request.after is not None and (isinstance(request.after, str) or not request.after.keeps)
    if treated or request.surgery or request.path.startswith(RUN_PREFIX):
        return None
    layer = LAST_OPENED.open(request.path).layer(request.layer)
    return None if layer.tensor.cut else matrix_entry(layer)
