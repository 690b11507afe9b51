"""`benchvise diff`: two checkpoints side by side, layer by layer."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.commands.histogram import histogram_lines
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_workspace, whole
from benchvise.app.cli.strict_json import plain
from benchvise.app.cli.table import number, table, text
from benchvise.core.protocol.requests import CompareLayers
from benchvise.core.protocol.results import LayerDifference, LayersCompared


def _add_arguments(parser: ArgumentParser) -> None:
    source = "a checkpoint, a folder that compress wrote, or run:ID"
    parser.add_argument("first", metavar="A", help=source)
    parser.add_argument("second", metavar="B", help="the same, held against A")
    parser.add_argument("--layer", metavar="LAYER", default="", help="also count the differences of this layer")
    parser.add_argument("--bins", metavar="N", type=whole(1), default=256, help="uniform bins (256)")
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = CompareLayers(
        arguments.first, arguments.second, arguments.layer, arguments.bins, arguments.workspace or ""
    )
    found = carry_out(request, LayersCompared, arguments)
    return Reply({"layers": plain(found.layers), "histogram": plain(found.histogram)}, _lines(found))


def _lines(found: LayersCompared) -> Iterator[str]:
    columns = (text("layer"), text(""), number("relative difference"), number("bits A"), number("bits B"))
    yield from table((*columns, text("scheme A"), text("scheme B")), (_row(layer) for layer in found.layers))
    yield ""
    changed = sum(layer.changed for layer in found.layers)
    yield f"{changed:,} of {len(found.layers):,} layers differ"
    if found.histogram is not None:
        yield ""
        yield f"differences B − A of {found.counted}, bars on a logarithmic scale"
        yield from histogram_lines(found.histogram)


def _row(layer: LayerDifference) -> tuple[str, ...]:
    relative = "" if layer.relative_difference is None else f"{layer.relative_difference:.3g}"
    bits = ("" if each is None else f"{each:.2f}" for each in (layer.bits_a, layer.bits_b))
    return layer.name, "changed" if layer.changed else "equal", relative, *bits, layer.scheme_a, layer.scheme_b


DIFF = Subcommand("diff", "two checkpoints side by side, layer by layer", _add_arguments, _run)
