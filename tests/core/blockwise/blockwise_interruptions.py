"""Calibrated jobs that are killed: `python blockwise_interruptions.py CHECKPOINT FOLDER` prints the outcomes as JSON.

Run as a program of its own, which loads torch once and forks for every death, before any thread of torch has started.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers.conversion_mapping
import transformers.models.llama.modeling_llama
import transformers.tokenization_utils_tokenizers  # noqa: F401 - loaded once, before the forks

from benchvise.core.blockwise.state import PREFIX
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.methods.sparse import Sparse
from benchvise.core.methods.whitened_svd import WhitenedSvd
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.workspace.workspace import Workspace
from tests.core.blockwise.calibrated_models import recipe
from tests.core.job.compress_samples import Watcher, run_recipe, timeless
from tests.core.job.interruptions import Sabotage, die, dies_at_call, dies_before_journal, forked

MAX_DEATHS = 6


def asked() -> Recipe:
    """Both streams are alive, layers before and behind the blocks are treated, some become factors or lose weights."""
    solver = ErrorFeedback(clip_search=False, passes=1)
    asked = recipe(solver, ("linears", "embeddings", "re:lm_head"))
    factored = Rule(("re:.*(o|down)_proj",), Treatment(LowRank(share=0.6), WhitenedSvd()))
    two_of_four = Sparse(criterion="n_of_m", storage_form="indices", values="integer", group_size=8)
    return replace(asked, rules=(*asked.rules, factored, Rule(("role:mlp.up",), Treatment(two_of_four, solver))))


def dies_before_state(count: int) -> Sabotage:
    """The state of that many blocks is written, but not yet there."""

    def sabotage() -> Watcher:
        left, replace = [count], Path.replace

        def replaced(self: Path, target: Path) -> Path:
            left[0] -= target.name.startswith(PREFIX)
            if not left[0]:
                die()
            return replace(self, target)

        Path.replace = replaced  # type: ignore[method-assign]
        return Watcher()

    return sabotage


def run(checkpoint: Path, workspace: Path, progress: Watcher, answer: Path, *, resume: bool) -> None:
    torch.set_num_threads(1)
    run = run_recipe(checkpoint, workspace, asked(), resume=resume, progress=progress)
    found = {
        "run": asdict(timeless(run)),
        "calls": progress.calls,
        "resumed": [layer.name for layer in progress.results if layer.resumed],
        "computed": [layer.name for layer in progress.results if not layer.resumed],
        "advanced": [progress.done, progress.total],
    }
    answer.write_text(json.dumps(found))


def interrupted(checkpoint: Path, workspace: Path, sabotage: Sabotage) -> dict[str, object]:
    """Let the job die, then resume it; what both left behind."""
    answer = workspace.with_suffix(".json")
    died = forked(lambda: run(checkpoint, workspace, sabotage(), answer, resume=False))
    told = [
        entry.result.name
        for record in Workspace(str(workspace)).runs()
        for entry in Workspace(str(workspace)).run(record.run).journal()
    ]
    kept = len(list(workspace.glob(f"runs/*/{PREFIX}*")))
    resumed = forked(lambda: run(checkpoint, workspace, Watcher(), answer, resume=True))
    return {"died": died, "told": told, "states": kept, "exit": resumed, **json.loads(answer.read_text())}


def main(checkpoint: Path, folder: Path) -> None:
    undisturbed = folder / "undisturbed"
    assert forked(lambda: run(checkpoint, undisturbed, Watcher(), undisturbed.with_suffix(".json"), resume=False)) == 0
    found = {"undisturbed": json.loads(undisturbed.with_suffix(".json").read_text())}
    calls = found["undisturbed"]["calls"]
    deaths: dict[str, Sabotage] = {
        f"call {k}": dies_at_call(k) for k in range(3, calls + 1, max(1, calls // MAX_DEATHS))
    }
    deaths |= {"last call": dies_at_call(calls), "journal": dies_before_journal}
    deaths |= {f"state {count}": dies_before_state(count) for count in (1, 2, 4)}
    for name, sabotage in deaths.items():
        found[name] = interrupted(checkpoint, folder / name, sabotage)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
