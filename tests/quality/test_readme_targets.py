"""The README's tables of what is opened and what is written are the registries'."""

from __future__ import annotations

from pathlib import Path

from benchvise.core.checkpoint.formats.registry import READERS
from benchvise.core.export.targets.registry import targets

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- targets -->\n", "<!-- /targets -->"
OPENED = "Opened by their content, whatever they are called:\n\n| kind | what it is | needs |\n|---|---|---|\n"


def table() -> str:
    rows = (
        f"| `{each.key}` | {each.summary} | {each.loaded_by} | {each.verified_with or 'its own bytes alone'} |"
        for each in targets()
    )
    kinds = (
        f"| `{kind}` | {each.holds} | {f'`benchvise[{each.package}]`' if each.package else '—'} |\n"
        for kind, each in READERS.items()
    )
    opened = OPENED + "".join(kinds)
    heads = ("| target | what is written | loaded by | verified with |", "|---|---|---|---|")
    return opened + "\n" + "\n".join((*heads, *rows)) + "\n"


def test_the_table_is_the_registry() -> None:
    """`python -m tests.quality.test_readme_targets` writes it."""
    assert README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] == table()


if __name__ == "__main__":
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    README.write_text(f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}", encoding="utf-8")
