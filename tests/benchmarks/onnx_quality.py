"""What an ONNX export loses against its original, as ONNX Runtime computes it, on both paths of MatMulNBits.

python tests/benchmarks/onnx_quality.py MODEL ONNX_FOLDER TEXT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.evaluate.text import text_windows
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.weights import OriginalWeights

WINDOWS, TOKENS, BATCH = 48, 256, 8


def feed_of(session: onnxruntime.InferenceSession, ids: np.ndarray) -> dict[str, np.ndarray]:
    positions = np.tile(np.arange(ids.shape[1]), (len(ids), 1))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": positions}
    for each in session.get_inputs():
        if each.name.startswith("past"):
            feed[each.name] = np.zeros((len(ids), each.shape[1], 0, each.shape[3]), np.float32)
    return feed


def session_of(folder: Path, level: int) -> onnxruntime.InferenceSession:
    graph = onnx.load(folder / "model.onnx")
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = level
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def main(model: str, folder: str, text: str) -> None:
    checkpoint = open_checkpoint(Path(model))
    batches = text_windows(checkpoint, text, WINDOWS, TOKENS).ids.split(BATCH)
    network = load_model(OriginalWeights(checkpoint), device=torch.device("cpu"))
    for level in (0, 4):
        session, kl, same = session_of(Path(folder), level), [], []
        for ids in batches:
            with torch.no_grad():
                ours = network(ids, use_cache=False).logits.log_softmax(-1)
            theirs = torch.from_numpy(session.run(["logits"], feed_of(session, ids.numpy()))[0]).log_softmax(-1)
            kl.append((ours.exp() * (ours - theirs)).sum(-1))
            same.append(ours.argmax(-1) == theirs.argmax(-1))
        print(f"level {level}: KL {torch.cat(kl).mean():.5f}, top-1 {torch.cat(same).float().mean():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:4])
