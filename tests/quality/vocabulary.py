"""Words that the glossary replaced, and where they are still found.

Run by hand for a list: `python -m tests.quality.vocabulary [PLACE …]`, for example `core/solvers`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

REPLACED = {
    "KL increase, sensitivity": r"damages?(?!d)",
    "estimated": r"foret(?:old|ell\w*)",
    "cost model, estimate, preview": r"fore(?:see\w*|sight)",
    "micro-benchmark, block benchmark, random copy": r"rehears\w*",
    "sensitivity context": r"laborator\w+",
    "plan warning": r"departures?",
    "fix": r"mend(?:s|ed|ing)?",
    "session": r"bench(?=\b|_)(?![-_]?mark)",
    "other machine, converters": r"foreign\w*",
    "default, reference": r"usual(?:ly)?",
    "similar, fused": r"alike",
    "pre-flight check": r"check before flight",
    "resume": r"go(?:es)? on from|Go on\b",
    "unobservable, observed": r"unwatch\w+|watch(?:ing|ed|es)?",
}
"""By what to say instead. Words inside identifiers count, whole words or parts between underscores."""

SKIPPED = {"tests/quality/vocabulary.py", "tests/quality/test_vocabulary.py"}
PLACES = ("app", "core", "resources/presets", "tests", "README.md", "BENCHMARKS.md", "CONTRIBUTING.md")


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?<![a-zA-Z])|(?<=_))(?:{words})(?![a-zA-Z])", re.IGNORECASE)


PATTERNS = {instead: _pattern(words) for instead, words in REPLACED.items()}


def texts() -> Iterator[tuple[str, str]]:
    """(path, text) of everything that people read."""
    for place in PLACES:
        root = ROOT / place
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in (".py", ".md", ".yaml") and name not in SKIPPED:
                yield name, path.read_text("utf-8")


def found() -> Iterator[tuple[str, int, str, str]]:
    """(path, line, the word, what to say instead)."""
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            for instead, pattern in PATTERNS.items():
                yield from ((path, number, match[0], instead) for match in pattern.finditer(line))


if __name__ == "__main__":
    wanted = tuple(sys.argv[1:])
    listed = [each for each in found() if not wanted or each[0].startswith(wanted)]
    for path, number, word, instead in listed:
        print(f"{path}:{number}: {word} → {instead}")
    print(f"{len(listed)} old words")
