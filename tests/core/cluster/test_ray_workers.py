"""Layers computed by other processes: the same bytes as alone, one of them killed, and refusals of what differs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.cluster.layer_task import LayerTask, job_of, solve_task
from benchvise.core.cluster.ray_workers import RayWorkers
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.job.job import compress
from benchvise.core.job.streaming import shared_fits
from benchvise.core.progress import NULL_PROGRESS, NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.recipe.plan import make_plan
from benchvise.core.weights.cut_weights import weights_of
from tests.core.job.compress_samples import MIXED, network, records, run_recipe, timeless


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network(tmp_path_factory.mktemp("cluster") / "network")


@pytest.fixture(scope="module")
def alone(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("alone")
    run_recipe(checkpoint, workspace)
    return workspace


def test_a_task_answers_with_the_record_that_one_machine_alone_writes(checkpoint: Path, alone: Path) -> None:
    plan = make_plan(open_checkpoint(checkpoint), MIXED)
    job = job_of(str(checkpoint), plan)
    shares = shared_fits(plan.treated_rows, weights_of(plan.operated), NULL_PROGRESS)
    found = {solve_task(job, LayerTask(row.layer.name, shares.get(row.layer.name))).sha256 for row in plan.treated_rows}
    assert found == set(records(alone).values())


def test_other_versions_and_other_files_are_refused(checkpoint: Path) -> None:
    plan = make_plan(open_checkpoint(checkpoint), MIXED)
    job, task = job_of(str(checkpoint), plan), LayerTask(plan.treated_rows[0].layer.name, None)
    with pytest.raises(UserError, match=r"A worker has torch .*, this machine 0\.1"):
        solve_task(replace(job, versions=(("torch", "0.1"),)), task)
    other = tuple((file, "0" * 64) for file, _ in job.fingerprints)
    with pytest.raises(CheckpointError, match="another file under this path"):
        solve_task(replace(job, fingerprints=other), task)


@contextmanager
def one_worker_killed() -> Iterator[list[int]]:
    """kill -9 of the first worker that has a task."""
    killed: list[int] = []
    over = threading.Event()

    def hunt() -> None:
        while not killed and not over.is_set():
            for process in psutil.Process().children(recursive=True):
                try:
                    if "solve_task" in " ".join(process.cmdline()):
                        process.kill()
                        killed.append(process.pid)
                        break
                except psutil.Error:
                    continue
            time.sleep(0.02)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield killed
    finally:
        over.set()
        hunter.join()


def test_the_bytes_are_those_of_one_machine_though_a_worker_dies(checkpoint: Path, alone: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "space"
    with one_worker_killed() as killed:
        run = compress(Compress(str(checkpoint), MIXED, str(workspace), cluster="auto"), NullProgress())
    assert killed
    assert records(workspace) == records(alone)
    assert timeless(run) == timeless(run_recipe(checkpoint, alone, resume=True))
    again = run_recipe(checkpoint, workspace, resume=True)
    assert all(layer.resumed for layer in again.layers)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "nowhere", "127.0.0.1:99999"])
def test_an_address_that_does_not_answer(address: str) -> None:
    with pytest.raises(UserError, match=f"no cluster answers at '{address}'"):
        RayWorkers(address, NULL_PROGRESS)
