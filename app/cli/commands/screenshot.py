"""`benchvise screenshot`: the real window, drawn offscreen into a picture."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from app.cli.command import Command, Reply


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT.png", help="the picture to write")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="a checkpoint to open (the sample)")


def _run(arguments: Namespace) -> Reply:
    from app.screenshot import take  # Qt is loaded for this command only

    take(arguments.out, arguments.path)
    return Reply({"out": arguments.out}, [f"written to {arguments.out}"])


SCREENSHOT = Command("screenshot", "draw the window offscreen into a picture", _add_arguments, _run)
