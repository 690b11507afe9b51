"""Public docstrings give shapes and dtypes of tensors, and say what is raised."""

from __future__ import annotations

from tests.quality.docstrings import gaps


def test_public_docstrings_say_shapes_dtypes_and_errors() -> None:
    found = [str(gap) for gap in gaps()]
    assert not found, "\n".join(found)
