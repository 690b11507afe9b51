"""What a workspace takes, and what of it goes: records that another run refers to stay."""

import pytest

from benchvise.app.cli.entry import main
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import UserError
from benchvise.core.memory import machine_memory
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.runtime.build import compute_device
from benchvise.core.workspace.housekeeping import clean_up, remove_runs, usage_of
from benchvise.core.workspace.workspace import Workspace
from tests.app.plain_document import SAMPLE

RECORD = 1000


def finished_layer(name):
    return LayerCompressed(name, "int4 g128", "key", 100, 25, 4.0, 20.0, 0.1, 0, 0.1)


@pytest.fixture
def workspace(tmp_path):
    """Two finished runs that share a record, one that was cancelled, and a record of nobody."""
    made = Workspace(str(tmp_path / "workspace"))
    plan = make_plan(open_checkpoint(str(SAMPLE)), load_preset("int4-g128"))
    for key in ("aa1", "bb2", "cc3", "dd4"):
        file = made.layers / key[:2] / f"{key}.safetensors"
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(RECORD))
    for keys, state in ((("aa1", "bb2"), "done"), (("bb2",), "done"), (("cc3",), "cancelled")):
        run = made.new_run(plan)
        for key in keys:
            run.append(key, finished_layer(key), "")
        run.update(state=state)
        run.leave()
    return made


def records(workspace):
    return {path.stem for path in workspace.layers.rglob("*.safetensors")}


def ids(workspace, state):
    return [run.id for run in workspace.records() if run.state == state]


def test_usage_counts_shared_records_once(workspace):
    usage = usage_of(workspace)
    assert usage.runs == 3
    assert usage.nbytes == sum(path.stat().st_size for path in workspace.path.rglob("*") if path.is_file())
    assert 2 * RECORD < usage.unfinished_bytes < 3 * RECORD + 4096
    assert usage.finished_bytes >= 2 * RECORD
    assert usage.rest_bytes >= 0


def test_a_removed_run_takes_only_its_own_records_with_it(workspace):
    first = next(run for run in workspace.records() if "aa1" in run.layer_files)
    remove_runs(workspace, [f"run:{first.id}"])
    assert records(workspace) == {"bb2", "cc3"}
    assert first.id not in [run.id for run in workspace.records()]


def test_clean_up_leaves_finished_runs_whole(workspace):
    freed = clean_up(workspace)
    assert freed > 2 * RECORD
    assert records(workspace) == {"aa1", "bb2"}
    assert len(ids(workspace, "done")) == 2
    assert usage_of(workspace).unfinished_bytes == 0


def test_nothing_goes_for_an_unknown_name_or_under_a_run(workspace):
    known = ids(workspace, "done")[0]
    with pytest.raises(UserError, match="no run"):
        remove_runs(workspace, [known, "20200101-000000-abcdef"])
    assert len(workspace.records()) == 3
    busy = workspace.new_run(make_plan(open_checkpoint(str(SAMPLE)), load_preset("int8-channel")))
    with pytest.raises(UserError, match="under way"):
        clean_up(workspace)
    busy.leave()
    assert records(workspace) == {"aa1", "bb2", "cc3", "dd4"}


def test_the_command_line_removes_and_cleans(workspace, capsys):
    gone = ids(workspace, "done")[0]
    assert main(["runs", "--workspace", str(workspace.path), "--remove", gone, "--clean"]) == 0
    assert "freed in" in capsys.readouterr().out
    assert [run.state for run in workspace.records()] == ["done"]
    assert main(["runs", "--workspace", str(workspace.path)]) == 0
    assert "unfinished" not in capsys.readouterr().out


def test_limits_of_the_machine_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("BENCHVISE_MEMORY_GB", "0.5")
    assert machine_memory() == (500_000_000, 500_000_000)
    monkeypatch.setenv("BENCHVISE_MEMORY_GB", "0.0")
    assert machine_memory()[1] > 500_000_000
    monkeypatch.setenv("BENCHVISE_DEVICE", "cpu")
    assert compute_device().type == "cpu"
