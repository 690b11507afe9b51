"""`benchvise plan --budget`: the recipe that shares a budget out over the layers."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_workspace, chosen_recipe, chosen_target, whole
from benchvise.app.cli.table import number, table, text
from benchvise.app.cli.treatment_words import parse_treatment_words
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import OutputError, RecipeError
from benchvise.core.export.ladder import ladder_for
from benchvise.core.protocol.budget import BITS, LATENCY, Budget, parse_budget
from benchvise.core.protocol.requests import Allocate, ForecastCosts, MeasureSensitivity
from benchvise.core.protocol.results import Allocated, Alternatives, LayerCosts, Sensitivity
from benchvise.core.recipe.layer_matcher import matching
from benchvise.core.recipe.recipe import KEEP, Recipe, Treatment
from benchvise.core.settings import did_you_mean
from benchvise.core.text import byte_text, number_text
from benchvise.core.workspace import sensitivities
from benchvise.core.workspace.atomic_files import write_text
from benchvise.core.workspace.workspace import Workspace

METHODS = ("auto", *sensitivities.METHODS)


def add_budget(parser: ArgumentParser) -> None:
    """--budget and what belongs to it."""
    group = parser.add_argument_group("sharing a budget out over the layers")
    group.add_argument("--budget", metavar="BUDGET", help="4.25bpw, 6GB, 6GB@8192 (memory at a context), 12ms, kl=0.02")
    group.add_argument("--candidates", metavar="TREATMENT", nargs="+", action="extend", help="what a layer may get")
    group.add_argument("--layers", metavar="PATTERN", nargs="+", action="extend", help="what is allocated (linears)")
    group.add_argument("--keep", metavar="PATTERN", nargs="+", action="extend", default=[], help="layers that stay")
    group.add_argument(
        "--lock", metavar="PATTERN=TREATMENT", nargs="+", action="extend", default=[], help="layers that are decided"
    )
    group.add_argument(
        "--fused", action="store_true", help="the same treatment for query, key and value, and for gate and up"
    )
    group.add_argument("--sensitivity-text", metavar="FILE", help="text to measure sensitivity on (default: --text)")
    group.add_argument("--method", choices=METHODS, default="auto", help="how the KL increase is found (auto)")
    group.add_argument("--seconds", metavar="S", type=float, default=60.0, help="for measuring, with auto (60)")
    group.add_argument("--windows", metavar="N", type=whole(1), default=16, help="windows of text to read (16)")
    group.add_argument("--window-tokens", metavar="N", type=whole(2), default=256, help="tokens a window (256)")
    group.add_argument("--no-correction", action="store_true", help="do not measure what layers do together")
    group.add_argument("--batch", metavar="N", type=whole(1), default=1, help="sequences at once, for a time (1)")
    group.add_argument("--context", metavar="N", type=whole(1), default=32, help="tokens before, for a time (32)")
    group.add_argument("--profile", metavar="FILE", default="", help="another machine's profile, for a time")
    group.add_argument("--out", metavar="FILE", default="", help="write the recipe there; must not exist yet")
    add_workspace(parser)


@dataclass(frozen=True)
class BudgetAnswer:
    """A budget shared out, and what it was based on."""

    budget: Budget
    sensitivity: Sensitivity
    allocated: Allocated


def allocate_budget(arguments: Namespace) -> BudgetAnswer:
    """Measure what is not known yet, and allocate. Raises as the requests do.

    Raises RecipeError for bad words, and OutputError when the file to write exists.
    """
    budget = parse_budget(arguments.budget)
    if arguments.out and Path(arguments.out).exists():
        raise OutputError("The file exists already", where=arguments.out, remedy="Choose another name with --out.")
    checkpoint = open_checkpoint(arguments.path)
    base = _base(arguments)
    words = arguments.candidates or ()
    candidates = tuple(dict.fromkeys(map(parse_treatment_words, words))) or ladder_for(
        chosen_target(arguments), runs=bool(checkpoint.architecture)
    )
    layers = _names(arguments.layers or ["linears"], checkpoint, "--layers")
    locked = _locks(arguments, checkpoint, layers)
    known = carry_out(_measurement(arguments, base, candidates, locked, layers), Sensitivity, arguments)
    costs = ""
    if budget.kind == LATENCY:
        ask = ForecastCosts(
            arguments.path,
            tuple(dict.fromkeys((KEEP, *candidates, *locked.values()))),
            batch=arguments.batch,
            context=arguments.context,
            profile=arguments.profile,
            workspace=arguments.workspace,
        )
        costs = carry_out(ask, LayerCosts, arguments).key
    request = Allocate(
        arguments.path,
        base,
        known.key,
        candidates,
        budget,
        tuple(layers),
        tuple(locked.items()),
        arguments.fused,
        costs,
        arguments.workspace,
    )
    allocated = carry_out(request, Allocated, arguments)
    kept = Workspace(arguments.workspace)
    kept.keep_forecast(checkpoint, allocated.recipe, "kl", allocated.kl)
    if arguments.out:
        write_text(Path(arguments.out), replace(allocated.recipe, name=_name(budget)).to_yaml())
    return BudgetAnswer(budget, known, allocated)


def _base(arguments: Namespace) -> Recipe:
    if arguments.recipe is not None or arguments.preset is not None:
        return chosen_recipe(arguments)
    recipe = Recipe()
    return replace(recipe, calibration=replace(recipe.calibration, text=arguments.text))


def _measurement(
    arguments: Namespace,
    base: Recipe,
    candidates: Sequence[Treatment],
    locked: dict[str, Treatment],
    layers: Sequence[str],
) -> MeasureSensitivity:
    treatments = (*candidates, *(treatment for treatment in locked.values() if not treatment.keeps))
    return MeasureSensitivity(
        arguments.path,
        arguments.text if arguments.sensitivity_text is None else arguments.sensitivity_text,
        tuple(dict.fromkeys(treatments)),
        tuple(layers),
        arguments.windows,
        arguments.window_tokens,
        arguments.workspace,
        arguments.method,
        arguments.seconds,
        correct=not arguments.no_correction,
        calibration=base.calibration,
        seed=base.seed,
    )


def _names(patterns: Sequence[str], checkpoint: Checkpoint, option: str) -> list[str]:
    """The compressible layers that patterns name. Raises RecipeError for a pattern that names none."""
    found, unmatched = matching(patterns, checkpoint.layers)
    layers = [checkpoint.layers[index].name for index in sorted(found) if checkpoint.layers[index].compressible]
    if unmatched or not layers:
        wrong = unmatched[0] if unmatched else patterns[0]
        remedy = did_you_mean(wrong, (layer.name for layer in checkpoint.layers))
        raise RecipeError(f"{option} '{wrong}' matches no layer to compress", where=checkpoint.path, remedy=remedy)
    return layers


def _locks(arguments: Namespace, checkpoint: Checkpoint, layers: Sequence[str]) -> dict[str, Treatment]:
    asked = [(pattern, KEEP, "--keep") for pattern in arguments.keep]
    for words in arguments.lock:
        pattern, equals, treatment = words.partition("=")
        if not equals:
            raise RecipeError(f"--lock '{words}' names no treatment", remedy="Write PATTERN=TREATMENT.")
        asked.append((pattern, parse_treatment_words(treatment), "--lock"))
    locked: dict[str, Treatment] = {}
    allocated = set(layers)
    for pattern, treatment, option in asked:
        for name in _names([pattern], checkpoint, option):
            if name in allocated and locked.setdefault(name, treatment) != treatment:
                raise RecipeError(
                    f"'{name}' is locked twice: to {locked[name].tag} and to {treatment.tag}",
                    where=name,
                    remedy="Leave one of the two out.",
                )
    return locked


def _name(budget: Budget) -> str:
    return f"budget-{budget.words}".replace("=", "-")


def budget_data(shared: BudgetAnswer) -> dict[str, object]:
    """What --json prints beside the plan."""
    allocated, known = shared.allocated, shared.sensitivity
    return {
        "budget": shared.budget.words,
        "kl": {"value": allocated.kl.value, "low": allocated.kl.low, "high": allocated.kl.high},
        "cost": allocated.cost,
        "price": allocated.price,
        "latency_ms": None
        if allocated.latency_ms is None
        else {
            "value": allocated.latency_ms.value,
            "low": allocated.latency_ms.low,
            "high": allocated.latency_ms.high,
        },
        "front": {
            "unit": allocated.front.unit,
            "cost": allocated.front.cost.tolist(),
            "kl": allocated.front.kl.tolist(),
        },
        "allocation": [
            {
                "name": layer,
                "treatment": allocated.tags[allocated.choice[index]],
                "kl_increase": float(allocated.kl_increase[index]),
                "better": _alternative(allocated, allocated.better, index),
                "cheaper": _alternative(allocated, allocated.cheaper, index),
            }
            for index, layer in enumerate(allocated.layers)
        ],
        "sensitivity": {
            "key": known.key,
            "seconds": known.seconds,
            "rank_correlation": known.rank_correlation,
            "compared": known.compared,
        },
        "notes": [*known.warnings, *allocated.notes],
    }


def _alternative(allocated: Allocated, alternatives: Alternatives, index: int) -> dict[str, object] | None:
    option = int(alternatives.choice[index])
    if option < 0:
        return None
    cost, kl = float(alternatives.cost[index]), float(alternatives.kl[index])
    return {"treatment": allocated.tags[option], "cost": cost, "kl": kl}


def budget_lines(shared: BudgetAnswer, layers: dict[str, Layer], out: str) -> Iterator[str]:
    """The allocation as a table, with what each layer's next better and next cheaper choice would cost."""
    allocated = shared.allocated
    columns = (
        text("layer"),
        text("treatment"),
        number("share of KL"),
        text("next better"),
        text("next cheaper"),
    )
    unit = allocated.front.unit
    total = float(allocated.kl_increase.sum()) or 1.0
    rows = (
        (
            layer,
            allocated.tags[allocated.choice[index]],
            f"{allocated.kl_increase[index] / total:.1%}",
            _in_words(allocated, allocated.better, index, unit),
            _in_words(allocated, allocated.cheaper, index, unit),
        )
        for index, layer in enumerate(allocated.layers)
    )
    yield from table(columns, rows)
    yield ""
    kl = allocated.kl
    value, low, high = (number_text(each, 3) for each in (kl.value, kl.low, kl.high))
    yield f"KL ≈ {value} nats per token, between {low} and {high}"
    if allocated.latency_ms is not None:
        time = allocated.latency_ms
        yield f"≈ {time.value:.3g} ms per token, between {time.low:.3g} and {time.high:.3g}"
    elif shared.budget.kind == BITS:
        weights = sum(layers[name].parameters for name in allocated.layers)
        yield f"{8 * allocated.cost / weights:.4f} bits per weight over {len(allocated.layers):,} layers"
    known = shared.sensitivity
    if known.rank_correlation is not None:
        agreement = f"{known.rank_correlation:.3f} over {known.compared:,} cells"
        yield f"estimated and measured KL increases agree in rank by {agreement}"
    for note in (*known.warnings, *allocated.notes):
        yield f"note: {note}"
    if out:
        yield f"written to {out}"
    yield ""


def _in_words(allocated: Allocated, alternatives: Alternatives, index: int, unit: str) -> str:
    option = int(alternatives.choice[index])
    if option < 0:
        return "—"
    cost, kl = float(alternatives.cost[index]), float(alternatives.kl[index])
    spent = f"{cost:+.3g} ms" if unit == "ms" else f"{'+' if cost >= 0 else '−'}{byte_text(abs(cost))}"
    return f"{allocated.tags[option]}: {spent}, KL {kl:+.2g}"
