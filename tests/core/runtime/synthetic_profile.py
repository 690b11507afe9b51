"""A machine that keeps to laws, so that what is forecast for it can be worked out by hand."""

from __future__ import annotations

from benchvise.core.protocol.results import LinearTime, MachineProfile, RestTime
from benchvise.core.recipe.recipe import KEEP
from benchvise.core.recipe.treatment_text import parse_treatment_text

FIXED_MS, BLOCK_MS, VALUE_MS, KEY_MS = 0.5, 0.125, 1e-6, 2e-8
"""Of the rest of a step: for itself, each block, each value of the stream, each value of the keys that is read."""

SIZES = ((64, 64), (256, 256), (1024, 256))
INPUTS = (1, 8, 64)
BYTES = {"dense": 2.0, "int8 channel": 1.0, "int4 g32": 0.625}
ROUTES = {
    "dense": "dense bfloat16",
    "int8 channel": "int8 weights, bfloat16 activations",
    "int4 g32": "int4 weights, bfloat16 activations",
}


def running_key(tag: str) -> str:
    return (KEEP if tag == "dense" else parse_treatment_text(tag)).running_key


def linear_ms(weight_bytes: float, inputs: int) -> float:
    """Straight in logarithms: grows with the bytes to the power 0.75, with the inputs to the power 0.5."""
    return 1e-4 * weight_bytes**0.75 * inputs**0.5


def rest_ms(blocks: int, hidden: int, keys: int, batch: int, context: int, prompt: int) -> float:
    inputs = batch * max(1, prompt)
    return FIXED_MS + blocks * (BLOCK_MS + VALUE_MS * inputs * hidden + KEY_MS * inputs * (prompt or context) * keys)


def synthetic_profile(device: str = "cpu", *, triton: bool = False, machine: str = "Laptop") -> MachineProfile:
    linears = tuple(
        LinearTime(
            ROUTES[tag], running_key(tag), tag, dtype, rows, columns, inputs, int(rows * columns * size), ms, ms, ms
        )
        for tag, size in BYTES.items()
        for dtype in ("bfloat16",)
        for rows, columns in SIZES
        for inputs in INPUTS
        for ms in (linear_ms(int(rows * columns * size), inputs),)
    )
    asked = [
        (blocks, hidden, hidden // 2, batch, context, prompt)
        for blocks, hidden in ((8, 256), (3, 1024), (1, 2048))
        for batch, context, prompt in ((1, 32, 0), (1, 512, 0), (8, 32, 0), (8, 128, 0), (1, 0, 32), (1, 0, 256))
    ]
    rests = tuple(RestTime("other", "bfloat16", *each, rest_ms(*each)) for each in asked)
    return MachineProfile(
        machine, f"{machine}, 4 threads", device, triton, 4, "2.13.0", "2026-01-02T03:04:05+00:00", linears, rests
    )
