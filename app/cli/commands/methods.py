"""`benchvise methods`: a reference of everything a recipe can hold, made from the declarations."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.strict_json import fields_of
from benchvise.core.export.targets.registry import TARGETS
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.registry import SCHEMES, SOLVERS, SURGERIES, TRANSFORMS, TUNINGS
from benchvise.core.plugins import PluginProblem, Registry
from benchvise.core.settings import Setting, settings_of

_AXES: dict[str, Registry[Any]] = {
    "surgeries": SURGERIES,
    "transforms": TRANSFORMS,
    "schemes": SCHEMES,
    "solvers": SOLVERS,
    "tunings": TUNINGS,
}
_SECTIONS: dict[str, type[object]] = {"activations": Activations, "calibration": Calibration}
"""Keys of a recipe or a rule that hold settings of one kind, without a method to choose."""


def _add_arguments(parser: ArgumentParser) -> None:
    del parser  # nothing to choose


def _run(arguments: Namespace) -> Reply:
    del arguments
    data: dict[str, object] = {
        axis: [_as_data(method, registry) for method in registry.values()] for axis, registry in _AXES.items()
    }
    data |= {key: {"summary": _summary(kind), "settings": _settings(kind)} for key, kind in _SECTIONS.items()}
    skipped = [problem for registry in (*_AXES.values(), TARGETS) for problem in registry.problems]
    data["skipped"] = [asdict(problem) for problem in skipped]
    return Reply(data, _lines(skipped))


def _as_data(method: type[Any], registry: Registry[Any]) -> dict[str, object]:
    origin = registry.origin(method.key)
    return {
        "method": method.key,
        "title": method.title,
        "summary": method.summary,
        "source": method.source,
        "package": None if origin is None else str(origin),
        "settings": _settings(method),
    }


def _settings(kind: type[object]) -> list[dict[str, object]]:
    return [fields_of(declared) for declared in settings_of(kind)]


def _summary(kind: type[object]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _lines(skipped: Sequence[PluginProblem]) -> Iterator[str]:
    for axis, registry in _AXES.items():
        yield axis.capitalize()
        for method in registry.values():
            origin = registry.origin(method.key)
            yield ""
            yield f"  {method.key}: {method.summary}"
            yield f"    source: {method.source}"
            if origin is not None:
                yield f"    package: {origin}"
            yield from _setting_lines(method)
        yield ""
    for key, kind in _SECTIONS.items():
        yield key.capitalize()
        yield ""
        yield f"  {key}: {_summary(kind)}"
        yield from _setting_lines(kind)
        yield ""
    if skipped:
        yield "Skipped"
        yield ""
        yield from (f"  {_skipped(problem)}" for problem in skipped)


def _skipped(problem: PluginProblem) -> str:
    said = f"{problem.origin}, {problem.group}: '{problem.entry}'"
    if problem.kind == "import":
        return f"{said} cannot be imported ({problem.detail})"
    if problem.kind == "clash":
        return f"{said} has the key of another method: {problem.detail}"
    return f"{said} cannot be used: {problem.detail}"


def _setting_lines(kind: type[object]) -> Iterator[str]:
    for declared in settings_of(kind):
        yield f"    {declared.name}: {_values(declared)}{_condition(declared)}"
        yield f"      {declared.help}"


def _values(declared: Setting) -> str:
    default = str(declared.default).lower() if declared.kind == "boolean" else str(declared.default)
    if declared.kind == "indices":
        return f"a list of whole numbers from 0 (default {declared.empty or 'empty'})"
    if declared.kind == "choice":
        allowed = " | ".join(name for name, _ in declared.choices)
    elif declared.kind == "boolean":
        allowed = "true | false"
    elif declared.kind == "text":
        allowed = f"a file ({', '.join(declared.files)})" if declared.files else "text"
        default = default or (f"the {declared.empty}" if declared.empty else "empty")
    else:
        bounds = [
            f"from {declared.minimum:.10g}" if declared.minimum is not None else "",
            f"to {declared.maximum:.10g}" if declared.maximum is not None else "",
            declared.unit,
        ]
        allowed = " ".join(part for part in (declared.kind, *bounds) if part)
    return f"{allowed} (default {default})"


def _condition(declared: Setting) -> str:
    parts = []
    if declared.when is not None:
        parts.append(f"with {declared.when[0]} {' or '.join(str(value).lower() for value in declared.when[1])}")
    if declared.requires:
        parts.append(f"for schemes with a {declared.requires}")
    return f", only {' and '.join(parts)}" if parts else ""


METHODS = Subcommand(
    "methods", "the reference of everything a recipe can hold: methods and their settings", _add_arguments, _run
)
