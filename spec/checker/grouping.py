"""Which predicates to evaluate together: those that look at the same cells."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Path = list[tuple[int, int]]
Look = tuple[tuple[int, ...], Path, int]
"""Some predicates, what they read (cells and codes), and how they judge."""
SAMPLE = 16
"""After so many forms of steps, what predicates looked at tells what they will."""


class Grouping:
    """A partition of the predicates, learned from the first forms of steps.

    One tree for predicates that read the same cells is smaller than a tree for each,
    and one tree for predicates that do not is larger. Any partition is correct.

    Args:
        count: how many predicates there are.
    """

    def __init__(self, count: int) -> None:
        self.seen: list[list[frozenset[int]]] = [[] for _ in range(count)]
        self._groups: list[tuple[int, ...]] = [(number,) for number in range(count)]
        self._forms = 0

    def groups(self) -> list[tuple[int, ...]]:
        """The predicates that are evaluated together."""
        return self._groups

    def merge(
        self, looks: Iterable[Look], both: Callable[[int, int], int]
    ) -> list[Look]:
        """The same looks, those at equal cells as one.

        Args:
            looks: of all groups at one form.
            both: the number of two judgements together.
        """
        merged: dict[frozenset[int], Look] = {}
        for members, path, leaf in looks:
            cells = frozenset(cell for cell, _ in path)
            others, first, judged = merged.get(cells, ((), path, 0))
            merged[cells] = (*others, *members), first, both(judged, leaf)
        if self._forms < SAMPLE:
            self._note(merged)
        return list(merged.values())

    def _note(self, merged: dict[frozenset[int], Look]) -> None:
        """Take one more form into account; the last one decides."""
        self._forms += 1
        for cells, (members, _, _) in merged.items():
            for number in members:
                self.seen[number].append(cells)
        if self._forms == SAMPLE:
            self._partition()

    def _partition(self) -> None:
        alike: dict[tuple[frozenset[int], ...], list[int]] = {}
        for number, seen in enumerate(self.seen):
            alike.setdefault(tuple(seen), []).append(number)
        self._groups = [tuple(group) for group in alike.values()]
