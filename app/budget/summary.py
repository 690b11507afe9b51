"""An allocation in words and among everything else that is known to be possible, and what it needs first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchvise.app.budget.front_plot import FrontView
from benchvise.app.budget.kinds import Choices, front_of
from benchvise.app.budget.model import Allocation
from benchvise.app.panel.plot_panel import NO_OUTPUT
from benchvise.app.plots.pareto_plot import Point
from benchvise.app.state.candidate_treatments import ladder
from benchvise.app.state.decode_conditions import Conditions
from benchvise.core.language import tr
from benchvise.core.protocol.results import Allocated
from benchvise.core.text import byte_text, kl_text, plural

if TYPE_CHECKING:
    from benchvise.app.state.document import Document


def missing_words(document: Document, failure: str) -> tuple[str, str, str]:
    """What is needed before a budget can be allocated, or prevents it: heading, text, and what the button does."""
    assert document.checkpoint is not None
    if not document.checkpoint.architecture:
        return tr("No budget can be shared out here"), tr(NO_OUTPUT), ""
    known, rungs = len(document.sensitivity), ladder(document.recipe)
    if document.measuring:
        layers = sum(layer.kind == "linear" and layer.compressible for layer in document.checkpoint.layers)
        told = tr(
            "{known:,} of about {layers:,} cells are known. The budget is open once it has finished; "
            "what is measured stays when you cancel.",
            known=known,
            layers=layers * len(rungs),
        )
        return tr("Measuring what each treatment does"), told, tr("Cancel")
    begun = tr(" {cells} of layers × treatments are known already.", cells=plural(known, "cell")) if known else ""
    needed = tr(
        "Allocation needs the sensitivity of each layer to each treatment. This measures "
        "{names}, estimates what time does not allow, and checks what several do at once.{begun}",
        names=", ".join(treatment.tag for treatment in rungs),
        begun=begun,
    )
    heading = tr("Sensitivity could not be measured") if failure else tr("Which layers deserve the bits?")
    return heading, failure or needed, tr("Measure layers")


def budget_words(found: Allocation, choices: Choices | None, conditions: Conditions) -> str:
    """What the allocation comes to, in a line, and its notes below."""
    allocated = found.allocated
    plan = allocated.planned
    bits = choices.bits(int(found.nbytes.sum())) if choices is not None else plan.bits_per_treated_weight
    parts = [
        tr("{bits:.2f} bits in allocated layers", bits=bits),
        tr("{bits_per_weight:.2f} overall", bits_per_weight=plan.bits_per_weight),
        byte_text(plan.total_after),
        tr(
            "KL ≈{kl} ({low} to {high})",
            kl=kl_text(allocated.kl.value),
            low=kl_text(allocated.kl.low),
            high=kl_text(allocated.kl.high),
        ),
    ]
    time = allocated.latency_ms
    if time is not None:
        where = tr(" on {machine}", machine=conditions.machine) if conditions.machine else ""
        parts.append(
            tr(
                "≈{value:.3g} ms a step ({low:.3g} to {high:.3g}) for {words}{where}",
                value=time.value,
                low=time.low,
                high=time.high,
                words=conditions.words,
                where=where,
            )
        )
    return " · ".join(parts) + "".join(f"\n{note}" for note in allocated.notes)


def front_view(allocated: Allocated, document: Document, uniform: tuple[Point, ...]) -> FrontView:
    """The front with the allocation on it, uniform recipes (their costs are bytes) and measured runs."""
    by_time = allocated.front.unit == "ms"
    cost = float(allocated.planned.total_after)
    if by_time:
        cost = allocated.latency_ms.value if allocated.latency_ms is not None else allocated.cost
    path = document.checkpoint.path if document.checkpoint is not None else ""
    comparable = not by_time or document.conditions.are_default
    runs = tuple(
        Point(run.run, run.recipe_name or run.run, x, run.kl_mean)
        for run in document.runs
        if comparable
        and run.kl_mean is not None
        and run.checkpoint == path
        and (x := run.decode_ms if by_time else run.bytes_after) is not None
    )
    return FrontView(front_of(allocated), (cost, allocated.kl), () if by_time else uniform, runs)
