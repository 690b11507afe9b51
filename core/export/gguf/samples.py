"""What lies beside a GGUF file in a folder: a program that runs it by llama.cpp, and what Ollama needs to load it."""

from __future__ import annotations

from benchvise.core.export.sample_files import sample_files

_GENERATES = '''"""Generate with llama.cpp and print the speed: pip install xllamacpp, then python run.py [PROMPT]"""

import sys
from pathlib import Path

import xllamacpp

here = Path(__file__).parent if "__file__" in globals() else Path()
parameters = xllamacpp.CommonParams()
parameters.model.path = str(here / "{name}")
parameters.n_ctx = {context}
server = xllamacpp.Server(parameters)
prompt = sys.argv[1] if "__file__" in globals() and len(sys.argv) > 1 else "Once upon a time"
answer = server.handle_completions({{"prompt": prompt, "n_predict": 64, "temperature": 0.0}})
print(prompt + answer["choices"][0]["text"])
print(f"{{answer['timings']['predicted_per_second']:.1f}} tokens per second")
'''
_EMBEDS = '''"""Embed two sentences with llama.cpp and compare them: pip install xllamacpp, then python run.py"""

from pathlib import Path

import numpy
import xllamacpp

here = Path(__file__).parent if "__file__" in globals() else Path()
parameters = xllamacpp.CommonParams()
parameters.model.path = str(here / "{name}")
parameters.embedding = True
parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = {context}
server = xllamacpp.Server(parameters)
answer = server.handle_embeddings({{"input": ["A dog runs in the park.", "A puppy plays on the grass."]}})
first, second = (numpy.array(each["embedding"]) for each in answer["data"])
print("similarity", first @ second / numpy.linalg.norm(first) / numpy.linalg.norm(second))
'''
_MAX_CONTEXT = 2048


def gguf_samples(name: str, context: int, *, generates: bool) -> dict[str, str]:
    """The files by name. name: of the (first) file; context: tokens that the network knows; generates: or embeds."""
    text = (_GENERATES if generates else _EMBEDS).format(name=name, context=min(context or _MAX_CONTEXT, _MAX_CONTEXT))
    ollama = {"Modelfile": f"FROM ./{name}\n"} if generates else {}
    return sample_files(text) | ollama
