"""Small state graphs for the explorer: states and steps, numbered and named.

A graph has every state of a program, or those around given traces; a reader walks
through it without Python.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from spec.cells import SpecificationError
from spec.checker.replay import Move
from spec.publish.walk import Edge, Node, Walk

DEADLOCK = "deadlock"


@dataclass
class Graph:
    """States and steps of a walk, numbered, fit for JSON.

    Attributes:
        walk: whose states.
        nodes: the states in the order of their numbers; 0 is the first one.
        edges: for each state whose steps are known, the steps.
    """

    walk: Walk
    nodes: dict[Node, int] = field(default_factory=dict)
    edges: dict[Node, list[Edge]] = field(default_factory=dict)

    def add(self, node: Node) -> int:
        """The number of a state."""
        return self.nodes.setdefault(node, len(self.nodes))

    def expand(self, node: Node) -> list[Edge]:
        """The steps from a state; steps that would be called alike get numbers."""
        if node not in self.edges:
            self.add(node)
            self.edges[node] = self.walk.edges(node)
            for edge in self.edges[node]:
                self.add(edge.target)
        return self.edges[node]

    def follow(self, start: Node, moves: Iterable[Move]) -> list[str]:
        """Walk along a schedule, and return the names of its steps.

        Raises:
            SpecificationError: a move cannot be taken: an operation has changed since.
        """
        names, node = [], start
        self.add(start)
        for move in moves:
            named = list(zip(self.names(node), self.expand(node), strict=True))
            found = [each for each in named if each[1].move == move]
            if not found:
                raise SpecificationError(
                    f"a recorded trace goes on with a step of {move.thread} that is no "
                    "step any more; record the ablations anew: make records"
                )
            name, edge = found[0]
            names.append(name)
            node = edge.target
        self.expand(node)
        return names

    def names(self, node: Node) -> list[str]:
        """The names of the steps from a state, no two alike."""
        given: list[str] = []
        for edge in self.expand(node):
            name = edge.said.name
            same = sum(other.partition("~")[0] == name for other in given)
            given.append(f"{name}~{same + 1}" if same else name)
        return given

    def spread(self, most: int) -> None:
        """Expand states near those that are expanded, until there are `most`."""
        queue = deque(self.nodes)
        seen = set(queue)
        while queue and len(self.nodes) < most:
            for edge in self.expand(queue.popleft()):
                if edge.target not in seen:
                    seen.add(edge.target)
                    queue.append(edge.target)

    @property
    def complete(self) -> bool:
        """Whether the steps from every state are known."""
        return len(self.edges) == len(self.nodes)
