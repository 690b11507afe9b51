"""Finished layers as the Jobs table and the log show them."""

from dataclasses import replace

import pytest

from benchvise.app.jobs.log_panel import LogPanel, layer_text
from benchvise.app.jobs.results_model import RESULT_COLUMNS, ResultsModel
from benchvise.core.protocol.events import Partial
from benchvise.core.protocol.results import LayerCompressed

PLAIN = LayerCompressed("model.q", "int4 g128", 20.06, 0.1, 0, 100, 50, 4.125, 1.0)
CALIBRATED = replace(PLAIN, name="model.k", output_error=0.00123, notes=("damping 0.01", "clip 0.85"))


@pytest.fixture
def log(session, qtbot):
    made = LogPanel(session)
    qtbot.addWidget(made)
    return made


def test_a_layer_in_one_line():
    assert layer_text(PLAIN) == "model.q: int4 g128, 20.1 dB"
    assert layer_text(replace(PLAIN, sqnr_db=None)) == "model.q: int4 g128, exact"
    assert layer_text(CALIBRATED) == "model.k: int4 g128, 20.1 dB, output error 0.00123, damping 0.01, clip 0.85"


def test_the_log_says_what_the_solver_did_to_each_layer_once(log, client):
    client.say(Partial(1, CALIBRATED))
    client.say(Partial(1, replace(PLAIN, resumed=True)))
    assert log.model.rowCount() == 1
    assert "model.k: int4 g128" in log.model.as_text()
    assert "damping 0.01" in log.model.as_text()


def test_the_table_shows_and_sorts_the_output_error(qtmodeltester):
    model = ResultsModel()
    model.show_results([PLAIN, CALIBRATED, replace(CALIBRATED, name="model.v", output_error=2e-5)])
    column = next(number for number, each in enumerate(RESULT_COLUMNS) if each.title == "Output error")
    assert [model.index(row, column).data() for row in range(3)] == ["—", "0.00123", "2.0·10⁻⁵"]
    model.sort(column)
    assert [model.name_at(row) for row in range(3)] == ["model.q", "model.v", "model.k"]
    qtmodeltester.check(model)
