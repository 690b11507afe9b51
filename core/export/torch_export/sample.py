"""The small program that lies beside an exported program of a network that generates text."""

from __future__ import annotations

SAMPLE = '''"""Continue a text with model.pt2 in torch: python run_with_torch.py "Once upon a time" 40"""

import sys
import time
from pathlib import Path

import torch
from transformers import AutoConfig, AutoTokenizer

here = Path(__file__).parent
prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
count = int(sys.argv[2]) if len(sys.argv) > 2 else 40
tokenizer, config = AutoTokenizer.from_pretrained(here), AutoConfig.from_pretrained(here)
model = torch.export.load(here / "model.pt2").module()
heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
past = [(torch.zeros(1, heads, 0, width),) * 2 for _ in range(config.num_hidden_layers)]
tokens = tokenizer(prompt)["input_ids"]
ids, at = list(tokens), 0
start = time.perf_counter()
with torch.no_grad():
    for _ in range(count):
        given = (torch.tensor([tokens]), torch.ones((1, len(ids)), dtype=torch.int64), torch.arange(at, len(ids))[None])
        logits, past = model(*given, list(past))
        at = len(ids)
        ids.append(int(logits[0, -1].argmax()))
        tokens = ids[-1:]
seconds = time.perf_counter() - start
print(tokenizer.decode(ids))
print(f"{count / seconds:.1f} tokens per second", file=sys.stderr)
'''
