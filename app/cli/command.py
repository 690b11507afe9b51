"""What a command is: a value with a name, its options, and a function from arguments to a reply."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchvise.app.cli.exit_codes import OK


@dataclass(frozen=True)
class Reply:
    """What a command answers: `data` for `--json`, `lines` for people; lines are only made when they are shown.

    code: what the shell is told.
    """

    data: Mapping[str, object]
    lines: Iterable[str]
    code: int = OK


@dataclass(frozen=True)
class Subcommand:
    """One word after `benchvise`.

    after_cancel: what the person can do after Ctrl+C, as a sentence.
    """

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Reply]
    after_cancel: str = ""


class UsageError(Exception):
    """A command line that cannot be understood; `remedy` says how it goes."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
