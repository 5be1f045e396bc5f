"""Decision trees over cells, in one flat array that engines walk.

A tree decides by the cells that a Python function read, in the order in which it read
them. An inner node names a cell; the cell's code number picks the child. A node and its
children stand side by side, so that one look into memory finds them all.

A tree is given by its *slot*: the place in the array where its root is found. So it may
be empty at first.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.growing import Growing
from spec.checker.packing import WORD, Layout

Ints = npt.NDArray[np.int32]
UNKNOWN = -1
"""In a slot: nothing was learned for this value yet."""
PENDING = -2
"""In a slot: an engine has asked for this value already."""
LEAF = -3
"""In a slot: the leaf 0; the leaf `n` is `LEAF - n`. Inner nodes are not negative."""
CELL, PLACE, MASK, WIDTH, CHILDREN = range(5)
"""A node: its cell, where that lies in a row (`WORD` times the word, and the shift),
how many children there are, and their slots. There is one slot more, in which engines
note that they met a larger code number."""


class Forest:
    """All trees of one exploration.

    Attributes:
        code: the array.
        size: how much of it is used.
        nodes: where in it each inner node begins.
    """

    def __init__(self) -> None:
        self._keep(np.full(1024, UNKNOWN, np.int32))
        self.size = 0
        self.nodes = array("i")

    def _keep(self, code: Ints) -> None:
        self._space = Growing(np.int32)
        self._grow(len(code))
        self.code[:] = code

    def _grow(self, count: int) -> None:
        self._space.resize(count)
        self.code = self._space.rows
        # single numbers are read and written faster through a view
        self.view = memoryview(self.code)

    def __getstate__(self) -> dict[str, Any]:
        """What was learned; what was only asked is to be asked again."""
        code = self.code[: self.size]
        return {
            "code": np.where(code == PENDING, UNKNOWN, code),
            "size": self.size,
            "nodes": self.nodes,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._keep(state["code"])
        self.size = state["size"]
        self.nodes = state["nodes"]

    def lay_out(self, layout: Layout) -> None:
        """Let all nodes look at rows of this layout."""
        self.places = (WORD * layout.word + layout.shift.astype(np.int64)).tolist()
        self.masks = layout.mask.astype(np.int64).tolist()
        at = np.array(self.nodes, np.int32)
        cell = self.code[at + CELL]
        self.code[at + PLACE] = np.array(self.places, np.int32)[cell]
        self.code[at + MASK] = np.array(self.masks, np.int32)[cell]

    def plant(self) -> int:
        """A slot for a new tree."""
        return self._room(1)

    def learn(self, slot: int, path: list[tuple[int, int]], leaf: int) -> None:
        """Let the tree at `slot` lead to `leaf` where the cells have these codes.

        Args:
            slot: of the tree.
            path: cells and code numbers in the order in which they were read.
            leaf: the result, 0 or more.
        """
        for depth, (_, number) in enumerate(path):
            node = self.view[slot]
            if node < 0:
                slot = self._branch(slot, path[depth:])
                break
            if number >= self.view[node + WIDTH]:
                node = self._widened(node, number + 1)
                self.view[slot] = node
            slot = node + CHILDREN + number
        self.view[slot] = LEAF - leaf

    def _branch(self, slot: int, path: list[tuple[int, int]]) -> int:
        """Let a slot lead through a new node for each cell; returns the last slot.

        Most of what is learned is such nodes, so all of them are made at once.
        """
        self.view[slot] = end = self.size
        code: list[int] = []
        for cell, number in path:
            self.nodes.append(end)
            end += CHILDREN + number + 2
            code += cell, self.places[cell], self.masks[cell], number + 1
            code += [UNKNOWN] * number
            code += end, UNKNOWN
        first = self._room(len(code))
        self.view[first:end] = memoryview(array("i", code))
        return end - 2

    def look(self, slot: int) -> int | tuple[int, dict[int, int]]:
        """A leaf or `UNKNOWN`; else a cell, and for its codes the slots to go on."""
        node = int(self.code[slot])
        if node < 0:
            return LEAF - node if node <= LEAF else UNKNOWN
        first = node + CHILDREN
        return int(self.code[node + CELL]), {
            number: first + number
            for number in range(int(self.code[node + WIDTH]))
            if self.code[first + number] not in (UNKNOWN, PENDING)
        }

    def _room(self, count: int) -> int:
        first, self.size = self.size, self.size + count
        used = len(self.code)
        if self.size > used:
            self._grow(used + max(used // 8, count, 1024))
            self.code[used:] = UNKNOWN
        return first

    def _node(self, cell: int, width: int) -> int:
        node = self._room(CHILDREN + width + 1)
        view = self.view
        view[node + CELL] = cell
        view[node + PLACE] = self.places[cell]
        view[node + MASK] = self.masks[cell]
        view[node + WIDTH] = width
        self.nodes.append(node)
        return node

    def _widened(self, old: int, width: int) -> int:
        """A wider node with the same children, to be put in place of `old`."""
        had = self.view[old + WIDTH]
        node = self._node(self.view[old + CELL], max(width, 2 * had))
        first, last = node + CHILDREN, old + CHILDREN
        self.code[first : first + had] = self.code[last : last + had]
        return node
