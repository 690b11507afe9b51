"""What CONTRIBUTING.md says is true: its example files, installed as a package, are methods like any other."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from tests.app.cli.cli_runs import SAMPLE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPE = {
    "benchvise": 1,
    "seed": 3,
    "transforms": [{"method": "halve_values"}],
    "rules": [
        {
            "targets": ["linears"],
            "scheme": {"method": "ternary", "threshold": 0.5},
            "solver": {"method": "dither", "noise": 0.2},
        }
    ],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as an installer leaves it, with the example files and a broken plugin."""
    folder = tmp_path_factory.mktemp("site")
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TEXT, re.S):
        (folder / name).write_text(code, encoding="utf-8")
    (table,) = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
    entries = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", table).replace('"', "")
    _distribution(folder, "my-methods", "2.5", entries)
    _distribution(folder, "broken", "0.1", "[benchvise.solvers]\nbad = no_such_module:Bad\n")
    return folder


def _distribution(folder: Path, name: str, version: str, entries: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entries)


def run(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    command = [sys.executable, "-m", "benchvise", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_reference_names_the_package_and_what_was_skipped(site: Path) -> None:
    data = json.loads(run(site, "methods", "--json").stdout)
    packages = {
        method["method"]: method["package"]
        for axis in ("surgeries", "transforms", "schemes", "solvers", "tunings")
        for method in data[axis]
    }
    assert {key for key, package in packages.items() if package == "my-methods 2.5"} == {
        "ternary",
        "dither",
        "halve_values",
        "first_blocks",
        "tune_norms",
    }
    assert packages["integer"] is None
    (skipped,) = data["skipped"]
    assert skipped["origin"] == {"distribution": "broken", "version": "0.1"}
    said = run(site, "methods").stdout
    assert "broken 0.1, benchvise.solvers: 'bad = no_such_module:Bad' cannot be imported (ModuleNotFoundError" in said
    assert "    package: my-methods 2.5" in said


def test_a_recipe_of_all_three_is_carried_out(site: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    out = tmp_path / "out"
    options = ("--recipe", recipe, "--out", out, "--to", "dense", "--workspace", tmp_path / "workspace")
    done = run(site, "compress", SAMPLE, *options)
    assert done.returncode == 0, done.stderr
    before, after = load_file(SAMPLE / "model.safetensors"), load_file(out / "model.safetensors")
    values = "model.layers.1.self_attn.v_proj.weight"
    for row, original in zip(after[values], before[values], strict=True):
        assert len(row.abs().unique()) == 2
        assert row.abs().max() <= original.abs().max() / 2


def test_surgery_tuning_and_a_target_are_carried_out(site: Path, tmp_path: Path) -> None:
    stages = {
        "benchvise": 1,
        "surgery": [{"method": "first_blocks", "count": 2}],
        "calibration": {"windows": 16, "window_tokens": 32},
        "rules": [{"targets": ["linears"], "scheme": {"method": "integer", "bits": 3, "granularity": "channel"}}],
        "tuning": [{"method": "tune_norms", "steps": 20, "batch_windows": 2}],
    }
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "small.npz"
    recipe.write_text(yaml.safe_dump(stages))
    options = ("--recipe", recipe, "--out", out, "--to", "float_archive", "--workspace", tmp_path / "workspace")
    done = run(site, "compress", SAMPLE, *options)
    assert done.returncode == 0, done.stderr
    before, after = load_file(SAMPLE / "model.safetensors"), np.load(out)
    blocks = {int(found[1]) for name in after.files if (found := re.match(r"model\.layers\.(\d+)\.", name))}
    assert blocks == {0, 1}
    norm = "model.layers.0.input_layernorm"
    assert not np.array_equal(after[norm], before[f"{norm}.weight"].float().numpy())
    assert len(np.unique(after["model.layers.0.mlp.up_proj"][0])) <= 8


def test_the_window_loads_the_methods_without_torch(site: Path) -> None:
    code = (
        "import sys; from benchvise.core.methods.registry import SCHEMES, SOLVERS, TRANSFORMS;"
        "print('ternary' in SCHEMES, 'dither' in SOLVERS, 'halve_values' in TRANSFORMS, 'torch' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    ).stdout
    assert said.split() == ["True", "True", "True", "False"]


@pytest.mark.parametrize(("name", "path"), re.findall(r"`([A-Z_]+)` in `(core/[\w/]+)\.py`", TEXT))
def test_every_registry_is_where_the_text_says(name: str, path: str) -> None:
    assert hasattr(importlib.import_module(f"benchvise.{path.replace('/', '.')}"), name)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:core|tests)/[\w/.]*)`", TEXT))))
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


ENGINE = """
from benchvise.core.protocol import events, requests
from benchvise.core.recipe.recipe import load_recipe
from tests.core.test_engine_process import SAMPLE, Client
import sys

if __name__ == "__main__":
    client = Client()
    client.ask(requests.Compress(SAMPLE, load_recipe(sys.argv[1]), workspace=sys.argv[2]))
    print(type(client.until(lambda event: isinstance(event, events.Finished | events.Failed))).__name__)
    client.end()
"""


def test_the_engine_process_finds_the_methods_too(site: Path, tmp_path: Path) -> None:
    script, recipe = tmp_path / "ask.py", tmp_path / "recipe.yaml"
    script.write_text(ENGINE)
    recipe.write_text(yaml.safe_dump({key: RECIPE[key] for key in ("benchvise", "seed", "rules")}))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(site), str(ROOT)))}
    command = [sys.executable, str(script), str(recipe), str(tmp_path / "workspace")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "Finished", done.stderr
