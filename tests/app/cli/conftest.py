from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.cli.cli_runs import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("BENCHVISE_WORKSPACE", str(tmp_path / "workspace"))
    return Shell(capsys)
