"""`benchvise generate`: greedy text from both, side by side."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_source, add_workspace, whole
from benchvise.app.cli.strict_json import fields_of
from benchvise.core.protocol.requests import Generate
from benchvise.core.protocol.results import Generation, Generations


def _add_arguments(parser: ArgumentParser) -> None:
    add_source(parser)
    parser.add_argument("--against", metavar="PATH", required=True, help="the original to compare with")
    parser.add_argument("--prompt", metavar="TEXT", required=True, help="how the text begins")
    parser.add_argument("--tokens", metavar="N", type=whole(1), default=64, help="tokens to generate (64)")
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = Generate(arguments.path, arguments.against, arguments.prompt, arguments.tokens, arguments.workspace)
    generations = carry_out(request, Generations, arguments)
    return Reply(fields_of(generations), _lines(generations))


def _lines(generations: Generations) -> Iterator[str]:
    at = generations.diverges_at
    for title, generation in (("original", generations.original), ("compressed", generations.compressed)):
        yield f"{title}:"
        yield generations.prompt + _marked(generation, at)
        yield ""
    yield "the same token by token" if at is None else f"the first different token is number {at + 1}, marked «»"


def _marked(generation: Generation, at: int | None) -> str:
    if at is None or at >= len(generation.pieces):
        return "".join(generation.pieces)
    pieces = generation.pieces
    return "".join(pieces[:at]) + f"«{pieces[at]}»" + "".join(pieces[at + 1 :])


GENERATE = Subcommand("generate", "greedy text from both, the first different token marked", _add_arguments, _run)
