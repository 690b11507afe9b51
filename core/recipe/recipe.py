"""Recipes: ordered rules "these layers → this treatment", as values and as YAML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.registry import SCHEMES, SOLVERS, SURGERIES, TRANSFORMS, TUNINGS, Method, origin_of
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.methods.surgery import Surgery
from benchvise.core.methods.transform import Transform
from benchvise.core.methods.tuning import Tuning
from benchvise.core.recipe.strict_yaml import parse_yaml, write_yaml
from benchvise.core.settings import did_you_mean, parse_settings, settings_of, to_mapping

VERSION = 1
T = TypeVar("T")


@dataclass(frozen=True)
class Treatment:
    """Scheme + solver for one layer, and how its inputs are quantised while it runs (None: not at all)."""

    scheme: Scheme
    solver: Solver = field(default_factory=Nearest)
    activations: Activations | None = None

    @cached_property
    def tag(self) -> str:
        """A short name for tables and the tree: "int4 g128 clip". Treatments that give other values have other tags."""
        inputs = self.activations.tag if self.activations is not None else ""
        return " ".join(part for part in (self.scheme.tag, self.solver.tag(self.scheme), inputs) if part)

    @cached_property
    def key(self) -> str:
        """Short hex digest of every setting that decides the values: names the treatment in results and profiles."""
        return _digest(self._identity())

    @cached_property
    def running_key(self) -> str:
        """Short hex digest of what decides how fast the layer runs: scheme and activations, not the solver."""
        return _digest({name: value for name, value in self._identity().items() if name != "solver"})

    def _identity(self) -> dict[str, Any]:
        mapping = self.to_mapping()
        idle = {declared.name for declared in settings_of(type(self.scheme)) if not declared.decides}
        mapping["scheme"] = {name: value for name, value in mapping["scheme"].items() if name not in idle}
        return mapping

    @property
    def keeps(self) -> bool:
        """True when the layer stays as it is."""
        return self.scheme.keeps

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages, with their versions, that scheme and solver come from; none for our own."""
        origins = (origin_of(self.scheme), None if self.keeps else origin_of(self.solver))
        return tuple(str(origin) for origin in origins if origin is not None)

    @property
    def needs_calibration(self) -> bool:
        """Whether the layer's inputs on calibration text have to be known."""
        observed = self.activations is not None and self.activations.needs_calibration
        return observed or (not self.keeps and self.solver.needs(self.scheme) != "weights")

    def refuse_mismatch(self, where: str) -> None:
        """Check that the solver can serve the scheme. Raises RecipeError that names `where` it was chosen."""
        refusal = "" if self.keeps else self.solver.refusal(self.scheme)
        if refusal:
            raise RecipeError(refusal, where=f"{where}, solver", remedy="Choose another solver or another scheme.")

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        """The tensors that hold the treated layer, exactly."""
        return self.scheme.storage(layer) + (self.activations.storage(layer) if self.activations else ())

    def bytes_after(self, layer: Layer) -> int:
        """Exact bytes of the treated layer: codes, scales, zero points, fixed scales of its inputs."""
        return sum(stored.nbytes for stored in self.storage(layer))

    def to_mapping(self) -> dict[str, Any]:
        mapping: dict[str, Any] = {"scheme": {"method": self.scheme.key, **to_mapping(self.scheme)}}
        if not self.keeps:
            capabilities = self.scheme.capabilities
            dropped = {s.name for s in settings_of(type(self.solver)) if s.requires and s.requires not in capabilities}
            solver = {name: value for name, value in to_mapping(self.solver).items() if name not in dropped}
            mapping["solver"] = {"method": self.solver.key, **solver}
            if self.activations is not None:
                mapping["activations"] = to_mapping(self.activations)
        return mapping


def _digest(mapping: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(mapping, sort_keys=True).encode()).hexdigest()[:16]


KEEP = Treatment(Keep())


@dataclass(frozen=True)
class Rule:
    """These layers → this treatment. A layer takes the last rule that matches it.

    targets, ignore: names, globs, `re:` and `role:` patterns, or the words of `core.recipe.layer_matcher`.
    budget: bits per weight, at most, over all layers that the rule decides; the run then finds the bits of each. None
    where each layer gets the treatment as it is written.
    """

    targets: tuple[str, ...]
    treatment: Treatment
    ignore: tuple[str, ...] = ()
    budget: float | None = None

    @property
    def needs_calibration(self) -> bool:
        """Whether text has to be read, to share a budget out or to treat a layer."""
        return self.budget is not None or self.treatment.needs_calibration


