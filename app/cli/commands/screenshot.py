"""`benchvise screenshot`: the real window, drawn offscreen into a picture."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace

from app.cli.command import Command, Reply


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ArgumentTypeError(f"a size is WIDTHxHEIGHT, for example 1440x900, not '{text}'")
    return int(width), int(height)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT.png", help="the picture to write")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="a checkpoint to open (the sample)")
    parser.add_argument("--preset", default="", metavar="NAME", help="put a shipped recipe in place")
    parser.add_argument("--run", action="store_true", help="carry the recipe out first")
    parser.add_argument("--evaluate", action="store_true", help="then evaluate the run and measure its latency")
    parser.add_argument("--sensitivity", action="store_true", help="measure sensitivity first")
    parser.add_argument("--tab", default="Histogram", help="the plot in the middle, by its title")
    parser.add_argument("--select", default="", metavar="PART", help="select the layers whose name has this part")
    parser.add_argument("--start-page", action="store_true", help="open nothing")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--size", type=_size, default=(1440, 900), metavar="WxH", help="size of the window")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels of the picture per pixel of the window")
    parser.add_argument("--workspace", default="", metavar="DIR", help="where runs are kept (a temporary folder)")


def _run(arguments: Namespace) -> Reply:
    from app.screenshot import take  # Qt is loaded for this command only

    take(
        arguments.out,
        arguments.path,
        size=arguments.size,
        scale=arguments.scale,
        theme=arguments.theme,
        preset=arguments.preset,
        run=arguments.run,
        evaluate=arguments.evaluate,
        sensitivity=arguments.sensitivity,
        tab=arguments.tab,
        select=arguments.select,
        workspace=arguments.workspace,
        start_page=arguments.start_page,
    )
    return Reply({"out": arguments.out}, [f"written to {arguments.out}"])


SCREENSHOT = Command("screenshot", "draw the window offscreen into a picture", _add_arguments, _run)
