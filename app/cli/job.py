"""One request carried out in this process, reported on the terminal."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TypeVar

from benchvise.app.cli.progress import TerminalProgress, reporting
from benchvise.core.engine import answer
from benchvise.core.protocol.requests import Request

T = TypeVar("T")


def carry_out(request: Request, kind: type[T], arguments: Namespace) -> T:
    """The result of `request`, which is a `kind`. Raises UserError and Cancelled as the job does.

    Raises TypeError when the engine answers with another kind: a mistake of the program.
    """
    with reporting(TerminalProgress(sys.stderr, verbose=arguments.verbose)) as progress:
        result = answer(request, progress)
    if not isinstance(result, kind):
        raise TypeError(f"{type(request).__name__} was answered by {type(result).__name__}, not {kind.__name__}")
    return result