@dataclass(frozen=True)
class Recipe:
    """What a person edits, saves and shares: surgery, then transforms, then the rules, then tuning, each in its order.

    calibration: the text that transforms, solvers and tuning learn from. Rules name layers as the checkpoint does.
    """

    rules: tuple[Rule, ...] = ()
    name: str = ""
    description: str = ""
    seed: int = 0
    calibration: Calibration = field(default_factory=Calibration)
    transforms: tuple[Transform, ...] = ()
    surgery: tuple[Surgery, ...] = ()
    tuning: tuple[Tuning, ...] = ()

    @property
    def network_needs_calibration(self) -> bool:
        """Whether a surgery, transform or tuning step, which concern the whole network, learns from text."""
        operated = any(surgery.needs_calibration for surgery in self.surgery)
        return operated or bool(self.tuning) or any(transform.reach == "block" for transform in self.transforms)

    @property
    def needs_calibration(self) -> bool:
        """Whether anything in the recipe learns from calibration text, on whatever checkpoint."""
        return self.network_needs_calibration or any(rule.needs_calibration for rule in self.rules)

    def to_mapping(self) -> dict[str, Any]:
        mapping: dict[str, Any] = {"benchvise": VERSION}
        if self.name:
            mapping["name"] = self.name
        if self.description:
            mapping["description"] = self.description
        mapping["seed"] = self.seed
        changed = {name: value for name, value in to_mapping(self.calibration).items() if value != _DEFAULTS[name]}
        if changed:
            mapping["calibration"] = changed
        stages: dict[str, tuple[Surgery | Transform | Tuning, ...]]
        stages = {"surgery": self.surgery, "transforms": self.transforms, "tuning": self.tuning}
        mapping |= {name: [_as_written(each) for each in stage] for name, stage in stages.items() if stage}
        mapping["rules"] = [
            {"targets": list(rule.targets)}
            | ({"ignore": list(rule.ignore)} if rule.ignore else {})
            | ({"budget": rule.budget} if rule.budget is not None else {})
            | rule.treatment.to_mapping()
            for rule in self.rules
        ]
        return mapping

    def to_yaml(self) -> str:
        return write_yaml(self.to_mapping())

    @property
    def unnamed(self) -> Recipe:
        """What determines the result, as a recipe: without name and description."""
        return replace(self, name="", description="")

    @property
    def digest(self) -> str:
        """sha256 hex over what determines the result: all but name and description, and versions of other packages."""
        mapping = {key: value for key, value in self.to_mapping().items() if key not in ("name", "description")}
        packages = {name for rule in self.rules for name in rule.treatment.packages}
        stages: tuple[Method, ...] = (*self.surgery, *self.transforms, *self.tuning)
        packages |= {str(origin) for method in stages if (origin := origin_of(method)) is not None}
        if packages:
            mapping["packages"] = sorted(packages)
        canonical = json.dumps(mapping, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file. Raises RecipeError naming the file and the rule."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The recipe cannot be read: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            remedy="Check the path; `--preset NAME` uses a shipped recipe instead.",
        ) from error
    return parse_recipe(text, where=str(path))


def parse_recipe(text: str, *, where: str) -> Recipe:
    """Parse a recipe from YAML. Raises RecipeError with every problem that was found."""
    try:
        mapping = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise RecipeError(
            f"The recipe is not valid YAML: {getattr(error, 'problem', None) or error}",
            where=f"{where}{line}",
            remedy="Correct that line.",
        ) from error
    if not isinstance(mapping, dict):
        raise RecipeError("A recipe is a mapping with the key 'rules'", where=where, remedy="See `benchvise presets`.")
    return _parse_mapping(mapping, where)


_STAGE_KEYS = ("surgery", "transforms", "tuning")
_OLD_KEYS = ("polish",)
_RECIPE_KEYS = ("benchvise", "name", "description", "seed", "calibration", *_STAGE_KEYS, "rules")
_RULE_KEYS = ("targets", "ignore", "budget", "scheme", "solver", "activations")
_DEFAULTS = to_mapping(Calibration())
_MAX_BUDGET = 16


def _as_written(method: Surgery | Transform | Tuning) -> dict[str, Any]:
    values = to_mapping(method).items()
    return {"method": method.key} | {name: list(each) if isinstance(each, tuple) else each for name, each in values}


