"""The order in which layers are shown: embeddings, blocks from first to last, final norm, head."""

from __future__ import annotations

import re

from benchvise.core.checkpoint.roles import Place

OrderKey = tuple[int, str, int, int, str, str]

_BLOCK = re.compile(r"(?:^|\.)(?:layers?|h|blocks?|resblocks)\.(\d+)(?=\.)")
_NUMBERED = re.compile(r"(?:^|\.)[A-Za-z_]\w*\.(\d+)(?=\.)")
_DIGITS = re.compile(r"\d+")

_EMBEDDINGS, _BLOCKS, _AFTER_BLOCKS, _HEAD = range(4)

_ATTENTION = ("q", "q_a", "q_b", "k", "v", "kv", "kv_a", "kv_b", "qkv", "o")
_MLP = ("router", "gate", "up", "gate_up", "down")
_NORM_BEFORE, _IN_ATTENTION, _NORM_BETWEEN, _EXPERTS, _NORM_AFTER, _REST = 0, 20, 21, 40, 49, 50
_RANKS = (
    {"embedding": 0, "embedding.position": 1}
    | {f"attention.{role}": rank for rank, role in enumerate(_ATTENTION, 10)}
    | {f"mlp.{role}": rank for rank, role in enumerate(_MLP, 30)}
)
_NORM_BEFORE_ATTENTION = re.compile(
    r"input_layernorm|ln_1$|layernorm_before|norm1$|attention_norm|self_attn_layer_norm|ln_attn"
)
_NORM_AFTER_MLP = re.compile(r"post_(feedforward|ffn|mlp)|(?<!attention\.)output\.layernorm")


def block_of(name: str) -> tuple[str, int | None]:
    """The path of the stack of blocks that a tensor stands in, and the index of its block; ("", None) outside."""
    found = _BLOCK.search(name)
    return (name[: found.start(1)], int(found[1])) if found else ("", None)


def depth_of(name: str) -> int | None:
    """The index of the block that a tensor belongs to, or of the first numbered part; None without one."""
    found = _BLOCK.search(name) or _NUMBERED.search(name)
    return int(found[1]) if found else None


def order_key(name: str, place: Place, block: tuple[str, int | None], index: int, *, by_name: bool) -> OrderKey:
    """Sorts tensors into the order of the tree.

    block:   what `block_of` says.
    index:   the tensor's position in its file, which settles the order within a block or outside them.
    by_name: that position means nothing (safetensors sorts by size); the way of the data through a block settles it
             instead, then names with their numbers as numbers.
    """
    stack, depth = block
    zone = _zone(name, place) if depth is None else _BLOCKS
    if not by_name:
        return zone, stack, depth or 0, index, "", ""
    rank = _rank(place)
    parent, _, leaf = _padded(place.module).rpartition(".")
    within = f"{_RANKS.get(_without_expert(place.module_role), 0):02}" if rank == _EXPERTS else ""
    weight_first = "" if name.endswith("weight") else name
    return zone, stack, depth or 0, rank, parent, f"{within} {leaf} {weight_first}"


def _padded(name: str) -> str:
    return _DIGITS.sub(lambda number: number[0].zfill(9), name)


def _without_expert(role: str) -> str:
    return role.replace("shared_expert.", "").replace("expert.", "")


def _zone(name: str, place: Place) -> int:
    if place.module_role in ("lm_head", "classifier") or name.startswith(("lm_head.", "cls.")):
        return _HEAD
    return _EMBEDDINGS if "embed" in name or place.module_role.startswith("embedding") else _AFTER_BLOCKS


def _rank(place: Place) -> int:
    role = place.module_role
    if "expert." in role:
        return _EXPERTS
    if role in _RANKS:
        return _RANKS[role]
    path = place.module.lower()
    if _NORM_BEFORE_ATTENTION.search(path):
        return _NORM_BEFORE
    if "attn." in path or "attention." in path:
        return _IN_ATTENTION
    if _NORM_AFTER_MLP.search(path):
        return _NORM_AFTER
    return _NORM_BETWEEN if role == "norm" else _REST
