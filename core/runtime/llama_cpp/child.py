"""The process in which llama.cpp runs: one question on standard input, the answer on standard output.

    python -m benchvise.core.runtime.llama_cpp.child

The answer is one line of JSON, and after it the numbers as float32, sequence by sequence.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchvise.core.runtime.llama_cpp.library import LlamaError, Model


def main() -> None:
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the library prints is not part of the answer
    asked = json.loads(sys.stdin.readline())
    sequences = [np.asarray(each, np.int64) for each in asked.get("sequences", ())]
    longest = max((len(each) for each in sequences), default=0)
    try:
        model = Model(Path(asked["path"]), longest, asked["threads"], embeds=asked["embeds"])
        told: dict[str, Any] = {"vocabulary": model.vocabulary_size, "reads_text": model.reads_text}
        if model.reads_text:
            told["tokens"] = [model.tokens(text) for text in asked.get("texts", ())]
        answer.write(json.dumps(told).encode() + b"\n")
        for sequence in sequences:
            found = model.embedding(sequence) if asked["embeds"] else model.logits(sequence)
            answer.write(found.astype("<f4").tobytes())
        answer.flush()
    except LlamaError as error:
        answer.write(json.dumps({"error": str(error)}).encode() + b"\n")
        answer.flush()
    os._exit(0)  # the library's own end takes long, and may fail


if __name__ == "__main__":
    main()