def _parse_mapping(mapping: Mapping[str, object], where: str) -> Recipe:
    _refuse_unknown({key: value for key, value in mapping.items() if key not in _OLD_KEYS}, _RECIPE_KEYS, where)
    version = mapping.get("benchvise")
    if version != VERSION:
        raise RecipeError(
            f"The recipe's version is {version!r}; this program reads version {VERSION}",
            where=where,
            remedy=f"Start the file with 'benchvise: {VERSION}', or update Benchvise.",
        )
    seed = mapping.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise RecipeError(f"'seed' must be a whole number from 0, not {seed!r}", where=where, remedy="Correct it.")
    rules = mapping.get("rules")
    if not isinstance(rules, list):
        raise RecipeError("'rules' must be a list", where=where, remedy="Each rule has 'targets' and a 'scheme'.")
    texts = {key: mapping.get(key, "") for key in ("name", "description")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise RecipeError(f"'{key}' must be text, not {value!r}", where=where, remedy="Put it in quotes.")
    parsed = tuple(_parse_rule(rule, f"{where}, rule {number}") for number, rule in enumerate(rules, start=1))
    return Recipe(
        parsed,
        str(texts["name"]),
        str(texts["description"]),
        seed,
        _section(Calibration, mapping, "calibration", where) or Calibration(),
        _stage(mapping, "transforms", "transform", TRANSFORMS, where),
        _stage(mapping, "surgery", "surgery", SURGERIES, where),
        (*_stage(mapping, "tuning", "tuning step", TUNINGS, where), *_old_polish(mapping, where)),
    )


def _section(kind: type[T], mapping: Mapping[str, object], key: str, where: str) -> T | None:
    """The settings under `key`; None when it is not there."""
    if key not in mapping:
        return None
    value = mapping[key]
    if not isinstance(value, dict):
        raise RecipeError(f"'{key}' must be a mapping, not {value!r}", where=where, remedy="Give its settings by name.")
    return parse_settings(kind, {str(name): setting for name, setting in value.items()}, where=f"{where}, {key}")


def _stage(
    mapping: Mapping[str, object], key: str, noun: str, known: Mapping[str, type[T]], where: str
) -> tuple[T, ...]:
    value = mapping.get(key, [])
    if not isinstance(value, list):
        raise RecipeError(f"'{key}' must be a list", where=where, remedy="Each has the key 'method'.")
    return tuple(_parse_method(each, noun, known, where) for each in value)


def _old_polish(mapping: Mapping[str, object], where: str) -> tuple[Tuning, ...]:
    """The key of recipes from before there were tuning steps: a mapping of polish's settings."""
    polish = _section(Polish, mapping, "polish", where)
    return () if polish is None else (polish,)


def _parse_rule(rule: object, where: str) -> Rule:
    if not isinstance(rule, dict):
        raise RecipeError(f"A rule must be a mapping, not {rule!r}", where=where, remedy="Give it 'targets'.")
    _refuse_unknown(rule, _RULE_KEYS, where)
    targets = _patterns(rule, "targets", where)
    if not targets:
        raise RecipeError("A rule needs 'targets'", where=where, remedy="For example: targets: [linears]")
    treatment = parse_treatment(rule, where)
    return Rule(targets, treatment, _patterns(rule, "ignore", where), _budget(rule, treatment, where))


def _budget(rule: Mapping[str, object], treatment: Treatment, where: str) -> float | None:
    value = rule.get("budget")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MAX_BUDGET:
        remedy = f"Give bits per weight, more than 0 and at most {_MAX_BUDGET}: budget: 3.25"
        raise RecipeError(f"'budget' must be a number of bits per weight, not {value!r}", where=where, remedy=remedy)
    if treatment.scheme.with_bits(2) == treatment.scheme.with_bits(3):
        raise RecipeError(
            f"'budget' does not apply to the scheme '{treatment.scheme.key}', which has no integers whose bits differ",
            where=where,
            remedy="Choose the scheme 'integer', or remove 'budget'.",
        )
    return float(value)


def parse_treatment(mapping: Mapping[str, object], where: str) -> Treatment:
    """The treatment in a mapping with the keys `scheme` and, optionally, `solver` and `activations`.

    Raises RecipeError when a method or setting is unknown, out of bounds or does not go with the scheme.
    """
    scheme = _parse_method(mapping.get("scheme"), "scheme", SCHEMES, where)
    solver = _parse_method(mapping["solver"], "solver", SOLVERS, where) if "solver" in mapping else Nearest()
    given = mapping.get("solver")
    for declared in settings_of(type(solver)):
        asked = isinstance(given, dict) and declared.name in given
        if asked and declared.requires and declared.requires not in scheme.capabilities:
            raise RecipeError(
                f"'{declared.name}' does not apply to the scheme '{scheme.key}', which has no {declared.requires}",
                where=f"{where}, solver",
                remedy=f"Remove '{declared.name}'.",
            )
    treatment = Treatment(scheme, solver, _section(Activations, mapping, "activations", where))
    treatment.refuse_mismatch(where)
    return treatment


def _parse_method(value: object, axis: str, known: Mapping[str, type[Any]], where: str) -> Any:
    if isinstance(value, str):
        value = {"method": value}
    if not isinstance(value, dict) or "method" not in value:
        raise RecipeError(
            f"The {axis} must be a mapping with the key 'method'",
            where=where,
            remedy=f"For example: {axis}: {{method: {list(known)[-1]}}}",
        )
    method = value["method"]
    if not isinstance(method, str) or method not in known:
        raise RecipeError(f"There is no {axis} '{method}'", where=where, remedy=did_you_mean(str(method), known))
    settings = {str(key): setting for key, setting in value.items() if key != "method"}
    return parse_settings(known[method], settings, where=f"{where}, {axis} {method}")


def _patterns(rule: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    value = rule.get(key, [])
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise RecipeError(f"'{key}' must be a list of names or patterns", where=where, remedy="Put each in quotes.")
    return tuple(value)


def _refuse_unknown(mapping: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    unknown = [str(key) for key in mapping if key not in known]
    if unknown:
        hints = " ".join(did_you_mean(key, known) for key in unknown)
        names = ", ".join(f"'{key}'" for key in unknown)
        raise RecipeError(f"Unknown key {names}", where=where, remedy=hints)
