"""`benchvise spectrum`: singular values of one layer, and what a rank keeps, weighs and costs."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_path, add_text, whole
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, pairs, table
from benchvise.core.errors import RecipeError
from benchvise.core.methods.calibration import Calibration
from benchvise.core.protocol.requests import LookSpectrum
from benchvise.core.protocol.results import LookedSpectrum
from benchvise.core.text import byte_text, kl_text

ENERGIES = (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
BAR_CELLS = 24


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text} is no share from 0 to 1")
    return value


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    parser.add_argument("layer", metavar="LAYER", help="a layer's name, as `benchvise inspect` lists it")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--rank", metavar="R", type=whole(1), help="also show this rank")
    one.add_argument("--energy", metavar="E", type=_fraction, help="also show the least rank that keeps this share")
    one.add_argument("--share", metavar="S", type=_fraction, help="also show the rank with this share of parameters")
    parser.add_argument(
        "--estimate", action="store_true", help="estimate what each rank adds to the KL, by one backward pass on text"
    )
    parser.add_argument("--windows", metavar="N", type=whole(1), default=8, help="windows of text to read (8)")
    add_text(parser)


def _run(arguments: Namespace) -> Reply:
    calibration = Calibration(arguments.text, windows=arguments.windows)
    asked = LookSpectrum(arguments.path, arguments.layer, arguments.estimate, calibration)
    looked = carry_out(asked, LookedSpectrum, arguments)
    chosen = _chosen(looked, arguments)
    data = fields_of(looked) | {
        "energy": looked.energy.tolist(),
        "effective_rank": looked.effective_rank,
        "rank": chosen,
        "rank_bytes": None if chosen is None else chosen * looked.of_rank,
    }
    return Reply(data, _lines(looked, chosen))


def _chosen(looked: LookedSpectrum, arguments: Namespace) -> int | None:
    """The rank that is asked for. Raises RecipeError for one above the maximum."""
    if arguments.energy is not None:
        return max(1, looked.rank_of(arguments.energy))
    if arguments.share is not None:
        rows, columns = looked.shape
        return max(1, int(arguments.share * rows * columns / (rows + columns)))
    rank: int | None = arguments.rank
    if rank is not None and rank > len(looked.values):
        raise RecipeError(
            f"Rank {rank} is above the maximum of '{looked.layer}', {len(looked.values)}",
            where=looked.layer,
            remedy=f"The largest rank that pays is {looked.largest}.",
        )
    return rank


def _lines(looked: LookedSpectrum, chosen: int | None) -> Iterator[str]:
    rows, columns = looked.shape
    facts = [
        ("layer", f"{looked.layer}, {rows} × {columns}, {byte_text(looked.nbytes)}"),
        ("effective rank", f"{looked.effective_rank:.1f} of {len(looked.values)}"),
        ("largest rank that pays", str(looked.largest)),
    ]
    yield from pairs(facts)
    yield ""
    ranks = sorted({*(looked.rank_of(energy) for energy in ENERGIES), *([chosen] if chosen else [])})
    titles = [number("rank"), number("energy"), number("bytes"), number("parameters")]
    titles += (
        [number("KL added ≈"), number("same bytes in bits"), number("KL added ≈")] if looked.kl is not None else []
    )
    yield from table(titles, (_row(looked, rank, chosen) for rank in ranks))


def _row(looked: LookedSpectrum, rank: int, chosen: int | None) -> tuple[str, ...]:
    rows, columns = looked.shape
    share = rank * (rows + columns) / (rows * columns)
    mark = "→ " if rank == chosen else ""
    told = f"{mark}{rank}", f"{looked.energy[rank]:.2%}", byte_text(rank * looked.of_rank), f"{share:.1%}"
    if looked.kl is None:
        return told
    same = looked.same_bytes(rank)
    beside = (same.tag, kl_text(same.kl)) if same is not None else ("", "")
    return *told, kl_text(float(looked.kl[rank])), *beside


SPECTRUM = Subcommand("spectrum", "singular values of one layer, and what a rank keeps and costs", _add_arguments, _run)
