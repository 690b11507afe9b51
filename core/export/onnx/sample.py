"""The small program that lies beside an ONNX file of a network that generates text."""

from __future__ import annotations

SAMPLE = '''"""Continue a text with model.onnx in ONNX Runtime: python run_with_onnxruntime.py "Once upon a time" 40"""

import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
from transformers import AutoTokenizer

here = Path(__file__).parent
prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
tokenizer = AutoTokenizer.from_pretrained(here)
session = onnxruntime.InferenceSession(here / "model.onnx", providers=["CPUExecutionProvider"])
shapes = {each.name: each.shape for each in session.get_inputs()}
past = {name: np.zeros((1, shape[1], 0, shape[3]), np.float32) for name, shape in shapes.items() if "past" in name}
tokens = tokenizer(prompt)["input_ids"]
ids, at = list(tokens), 0
start = time.perf_counter()
for _ in range(count):
    given = {"input_ids": [tokens], "attention_mask": [[1] * len(ids)], "position_ids": [range(at, len(ids))]}
    feed = {name: np.array(value, np.int64) for name, value in given.items() if name in shapes}
    logits, *present = session.run(None, feed | past)
    at = len(ids) if past else 0
    ids.append(int(logits[0, -1].argmax()))
    past = dict(zip(past, present))
    tokens = ids[-1:] if past else ids
seconds = time.perf_counter() - start
print(tokenizer.decode(ids))
print(f"{count / seconds:.1f} tokens per second", file=sys.stderr)
'''
