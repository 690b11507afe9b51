"""The two kinds of error: the user's (a sentence and a remedy), and ours (everything else, with a traceback)."""

from __future__ import annotations


class UserError(Exception):
    """Something the person can correct.

    what:   what happened, as a sentence without a full stop at the end being required.
    where:  the file, layer, or recipe line it happened in; may be empty.
    remedy: what to do now; may be empty.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what.rstrip(".")
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.what}{place}.{remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


def _rebuild(kind: type[UserError], what: str, where: str, remedy: str) -> UserError:
    return kind(what, where=where, remedy=remedy)


class CheckpointError(UserError):
    """A checkpoint that cannot be opened or read as it is."""


class RecipeError(UserError):
    """A recipe that cannot be understood or carried out on this checkpoint."""


class OutputError(UserError):
    """A place that cannot be written to."""


class Cancelled(Exception):  # noqa: N818 - it is an outcome, not an error
    """The person asked for the job to stop; what was finished stays."""
