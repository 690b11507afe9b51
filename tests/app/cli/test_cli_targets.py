"""A registered export target is there on the command line and in the window by itself."""

import json

import pytest

from benchvise.app.cli.options import add_target
from benchvise.app.compare.export_dialog import ExportDialog
from benchvise.app.preflight.dialog import PreflightDialog
from benchvise.core.export.targets.registry import AUTO, TARGETS
from tests.app.cli.cli_runs import SAMPLE
from tests.core.export.npz_target import NeedsPackage, Npz, registered


@pytest.fixture(autouse=True)
def third_target():
    with registered(Npz, NeedsPackage):
        yield


def choices(combo):
    return [combo.itemData(row) for row in range(combo.count())]


def test_the_command_line_offers_it(shell, tmp_path):
    from argparse import ArgumentParser

    parser = ArgumentParser()
    add_target(parser, default=AUTO)
    assert parser.parse_args(["--to", "npz"]).to == "npz"
    assert "npz" in parser.format_help()
    planned = shell.json("plan", SAMPLE, "--preset", "int4-g128", "--to", "npz")
    assert planned["export"]["target"] == "npz"
    asked = shell.json("check", "int4-g128", SAMPLE, "--out", tmp_path / "model.npz")
    assert any("as npz" in finding["detail"] for finding in asked["findings"])


def test_compress_writes_its_file(shell, tmp_path):
    out = tmp_path / "model.npz"
    answer = shell.json("compress", SAMPLE, "--preset", "int8-channel", "--out", out, "--dense")
    assert (answer["target"], answer["out"]) == ("npz", str(out))
    assert out.read_bytes()[:2] == b"PK"
    assert json.loads((tmp_path / "model.npz-dense" / "config.json").read_text())["model_type"] == "llama"


def test_the_dialogs_offer_it(qtbot, tmp_path):
    dialog = ExportDialog(None, str(tmp_path))
    qtbot.addWidget(dialog)
    assert choices(dialog._combo) == list(TARGETS)
    ok = dialog._buttons.button(dialog._buttons.StandardButton.Ok)
    dialog._combo.setCurrentIndex(dialog._combo.findData("npz"))
    assert dialog.folder == str(tmp_path / "export.npz")
    assert dialog._place.text() == "File"
    assert "NumPy" in dialog._help.text()
    assert ok.isEnabled()
    dialog._folder.setText(str(tmp_path / "export.txt"))
    assert not ok.isEnabled()
    dialog._combo.setCurrentIndex(dialog._combo.findData("dense"))
    dialog._combo.setCurrentIndex(dialog._combo.findData("needs_package"))
    assert not ok.isEnabled()
    assert "benchvise_no_such_package" in dialog._problem.text()
    preflight = PreflightDialog("", AUTO)
    qtbot.addWidget(preflight)
    assert choices(preflight.target) == [AUTO, *TARGETS]
