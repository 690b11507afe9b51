"""Layers as a tree of module paths, in flat arrays that filter and sort 100,000 layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.records import Layer

ROOT = 0
BUCKET = 1000
"""More children than this under one node are put into folders by ranges, so that opening a node stays instant."""

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class LayerTree:
    """Nodes in columns; node 0 is the invisible root.

    labels:   what is shown, one path segment.
    parents:  [nodes], the root's is -1.
    layers:   [nodes], index of the layer a node stands for, -1 for a folder.
    children: [nodes], in the checkpoint's order.
    node_of:  [layers], the node of each layer.
    levels:   nodes by depth, the deepest first, for sums from the leaves upwards.
    """

    labels: list[str]
    parents: Indices
    layers: Indices
    children: list[list[int]]
    node_of: Indices
    levels: tuple[Indices, ...]

    def sums(self, per_layer: Values) -> Values:
        """[nodes]: each layer's value, added up over the folders above it."""
        total = np.zeros(len(self.labels))
        np.add.at(total, self.node_of, per_layer)
        for level in self.levels[:-1]:
            np.add.at(total, self.parents[level], total[level])
        return total

    def maxima(self, per_layer: Values) -> Values:
        """[nodes]: each layer's value, and the greatest below each folder; NaN where nothing is known."""
        greatest = np.full(len(self.labels), -np.inf)
        greatest[self.node_of] = np.where(np.isnan(per_layer), -np.inf, per_layer)
        for level in self.levels[:-1]:
            np.maximum.at(greatest, self.parents[level], greatest[level])
        return np.where(np.isneginf(greatest), np.nan, greatest)

    def any_below(self, per_layer: Mask) -> Mask:
        """[nodes]: whether the node or anything below it is marked."""
        return self.sums(per_layer.astype(np.float64)) > 0

    def layers_below(self, node: int) -> list[int]:
        """Indices of all layers at and below a node, in the checkpoint's order."""
        found: list[int] = []
        stack = [node]
        while stack:
            top = stack.pop()
            if self.layers[top] >= 0:
                found.append(int(self.layers[top]))
            stack.extend(reversed(self.children[top]))
        return found


def build_tree(layers: Sequence[Layer]) -> LayerTree:
    """The tree over the layers' names, split at their dots."""
    growing = _Growing()
    node_of = np.empty(len(layers), np.int64)
    for index, layer in enumerate(layers):
        node = growing.node_for(layer.name)
        if growing.layers[node] >= 0:
            node = growing.add(growing.parents[node], layer.tensor.name.rpartition(".")[2])
        growing.layers[node] = index
        node_of[index] = node
    growing.put_into_ranges()
    return growing.finished(node_of)


class _Growing:
    def __init__(self) -> None:
        self.labels = [""]
        self.parents = [-1]
        self.layers = [-1]
        self.children: list[list[int]] = [[]]
        self._by_path: dict[str, int] = {"": ROOT}

    def add(self, parent: int, label: str) -> int:
        node = len(self.labels)
        self.labels.append(label)
        self.parents.append(parent)
        self.layers.append(-1)
        self.children.append([])
        self.children[parent].append(node)
        return node

    def node_for(self, path: str) -> int:
        known = self._by_path.get(path)
        if known is not None:
            return known
        above, _, label = path.rpartition(".")
        node = self.add(self.node_for(above), label)
        self._by_path[path] = node
        return node

    def put_into_ranges(self) -> None:
        for parent in range(len(self.labels)):
            crowd = self.children[parent]
            if len(crowd) <= BUCKET:
                continue
            self.children[parent] = []
            for start in range(0, len(crowd), BUCKET):
                part = crowd[start : start + BUCKET]
                folder = self.add(parent, f"{self.labels[part[0]]} … {self.labels[part[-1]]}")
                self.children[folder] = part
                for node in part:
                    self.parents[node] = folder

    def finished(self, node_of: Indices) -> LayerTree:
        parents = np.array(self.parents, np.int64)
        level = np.array([ROOT], np.int64)
        levels = [level]
        while level.size:
            below = [child for node in level.tolist() for child in self.children[node]]
            level = np.array(below, np.int64)
            if level.size:
                levels.append(level)
        return LayerTree(
            self.labels, parents, np.array(self.layers, np.int64), self.children, node_of, tuple(reversed(levels))
        )
