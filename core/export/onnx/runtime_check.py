"""A written ONNX file run by ONNX Runtime: its outputs held against torch's, and whether its fast path may be taken."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.onnx.files import NAME
from benchvise.core.export.onnx.layers import NBITS, QDQ
from benchvise.core.export.onnx.network import graph_of, load_network
from benchvise.core.progress import Progress
from benchvise.core.runtime.tokenizer import load_tokenizer
from benchvise.core.weights.weights import Weights

MAX_FLIPS = 0.005
"""Share of top tokens that may change by accuracy level 4, which rounds inputs to 8 bits."""
MAX_KL = 1e-4
"""Nats per token above which the file computes something else; codes and scales are the same, only sums differ."""
_KEY = "accuracy_level_4"
_WINDOWS, _TOKENS, _MAX_TEXT = 4, 64, 1 << 14

Feed = dict[str, NDArray[Any]]


def is_installed() -> bool:
    return find_spec("onnxruntime") is not None


def choose_accuracy_level(folder: Path, plan: ExportPlan, weights: Weights) -> None:
    """Take the fast path of MatMulNBits where it changes few top tokens, and write into the file what was measured.

    Without ONNX Runtime, and for networks without tokens, the exact path stays.
    """
    import onnx

    if not is_installed() or not any(layout.format == NBITS for _, layout in plan.packed()):
        return
    graph = onnx.load(str(folder / NAME), load_external_data=False)
    if graph.graph.output[0].name != "logits" or graph.graph.input[0].name != "input_ids":
        return
    feed = given_to(weights, [each.name for each in graph.graph.input], _cache_shapes(graph))
    exact = _run(folder, feed).argmax(-1)
    _set_level(graph, 4)
    trial = folder / f"trial-{NAME}"
    onnx.save(graph, str(trial))
    fast = _run(folder, feed, trial.name).argmax(-1)
    trial.unlink()
    flips = float((exact != fast).mean())
    taken = flips <= MAX_FLIPS
    _set_level(graph, 4 if taken else 0)
    word = "taken" if taken else "refused"
    graph.metadata_props.add(key=_KEY, value=f"{word}: it changes {100 * flips:.2f} % of {exact.size} top tokens")
    onnx.save(graph, str(folder / NAME))


def checked_by_onnxruntime(folder: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:
    """What was found, as a phrase; "" where ONNX Runtime is not installed.

    Raises RuntimeError where it computes something else, CheckpointError where it does not load the file.
    """
    if not is_installed():
        return ""
    import onnx
    import onnxruntime

    graph = onnx.load(str(folder / NAME), load_external_data=False)
    names = [each.name for each in graph.graph.input]
    feed = given_to(weights, names, _cache_shapes(graph))
    progress.check_cancelled()
    known = {each.key: each.value for each in graph.metadata_props}
    exact = not known.get(_KEY, "").startswith("taken") and not any(each.format == QDQ for _, each in plan.packed())
    theirs, ours = torch.from_numpy(_run(folder, feed)), computed_here(weights, feed)
    title = f"ONNX Runtime {onnxruntime.__version__}"
    distance, words = distance_of(theirs, ours, graph.graph.output[0].name == "logits")
    found = f"{title} computes the same: {words}"
    if exact and not distance <= MAX_KL:
        raise RuntimeError(f"{title} computes something else: {distance:.3g}")
    if not exact:
        found = found.replace("computes the same", "computes, with inputs in 8 bits")
    return f"{found}; accuracy level 4 {known[_KEY]}" if _KEY in known else found


def distance_of(theirs: torch.Tensor, ours: torch.Tensor, logits: bool) -> tuple[float, str]:
    """How far float outputs [..., values] are apart, also in words: mean KL of logits, else relative square error."""
    theirs, ours = theirs.double(), ours.double()
    if logits:
        log, other = ours.log_softmax(-1), theirs.log_softmax(-1)
        distance = float((log.exp() * (log - other)).sum(-1).mean())
        return distance, f"mean KL {distance:.1e} over {ours[..., 0].numel()} outputs"
    distance = float((theirs - ours).pow(2).sum() / ours.pow(2).sum())
    return distance, f"relative square error {distance:.1e}"


def _run(folder: Path, feed: Feed, name: str = NAME) -> NDArray[np.float32]:
    """The first output of the file in `folder`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
        names = {each.name for each in session.get_inputs()}
        given = {key: value for key, value in feed.items() if key in names}
        found: NDArray[np.float32] = session.run([session.get_outputs()[0].name], given)[0]
    except Exception as error:
        raise CheckpointError(f"ONNX Runtime does not load what was written: {str(error).strip()[:300]}") from error
    return found


def given_to(weights: Weights, names: list[str], caches: dict[str, tuple[int, int]]) -> Feed:
    """Inputs by their names: text, or pictures where the first input takes no tokens.

    caches: heads and their width of every input that holds keys or values.
    """
    if names[0] != "input_ids":
        return _pictures(weights)
    ids = _ids(weights).numpy()
    feed: Feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    if "token_type_ids" in names:
        feed["token_type_ids"] = np.zeros_like(ids)
    if "position_ids" in names:
        feed["position_ids"] = np.tile(np.arange(ids.shape[1]), (len(ids), 1))
    for name, (heads, width) in caches.items():
        feed[name] = np.zeros((len(ids), heads, 0, width), np.float32)
    return feed


def _cache_shapes(graph: Any) -> dict[str, tuple[int, int]]:
    """Heads and their width of every input that holds keys or values."""
    found = {}
    for each in graph.graph.input:
        if each.name.startswith("past_key_values."):
            sizes = [size.dim_value for size in each.type.tensor_type.shape.dim]
            found[each.name] = (sizes[1], sizes[3])
    return found


def _ids(weights: Weights) -> torch.Tensor:
    """Token ids int64 [windows, tokens]: of the shipped text where there is a tokenizer, any others otherwise."""
    limit = weights.checkpoint.config.get("max_position_embeddings")
    tokens = min(_TOKENS, limit) if isinstance(limit, int) else _TOKENS
    text = (files("benchvise.resources") / "sample" / "evaluation.txt").read_text(encoding="utf-8")
    try:
        ids = load_tokenizer(weights.checkpoint)(text[:_MAX_TEXT], verbose=False)["input_ids"]
        return torch.tensor(ids[: _WINDOWS * tokens], dtype=torch.int64).view(_WINDOWS, tokens)
    except (UserError, ValueError, RuntimeError, KeyError):
        size = weights.checkpoint.config.get("vocab_size")
        count = size if isinstance(size, int) else 100
        return torch.randint(0, count, (_WINDOWS, tokens), generator=torch.Generator().manual_seed(0))


def _pictures(weights: Weights) -> Feed:
    given = graph_of(load_network(weights)).arguments[0]
    return {"pixel_values": torch.rand(given.shape, generator=torch.Generator().manual_seed(0)).numpy()}


def computed_here(weights: Weights, feed: Feed) -> torch.Tensor:
    """The network's first output [..., values] by torch, float32."""
    return computed_by(load_network(weights), feed)


@torch.no_grad()
def computed_by(model: nn.Module, feed: Feed) -> torch.Tensor:
    """As `computed_here`, of a network that is loaded; a float32 tensor [..., values]."""
    known = ("input_ids", "attention_mask", "token_type_ids", "pixel_values")
    given = {name: torch.from_numpy(feed[name]) for name in known if name in feed}
    found: torch.Tensor = model(**given, return_dict=False)[0]
    return found


def _set_level(graph: Any, level: int) -> None:
    for node in graph.graph.node:
        if node.op_type == NBITS:
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = level
