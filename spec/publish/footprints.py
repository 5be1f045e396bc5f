"""A function of cells, run once for each footprint: what it reads, and what it finds.

The checker's engines do the same on packed states, with NumPy. Here states are plain
dictionaries and few, and what is looked up is often text: what a step says, how a page
is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

Source = Callable[[str], Any]
"""Reads one cell of a state."""


@dataclass
class _Leaf[T]:
    result: T


@dataclass
class _Look[T]:
    """A decision by the value of one cell."""

    key: str
    branches: dict[Hashable, _Look[T] | _Leaf[T]] = field(default_factory=dict)


class Footprints[T]:
    """A function that reads cells and nothing else.

    Args:
        function: given how to read a cell; the same finds must give the same result.

    >>> ran = []
    >>> def parity(read):
    ...     ran.append(1)
    ...     return read("n") % 2
    >>> kept = Footprints(parity)
    >>> [kept({"n": n, "m": m}.__getitem__) for n, m in [(1, 0), (1, 7), (2, 7)]]
    [1, 1, 0]
    >>> len(ran)
    2
    """

    def __init__(self, function: Callable[[Source], T]) -> None:
        self.function = function
        self.top: _Look[T] | _Leaf[T] | None = None

    def __call__(self, read: Source) -> T:
        """What the function gives in the state that `read` reads."""
        node = self.top
        while isinstance(node, _Look):
            node = node.branches.get(read(node.key))
        return self._learn(read) if node is None else node.result

    @property
    def constant(self) -> bool:
        """Whether the function was run and has read nothing."""
        return isinstance(self.top, _Leaf)

    def _learn(self, read: Source) -> T:
        found: dict[str, Any] = {}

        def noted(key: str) -> Any:
            if key not in found:
                found[key] = read(key)
            return found[key]

        leaf = _Leaf(self.function(noted))
        if not found:
            self.top = leaf
            return leaf.result
        *before, (_, last) = found.items()
        node = self.top = self.top or _Look(next(iter(found)))
        for (_, value), key in zip(before, list(found)[1:], strict=True):
            assert isinstance(node, _Look), "the same finds lead to the same reads"
            node = node.branches.setdefault(value, _Look(key))
        assert isinstance(node, _Look), "the same finds lead to the same reads"
        node.branches[last] = leaf
        return leaf.result
