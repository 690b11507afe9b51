"""`benchvise screenshot`: the real window, drawn offscreen into a picture."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable

from benchvise.app.cli.command import Reply, Subcommand, UsageError
from benchvise.app.cli.options import add_workspace
from benchvise.core.language import LANGUAGES
from benchvise.core.preflight.runtimes import RUNTIMES


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT.png", help="the picture to write")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="a checkpoint to open (the sample)")
    parser.add_argument("--size", metavar="WxH", type=_size, default=(1440, 900), help="of the window (1440x900)")
    parser.add_argument("--scale", metavar="FACTOR", type=float, default=1.0, help="pixels per window pixel (1)")
    parser.add_argument("--theme", choices=["light", "dark"], default="light", help="colours (light)")
    parser.add_argument("--language", choices=list(LANGUAGES), default="en", help="of the window (en)")
    parser.add_argument("--preset", metavar="NAME", default="", help="a shipped recipe to put in place")
    parser.add_argument("--select", metavar="FILTER", default="", help="layers to select")
    parser.add_argument("--tab", metavar="TITLE", default="Histogram", help="the plot to show (Histogram)")
    parser.add_argument("--dock", metavar="TITLE", default="", help="the panel to bring to the front")
    parser.add_argument("--run", action="store_true", help="carry the recipe out first")
    parser.add_argument("--evaluate", action="store_true", help="and measure what came of it")
    parser.add_argument("--sensitivity", action="store_true", help="measure sensitivity first")
    parser.add_argument(
        "--budget", metavar="BUDGET", default="", help="share it out first: 4.25bpw, 6GB, 12ms, kl=0.02"
    )
    parser.add_argument(
        "--check", choices=["any", *RUNTIMES], help="draw the check before a run for this runtime instead, at that size"
    )
    parser.add_argument("--start-page", action="store_true", help="the window as it starts, without a checkpoint")
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    from benchvise.app.shell.screenshot import UnknownTitleError, take  # Qt is loaded for this command only

    try:
        _take(take, arguments)
    except UnknownTitleError as error:
        raise UsageError(error.what, error.remedy) from error
    return Reply({"out": arguments.out}, [f"written to {arguments.out}"])


def _take(take: Callable[..., None], arguments: Namespace) -> None:
    take(
        arguments.out,
        arguments.path,
        size=arguments.size,
        scale=arguments.scale,
        theme=arguments.theme,
        language=arguments.language,
        preset=arguments.preset,
        run=arguments.run,
        evaluate=arguments.evaluate,
        sensitivity=arguments.sensitivity,
        budget=arguments.budget,
        tab=arguments.tab,
        dock=arguments.dock,
        select=arguments.select,
        workspace=arguments.workspace,
        start_page=arguments.start_page,
        check="" if arguments.check == "any" else arguments.check,
    )


def _size(word: str) -> tuple[int, int]:
    width, _, height = word.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 200 <= int(width) <= 8000 and 200 <= int(height) <= 8000):
        raise ArgumentTypeError(f"must be like 1440x900, each from 200 to 8000, not '{word}'")
    return int(width), int(height)


SCREENSHOT = Subcommand("screenshot", "draw the window offscreen into a picture", _add_arguments, _run)
