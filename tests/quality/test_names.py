"""One public name, one meaning, in the whole of `app` and `core`."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_one_public_name_means_one_thing() -> None:
    """Classes and aliases at the top of a module; an alias may be written again where it says the same."""
    meanings: dict[str, dict[str, str]] = defaultdict(dict)
    for room in ("app", "core"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                place = path.relative_to(ROOT).as_posix()
                if isinstance(node, ast.ClassDef):
                    meanings[node.name][place] = place
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    meanings[node.targets[0].id][place] = ast.unparse(node.value)
    twice = {
        name: sorted(said)
        for name, said in meanings.items()
        if name[0].isupper() and not name.isupper() and len(set(said.values())) > 1
    }
    assert twice == {}
