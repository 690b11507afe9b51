"""MLX is the oracle: it decodes what was written to the run's values, and mlx-lm computes the run's logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchvise.core.errors import OutputError
from benchvise.core.export.layouts.mlx_blocks import decoded
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.methods.integer import Integer
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SIZES, export_run, integer_recipe, make_run, save_model

mx = pytest.importorskip("mlx.core")
pytest.importorskip("mlx_lm")
WIDTHS = {"q_proj": 2, "k_proj": 3, "v_proj": 5, "o_proj": 6, "gate_proj": 8, "up_proj": 4}
RULES = [(f"*.{name}", Integer(bits, symmetric=bits == 8, group_size=32)) for name, bits in WIDTHS.items()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("mlx")
    checkpoint = save_model(folder / "model", "Llama", torch.float16, **SIZES | {"num_hidden_layers": 1})
    rules = (*RULES, ("*.down_proj", Integer(4, granularity="channel")))
    run = make_run(checkpoint, integer_recipe(*rules), folder / "work")
    exported = export_run(run, folder / "out", folder / "work", "mlx")
    return {"run": run, "work": folder / "work", "out": folder / "out", "exported": exported}


@pytest.mark.parametrize("name", WIDTHS)
def test_mlx_decodes_the_runs_values(finished: dict[str, Any], name: str) -> None:
    weights = open_weights(f"run:{finished['run']}", str(finished["work"]))
    layer = next(layer for layer in weights.checkpoint.layers if layer.name.endswith(name))
    stored = mx.load(str(finished["out"] / "model.safetensors"))
    parts = {part: stored[f"{layer.name}.{part}"] for part in ("weight", "scales", "biases")}
    bits = WIDTHS[name]
    found = np.array(mx.dequantize(*parts.values(), group_size=32, bits=bits).astype(mx.float32))
    expected = weights.dense(layer).float().numpy()
    step = np.repeat(np.array(parts["scales"].astype(mx.float32)), 32, axis=1)
    rounding = step * 2.0 ** (bits - 10)  # of the bias and of MLX's own products, both up to 2 ** bits steps in float16
    assert (np.abs(found - expected) <= rounding).all()
    tensors = {part: torch.from_numpy(np.array(values)) for part, values in parts.items()}
    ours = decoded(PackedLayout("mlx affine", bits, False, "group", 32), tensors, layer.matrix_shape[1])
    np.testing.assert_allclose(ours.half().float().numpy(), found, rtol=2e-3, atol=1e-4)


def test_the_config_says_each_layers_settings_and_mlx_lm_computes_the_same(finished: dict[str, Any]) -> None:
    config = json.loads((finished["out"] / "config.json").read_text())["quantization"]
    named = {key.rpartition(".")[2]: value["bits"] for key, value in config.items() if isinstance(value, dict)}
    assert WIDTHS.items() >= named.items()
    assert {config["bits"], *named.values()} == set(WIDTHS.values())
    assert "mlx-lm computes the same: mean KL" in finished["exported"].verified
    said = " ".join(sentences(finished["exported"].warnings))
    assert "a bias in float16 for each zero point" in said
    assert "groups of 32, 64, 128" in said


def test_what_no_layer_fits_is_refused_with_the_reason(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.float16, **SIZES | {"num_hidden_layers": 1})
    run = make_run(checkpoint, integer_recipe(("linears", Integer(4, granularity="channel"))), tmp_path / "work")
    with pytest.raises(OutputError, match="MLX takes groups of 32, 64, 128"):
        export_run(run, tmp_path / "out", tmp_path / "work", "mlx")
