"""Jobs that are killed: `python interruptions.py CHECKPOINT FOLDER` prints what became of each as JSON.

Run as a program of its own, which loads torch once and forks for every death, before any thread of torch has started.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchvise.core.workspace import journal
from benchvise.core.workspace.workspace import Workspace
from tests.core.job.compress_samples import Watcher, run_recipe, small_blocks, timeless

Sabotage = Callable[[], Watcher]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at_call(count: int) -> Sabotage:
    """While a block is read, after a block was written, or as a layer is told: wherever the count falls."""
    return lambda: Watcher(count, die)


def dies_before_rename() -> Watcher:
    """The third record is whole, but not yet there."""
    left, replace = [3], Path.replace

    def replaced(self: Path, target: Path) -> Path:
        left[0] -= target.suffix == ".safetensors"
        if not left[0]:
            die()
        return replace(self, target)

    Path.replace = replaced  # type: ignore[method-assign]
    return Watcher()


def dies_before_journal() -> Watcher:
    """The third record is there, but not yet in the journal."""
    return _dies_in_journal(b"")


def dies_within_journal() -> Watcher:
    """The third line of the journal is cut short, within a letter of two bytes."""
    return _dies_in_journal('{"key": "ä'.encode()[:-1])


def _dies_in_journal(half: bytes) -> Watcher:
    left, append = [3], journal.append

    def appended(path: Path, entry: journal.JournalEntry) -> None:
        left[0] -= 1
        if not left[0]:
            with path.open("ab") as file:
                file.write(half)
            die()
        append(path, entry)

    journal.append = appended
    return Watcher()


def forked(task: Callable[[], None]) -> int:
    """The exit status of a child that does the task: 0, or minus the signal that ended it."""
    child = os.fork()
    if not child:
        try:
            small_blocks(pytest.MonkeyPatch())
            task()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def interrupted(checkpoint: Path, workspace: Path, sabotage: Sabotage) -> dict[str, object]:
    """Let the job die, then resume it; what both left behind."""
    died = forked(lambda: _run(checkpoint, workspace, sabotage(), None, resume=False))
    summaries = Workspace(str(workspace)).runs()
    told = [entry.result.name for record in summaries for entry in Workspace(str(workspace)).run(record.run).journal()]
    partial = [path.name for path in workspace.rglob("*.partial")]
    answer = workspace / "resumed.json"
    resumed = forked(lambda: _run(checkpoint, workspace, Watcher(), answer, resume=True))
    found = json.loads(answer.read_text())
    answer.unlink()
    return {
        "died": died,
        "states": [run.state for run in summaries],
        "told": told,
        "partial": partial,
        "exit": resumed,
        **found,
    }


def _run(checkpoint: Path, workspace: Path, progress: Watcher, answer: Path | None, *, resume: bool) -> None:
    run = run_recipe(checkpoint, workspace, resume=resume, progress=progress)
    if answer is not None:
        found = {
            "run": asdict(timeless(run)),
            "resumed": [layer.name for layer in progress.results if layer.resumed],
            "computed": [layer.name for layer in progress.results if not layer.resumed],
            "advanced": [progress.done, progress.total],
        }
        answer.write_text(json.dumps(found))


def main(checkpoint: Path, folder: Path) -> None:
    found: dict[str, object] = {}
    for threads in (1, 2):

        def undisturbed(threads: int = threads) -> None:
            torch.set_num_threads(threads)
            answer = folder / f"undisturbed {threads}.json"
            progress = Watcher()
            run = run_recipe(checkpoint, folder / f"undisturbed {threads}", progress=progress)
            answer.write_text(json.dumps({"run": asdict(timeless(run)), "calls": progress.calls}))

        assert forked(undisturbed) == 0
        found[f"undisturbed {threads}"] = json.loads((folder / f"undisturbed {threads}.json").read_text())
    calls = found["undisturbed 1"]["calls"]  # type: ignore[index]
    deaths: dict[str, Sabotage] = {f"call {k}": dies_at_call(k) for k in sorted({1, 2, 3, *range(5, calls, 13), calls})}
    deaths |= {"rename": dies_before_rename, "journal": dies_before_journal, "line": dies_within_journal}
    for name, sabotage in deaths.items():
        found[name] = interrupted(checkpoint, folder / name, sabotage)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
