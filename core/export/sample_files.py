"""A small program that runs an export, as a script and as a notebook: one text, two files."""

from __future__ import annotations

import json

SCRIPT, NOTEBOOK = "run.py", "run.ipynb"


def sample_files(script: str) -> dict[str, str]:
    """The script, whose first line is its docstring, and a notebook with the same code in one cell, by file name."""
    title, _, code = script.partition("\n")
    cells = [
        {"cell_type": "markdown", "id": "about", "metadata": {}, "source": [title.strip('"')]},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "run",
            "metadata": {},
            "outputs": [],
            "source": code.lstrip("\n").splitlines(keepends=True),
        },
    ]
    notebook = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    return {SCRIPT: script, NOTEBOOK: json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"}
