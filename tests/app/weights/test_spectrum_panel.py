"""The spectrum panel against what the core really answers."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchvise.app.weights.spectrum_panel import SpectrumPanel
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.results import LookedSpectrum, SameInBits
from tests.app.plain_document import SAMPLE

DOWN = "layers.0.mlp.down_proj"


def values_of(panel):
    return {chip.name: chip.value for chip in panel.header.chips}


@pytest.fixture
def panel(qtbot, shown, plots_document, plots_client):
    panel = shown(SpectrumPanel)
    assert panel.empty.heading == "Select a layer"
    plots_document.select_named(DOWN)
    qtbot.waitUntil(lambda: bool(plots_client.asked))
    return panel


def test_a_dragged_rank_says_what_it_keeps_and_weighs(panel, plots_document, plots_client):
    plots_client.answer_all()
    panel.plot.redraw_now()
    weight = load_file(SAMPLE / "model.safetensors")[f"model.{DOWN}.weight"]
    squares = np.square(np.linalg.svd(weight, compute_uv=False))
    assert values_of(panel)["Rank"] == "46"  # 90 % of the energy
    line = panel.plot.lines[1]
    line.setValue(20.3)
    line.sigDragged.emit(line)
    told = values_of(panel)
    assert told["Energy"] == f"{squares[:20].sum() / squares.sum():.1%}"
    assert told["Size"] == "18.9 kB"  # 20 · (64 + 172) · 4 bytes
    assert "KL" not in told
    assert panel.spin.value() == 20
    panel.plot.redraw_now()
    assert panel.plot.lines[0].value() == 20
    panel.use_button.click()
    ((indices, (treatment,)),) = plots_document.treated
    assert (indices, treatment.tag) == (plots_document.selection, "rank 20 whitened")


def test_a_rank_that_does_not_pay_cannot_be_used(panel, plots_client):
    plots_client.answer_all()
    panel.spin.setValue(47)
    assert values_of(panel)["Does not pay"] == "> 46"
    assert not panel.use_button.isEnabled()
    assert "rank 47 of 64" in panel.plot.summary()


def test_estimates_are_asked_for_and_stand_beside_bits(qtbot, panel, plots_client):
    plots_client.answer_all()
    panel.estimate.setChecked(True)
    qtbot.waitUntil(lambda: len(plots_client.asked) == 2)
    assert plots_client.asked[1].estimate
    bits = (SameInBits("int2", 3000, 0.5), SameInBits("int4", 9000, 0.02))
    looked = LookedSpectrum(
        f"model.{DOWN}", (64, 172), 44032, 944, 46, np.arange(64, 0, -1.0), np.linspace(1, 0, 65), bits
    )
    plots_client.answer(2, looked)
    panel.spin.setValue(8)
    assert values_of(panel)["KL"] == "+ ≈ 0.8750"
    assert values_of(panel)["Same bytes in bits"] == "int2: + ≈ 0.5000"
    panel.spin.setValue(2)
    assert "Same bytes in bits" not in values_of(panel)


def test_tells_failures(panel, plots_client):
    plots_client.answer(1, Failed(1, "The file is gone", "", "Open it again."))
    assert "The file is gone. Open it again." in panel.empty.text
