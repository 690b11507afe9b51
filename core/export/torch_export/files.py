"""A program of `torch.export`, held against what was to be in it, and run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchvise.core.errors import CheckpointError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.onnx.layers import NBITS, QDQ
from benchvise.core.export.onnx.network import Graph, graph_of, load_network, put_coded_modules, verify_codes
from benchvise.core.export.onnx.runtime_check import computed_by, distance_of, given_to
from benchvise.core.export.torch_export.modules import DecodingLinear, Int8Linear
from benchvise.core.progress import Progress
from benchvise.core.weights.weights import Weights

NAME = "model.pt2"
MAX_DISTANCE = 1e-4
"""Of the outputs' distance, above which the program computes something else: only the order of sums differs."""


def write_program(place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Write `model.pt2` into the folder. Raises CheckpointError where the network cannot be built or traced."""
    progress.start(plan.nbytes, "bytes")
    model = load_network(weights)
    graph = graph_of(model)  # while it still computes
    put_coded_modules(model, plan, weights, {QDQ: Int8Linear, NBITS: DecodingLinear}, progress)
    program = _traced(graph, plan)
    progress.check_cancelled()
    torch.export.save(program, place / NAME)


def _traced(graph: Graph, plan: ExportPlan) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(graph.module.eval(), graph.arguments, dynamic_shapes=_free(graph.free))
    except Exception as error:
        raise CheckpointError(
            f"torch cannot trace this network: {str(error).strip()[:300]}",
            where=plan.checkpoint.path,
            remedy="Export it dense, and trace it in a program that knows the network.",
        ) from error
    for node in program.graph.nodes:  # where in this machine's files each came from
        node.meta.pop("stack_trace", None)
    return program


def _free(sizes: Any) -> Any:
    """The same structure with sizes that torch finds to be free or not, in place of their names."""
    if isinstance(sizes, Mapping):
        return dict.fromkeys(sizes, torch.export.Dim.AUTO)
    return type(sizes)(_free(each) for each in sizes)


def verify_program(place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
    """Read the program back and compare codes, scales and zero points of every packed layer.

    Raises RuntimeError where the file is unsound or anything differs.
    """
    program = _loaded(place)
    verify_codes(plan, weights, {**program.state_dict, **program.constants}, _is, progress)


def _is(value: Any, wanted: torch.Tensor) -> bool:
    return torch.equal(torch.as_tensor(value).cpu(), wanted)


def checked_by_torch(place: Path, weights: Weights, progress: Progress) -> str:
    """Run the program, and say how far its outputs are from the network's. Raises RuntimeError where too far."""
    model = load_network(weights)
    graph = graph_of(model)
    caches = {
        name: (past.shape[1], past.shape[3])
        for name, past in zip(graph.inputs[3:], _flat(graph.arguments[3:]), strict=False)
    }
    feed = {name: torch.from_numpy(values) for name, values in given_to(weights, list(graph.inputs), caches).items()}
    progress.check_cancelled()
    given: list[Any] = [feed[name] for name in graph.inputs if name not in caches]
    if caches:
        past = [feed[name] for name in caches]
        given.append(list(zip(past[::2], past[1::2], strict=True)))
    with torch.no_grad():
        out = _loaded(place).module()(*given)
    theirs = out[0] if isinstance(out, tuple | list) else out
    ours = computed_by(model, {name: values.numpy() for name, values in feed.items()})
    distance, words = distance_of(theirs, ours, graph.outputs[0] == "logits")
    if not distance <= MAX_DISTANCE:
        raise RuntimeError(f"the program computes something else: {distance:.3g}")
    return f"torch {torch.__version__.partition('+')[0]} computes the same: {words}"


def _flat(values: Any) -> list[torch.Tensor]:
    return [values] if isinstance(values, torch.Tensor) else [tensor for each in values for tensor in _flat(each)]


def _loaded(place: Path) -> torch.export.ExportedProgram:
    try:
        return torch.export.load(place / NAME)
    except Exception as error:
        raise RuntimeError(f"'{NAME}' is not sound: {str(error)[:300]}") from error
