"""What a cluster can do for a job, before it is asked to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from benchvise.core.language import message
from benchvise.core.preflight.facts import Facts
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Finding


def cluster_findings(facts: Facts, request: CheckRecipe) -> Iterator[Finding]:
    """Why the cluster of the request does nothing for the job; nothing when it does, or none is asked for."""
    if not request.cluster:
        return
    if facts.walks:
        title = message("The cluster does nothing for this recipe")
        detail = message(
            "It goes block by block, and each block is shown what the ones before it give, so all of it is computed on "
            "this machine. Solvers that take each layer for itself use a cluster."
        )
        yield Finding("cluster", "warns", title, detail)
    elif find_spec("ray") is None:
        title = message("Work on several machines needs Ray, which is not installed")
        yield Finding("cluster", "blocks", title, message("Install it with: pip install 'benchvise[cluster]'"))
