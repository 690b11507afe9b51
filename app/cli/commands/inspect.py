"""`benchvise inspect`: what a checkpoint holds, from its headers alone."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.options import add_path
from benchvise.app.cli.table import number, table, text
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.text import byte_text


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)


def _run(arguments: Namespace) -> Reply:
    checkpoint = open_checkpoint(arguments.path)
    data = {
        "path": checkpoint.path,
        "kind": checkpoint.kind,
        "format": checkpoint.format,
        "architecture": checkpoint.architecture,
        "tensors": checkpoint.tensors,
        "parameters": checkpoint.parameters,
        "bytes": checkpoint.nbytes,
        "quantization": checkpoint.quantization,
        "layers": [_as_data(layer) for layer in checkpoint.layers],
        "left_out": checkpoint.left_out,
        "warnings": checkpoint.warnings,
    }
    return Reply(data, _lines(checkpoint))


def _as_data(layer: Layer) -> dict[str, object]:
    return {
        "name": layer.name,
        "tensor": layer.tensor.name,
        "role": layer.role,
        "kind": layer.kind,
        "depth": layer.depth,
        "shape": layer.shape,
        "dtype": layer.dtype,
        "scheme": layer.tensor.scheme or None,
        "bits_per_weight": layer.tensor.bits_per_weight if layer.tensor.scheme else None,
        "bytes": layer.nbytes,
        "tied": layer.tied,
    }


def _lines(checkpoint: Checkpoint) -> Iterator[str]:
    columns = (text("layer"), text("role"), number("depth"), number("shape"), text("dtype"), number("size"))
    rows = (
        (
            layer.name + (f" = {', '.join(layer.tied)}" if layer.tied else ""),
            layer.role,
            "" if layer.depth is None else str(layer.depth),
            " × ".join(str(extent) for extent in layer.shape) or "scalar",
            layer.tensor.scheme or layer.dtype,
            byte_text(layer.nbytes),
        )
        for layer in checkpoint.layers
    )
    yield from table(columns, rows)
    yield ""
    kind = f", {checkpoint.architecture}" if checkpoint.architecture else ""
    yield f"{checkpoint.path}: {checkpoint.format}{kind}"
    yield f"{checkpoint.tensors:,} tensors, {checkpoint.parameters:,} weights, {byte_text(checkpoint.nbytes)}"
    if checkpoint.schemes:
        yield f"stored compressed: {', '.join(f'{count:,} × {name}' for name, count in checkpoint.schemes.items())}"
    if checkpoint.quantization is not None:
        yield f"already quantised: {checkpoint.quantization.get('quant_method', 'method not named')}"
    for warning in checkpoint.warnings:
        yield f"warning: {warning}"


INSPECT = Subcommand("inspect", "list the layers of a checkpoint, reading headers only", _add_arguments, _run)
