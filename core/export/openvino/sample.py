"""The small program that lies beside an OpenVINO file of a network that generates text."""

from __future__ import annotations

SAMPLE = '''"""Continue a text with OpenVINO: python run_with_openvino.py "Once upon a time" 40"""

import sys
import time
from pathlib import Path

import numpy as np
import openvino
from transformers import AutoTokenizer

here = Path(__file__).parent
prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
tokenizer = AutoTokenizer.from_pretrained(here)
model = openvino.Core().compile_model(here / "openvino_model.xml", "CPU")
shapes = {each.any_name: each.partial_shape for each in model.inputs}
lengths = {name: (shape[1].get_length(), shape[3].get_length()) for name, shape in shapes.items() if "past" in name}
past = {name: np.zeros((1, heads, 0, width), np.float32) for name, (heads, width) in lengths.items()}
tokens = tokenizer(prompt)["input_ids"]
ids, at = list(tokens), 0
start = time.perf_counter()
for _ in range(count):
    given = {"input_ids": [tokens], "attention_mask": [[1] * len(ids)], "position_ids": [range(at, len(ids))]}
    feed = {name: np.array(value, np.int64) for name, value in given.items() if name in shapes}
    logits, *present = model(feed | past).to_tuple()
    at = len(ids) if past else 0
    ids.append(int(logits[0, -1].argmax()))
    past = {name: np.array(value) for name, value in zip(past, present)}
    tokens = ids[-1:] if past else ids
seconds = time.perf_counter() - start
print(tokenizer.decode(ids))
print(f"{count / seconds:.1f} tokens per second", file=sys.stderr)
'''
