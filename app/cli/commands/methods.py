"""`benchvise methods`: a reference of every scheme, solver and setting, made from their declarations."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping

from app.cli.command import Command, Reply
from app.cli.strict_json import fields_of
from core.methods.registry import SCHEMES, SOLVERS
from core.methods.scheme import Scheme
from core.methods.solver import Solver
from core.settings import Setting, settings_of

Method = type[Scheme] | type[Solver]


def _add_arguments(parser: ArgumentParser) -> None:
    del parser  # nothing to choose


def _run(arguments: Namespace) -> Reply:
    del arguments
    data = {
        "schemes": [_as_data(method) for method in SCHEMES.values()],
        "solvers": [_as_data(method) for method in SOLVERS.values()],
    }
    return Reply(data, _lines({"Schemes": tuple(SCHEMES.values()), "Solvers": tuple(SOLVERS.values())}))


def _as_data(method: Method) -> dict[str, object]:
    return {
        "method": method.key,
        "title": method.title,
        "summary": method.summary,
        "source": method.source,
        "settings": [fields_of(declared) for declared in settings_of(method)],
    }


def _lines(axes: Mapping[str, tuple[Method, ...]]) -> Iterator[str]:
    for axis, methods in axes.items():
        yield axis
        for method in methods:
            yield ""
            yield f"  {method.key}: {method.summary}"
            yield f"    source: {method.source}"
            for declared in settings_of(method):
                yield f"    {declared.name}: {_values(declared)}{_condition(declared)}"
                yield f"      {declared.help}"
        yield ""


def _values(declared: Setting) -> str:
    default = str(declared.default).lower() if declared.kind == "boolean" else str(declared.default)
    if declared.kind == "choice":
        allowed = " | ".join(name for name, _ in declared.choices)
    elif declared.kind == "boolean":
        allowed = "true | false"
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


METHODS = Command("methods", "the reference of all schemes, solvers and their settings", _add_arguments, _run)
