"""Checks of recipes on networks without files, and what their fixes lead to."""

from __future__ import annotations

from benchvise.core.checkpoint.records import Checkpoint, Layer, TensorEntry
from benchvise.core.preflight.check import check_recipe
from benchvise.core.preflight.facts import Facts
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Checked, Finding, Fix
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

ROOMY = Facts(memory_free=1 << 40, memory_total=1 << 40)


def layer(name: str, role: str, rows: int, columns: int, depth: int | None = 0, dtype: str = "bfloat16") -> Layer:
    nbytes = rows * columns * (4 if dtype == "float32" else 2)
    kind = "embedding" if role == "embedding" else "linear"
    return Layer(name, TensorEntry(f"{name}.weight", dtype, (rows, columns), "", 0, nbytes), role, kind, depth)


def network(hidden: int = 256, wide: int = 512, *, blocks: int = 2, experts: int = 0) -> Checkpoint:
    layers = [layer("model.embed_tokens", "embedding", 1000, hidden, None)]
    for depth in range(blocks):
        base = f"model.layers.{depth}"
        layers += [
            layer(f"{base}.self_attn.{part}_proj", f"attention.{part}", hidden, hidden, depth) for part in "qkvo"
        ]
        names = [f"{base}.mlp.experts.{number}" for number in range(experts)] or [f"{base}.mlp"]
        role = "mlp.expert" if experts else "mlp"
        for name in names:
            layers += [layer(f"{name}.{part}_proj", f"{role}.{part}", wide, hidden, depth) for part in ("gate", "up")]
            layers.append(layer(f"{name}.down_proj", f"{role}.down", hidden, wide, depth))
    layers.append(layer("lm_head", "lm_head", 1000, hidden, None))
    return Checkpoint("/models/small", "safetensors", tuple(layers), {"architectures": ["LlamaForCausalLM"]})


def recipe(*rules: tuple[str, Treatment]) -> Recipe:
    return Recipe(tuple(Rule((target,), treatment) for target, treatment in rules))


def checked(
    asked: Recipe, runtime: str = "", target: str = "auto", *, on: Checkpoint | None = None, facts: Facts = ROOMY
) -> Checked:
    return check_recipe(on or network(), CheckRecipe("", asked, target, runtime), lambda _: facts)


def found(answer: Checked, kind: str) -> Finding:
    """The one finding of the kind."""
    (finding,) = (finding for finding in answer.findings if finding.kind == kind)
    return finding


def kinds(answer: Checked, level: str) -> set[str]:
    return {finding.kind for finding in answer.findings if finding.level == level}


def fix(finding: Finding, label: str) -> Fix:
    """The fix whose label starts so."""
    (one,) = (fix for fix in finding.fixes if fix.label.startswith(label))
    return one
