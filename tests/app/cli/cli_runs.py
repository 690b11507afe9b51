"""Commands run in this process, and what they said."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchvise.app.cli import main

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass
class Shell:
    """Runs commands as `benchvise` does, capturing both streams."""

    capsys: pytest.CaptureFixture[str]

    def run(self, *words: object) -> Said:
        code = main([str(word) for word in words])
        captured = self.capsys.readouterr()
        return Said(code, captured.out, captured.err)

    def json(self, *words: object) -> Any:
        """The one object on stdout; it must be strict JSON, and nothing else may be there."""
        said = self.run(*words, "--json")
        assert said.code == 0, said
        return strict(said.out)

    def error(self, code: int, *words: object) -> dict[str, str]:
        """The error of a command that must fail with `code`, the same for people and in JSON."""
        people = self.run(*words)
        assert people.code == code, people
        assert people.out == ""
        assert people.err.startswith("benchvise: ")
        assert "Traceback" not in people.err
        said = self.run(*words, "--json")
        assert said.code == code, said
        assert said.err == ""
        error = strict(said.out)["error"]
        assert error.keys() == {"what", "where", "remedy"}
        assert error["what"] in people.err
        return error  # type: ignore[no-any-return]


def strict(text: str) -> Any:
    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


def finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
