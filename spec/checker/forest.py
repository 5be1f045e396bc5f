"""Decision trees over cells, in flat arrays that bulk engines walk.

A tree decides by the cells that a Python function read, in the order in which it read
them. Its inner nodes name a cell; the cell's code number picks the child. A tree is
given by the *slot* in which its root is found, so that it may be empty at first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

UNKNOWN = -1
"""In a slot: nothing was learned for this value yet."""
PENDING = -2
"""In a slot: an engine has asked for this value already."""
LEAF = -3
"""In a slot: the leaf 0; the leaf `n` is `LEAF - n`. Inner nodes are not negative."""


class Forest:
    """All trees of one exploration.

    Attributes:
        children: the slots. A node has one for each code number below its width, and
            one more, in which engines note that they met a larger one.
        node_cell, node_base, node_width: for each node the cell that it looks at, its
            first slot and its width.
    """

    def __init__(self) -> None:
        self.children = np.full(1024, UNKNOWN, np.int32)
        self.slots = 0
        self.node_cell = np.zeros(256, np.int32)
        self.node_base = np.zeros(256, np.int32)
        self.node_width = np.zeros(256, np.int32)
        self.nodes = 0

    def __getstate__(self) -> dict[str, Any]:
        """What was learned; what was only asked is to be asked again."""
        children = self.children[: self.slots]
        nodes = ("node_cell", "node_base", "node_width")
        return {
            "children": np.where(children == PENDING, UNKNOWN, children),
            **{name: getattr(self, name)[: self.nodes] for name in nodes},
            "slots": self.slots,
            "nodes": self.nodes,
        }

    def plant(self) -> int:
        """A slot for a new tree."""
        return self._room(1)

    def learn(self, slot: int, path: Iterable[tuple[int, int]], leaf: int) -> None:
        """Let the tree at `slot` lead to `leaf` where the cells have these codes.

        Args:
            slot: of the tree.
            path: cells and code numbers in the order in which they were read.
            leaf: the result, 0 or more.
        """
        for cell, code in path:
            node = int(self.children[slot])
            if node < 0:
                node = self._node(cell, code + 1)
                self.children[slot] = node
            elif code >= self.node_width[node]:
                self._widen(node, code + 1)
            slot = int(self.node_base[node]) + code
        self.children[slot] = LEAF - leaf

    def _room(self, count: int) -> int:
        first, self.slots = self.slots, self.slots + count
        if self.slots > len(self.children):
            more = np.full(max(len(self.children), count), UNKNOWN, np.int32)
            self.children = np.concatenate([self.children, more])
        return first

    def _node(self, cell: int, width: int) -> int:
        node = self.nodes
        if node == len(self.node_cell):
            for name in ("node_cell", "node_base", "node_width"):
                column = getattr(self, name)
                more = np.zeros(max(len(column), 256), np.int32)
                setattr(self, name, np.concatenate([column, more]))
        self.nodes += 1
        self.node_cell[node] = cell
        self.node_base[node] = self._room(width + 1)
        self.node_width[node] = width
        return node

    def _widen(self, node: int, width: int) -> None:
        old, first = int(self.node_width[node]), int(self.node_base[node])
        width = max(width, 2 * old)
        base = self._room(width + 1)
        self.children[base : base + old] = self.children[first : first + old]
        self.node_base[node] = base
        self.node_width[node] = width
