"""YAML as recipes use it: no key twice in a mapping, and 1e-3 is a number."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, refusing what it would otherwise drop or misread without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key.value}' is twice", key.start_mark)
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


class _StrictDumper(yaml.SafeDumper):
    """The safe dumper, quoting what the loader here would take for a number."""


# YAML 1.1 takes 1e-3 for a word, as it has no point.
for _side in (_StrictLoader, _StrictDumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def write_yaml(value: object) -> str:
    """`value` as text that `parse_yaml` reads back the same; mappings keep their order."""
    return str(yaml.dump(value, Dumper=_StrictDumper, sort_keys=False, allow_unicode=True))


def parse_yaml(text: str) -> object:
    """The value written in `text`. Raises yaml.YAMLError for everything that cannot be read, never another error."""
    try:
        return yaml.load(text, _StrictLoader)  # noqa: S506 - a safe loader
    except (ValueError, RecursionError) as error:
        # For example 2024-13-45, which has the shape of a date; or a thousand brackets.
        raise yaml.YAMLError(str(error)) from error
