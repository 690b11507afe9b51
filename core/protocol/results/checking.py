"""What was found of a recipe before it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchvise.core.recipe.recipe import Recipe


@dataclass(frozen=True)
class Fix:
    """One way to do away with a finding: another recipe, ready to be put in place, or another export target."""

    label: str
    recipe: Recipe | None = None
    target: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know before a run.

    kind:   names what was looked at, the same in every check: "disk", "group", "fused", …
    level:  "blocks" (it will not run, or not load), "warns" (not what was asked for, or in vain), "tells", "fine".
    title:  a sentence without its full stop; detail: why, and what follows, with its source where it is about others.
    layers: names of the layers it is about, all of them.
    """

    kind: str
    level: Literal["blocks", "warns", "tells", "fine"]
    title: str
    detail: str = ""
    layers: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True)
class Checked:
    """All findings, the gravest first. may_run: nothing blocks the job; loads: nothing blocks `runtime`."""

    findings: tuple[Finding, ...]
    runtime: str
    may_run: bool
    loads: bool
