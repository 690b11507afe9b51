"""`import benchvise`: the same requests as the command line's, from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import benchvise
from benchvise.app.cli import main
from benchvise.core.errors import RecipeError

SAMPLE = Path(__file__).parents[1] / "resources" / "sample"
RECIPE = {
    "benchvise": 1,
    "rules": [{"targets": ["role:mlp.*"], "scheme": {"method": "integer", "bits": 8, "granularity": "channel"}}],
}


def test_the_whole_way_with_the_bytes_of_the_command_line(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    checkpoint = benchvise.open(SAMPLE)
    planned = benchvise.plan(SAMPLE, "int4-g128")
    run = benchvise.compress(SAMPLE, "int4-g128", out=tmp_path / "ours", to="dense", workspace=workspace)
    assert len(planned.choice) == len(checkpoint.layers)
    assert run.bytes_after == planned.total_after
    arguments = ["compress", str(SAMPLE), "--preset", "int4-g128", "--to", "dense", "--out", str(tmp_path / "theirs")]
    assert main([*arguments, "--workspace", str(tmp_path / "other")]) == 0
    ours, theirs = ((tmp_path / each / "model.safetensors").read_bytes() for each in ("ours", "theirs"))
    assert ours == theirs
    exported = benchvise.export(f"run:{run.run}", tmp_path / "again", to="dense", workspace=workspace)
    assert Path(exported.out, "model.safetensors").read_bytes() == ours


def test_a_recipe_may_be_a_mapping_or_a_file(tmp_path: Path) -> None:
    planned = benchvise.plan(SAMPLE, RECIPE)
    assert planned.treated_layers == 15
    file = tmp_path / "recipe.yaml"
    file.write_text(
        "benchvise: 1\nrules:\n- targets: ['role:mlp.*']\n  scheme: {method: integer, bits: 8, granularity: channel}\n"
    )
    assert benchvise.plan(SAMPLE, file).total_after == planned.total_after


def test_a_compressed_model_is_compared_with_its_original(tmp_path: Path) -> None:
    run = benchvise.compress(SAMPLE, RECIPE, workspace=tmp_path)
    found = benchvise.evaluate(f"run:{run.run}", against=SAMPLE, workspace=tmp_path)
    assert found.kl_mean is not None
    assert 0 < found.kl_mean < 0.01


def test_what_is_wrong_with_a_recipe_is_said() -> None:
    with pytest.raises(RecipeError, match="There is no preset 'int4-g12'"):
        benchvise.plan(SAMPLE, "int4-g12")
    with pytest.raises(RecipeError, match="rulez"):
        benchvise.plan(SAMPLE, {"benchvise": 1, "rulez": []})


def test_importing_it_imports_neither_torch_nor_qt() -> None:
    program = "import sys, benchvise; benchvise.open(sys.argv[1]); print({'torch', 'PySide6'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program, SAMPLE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
