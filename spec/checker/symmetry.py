"""Symmetry: states that differ only by the names of interchangeable records.

A program declares groups of records that it treats alike, for instance all pages. The
checker then stores one state for all that can be renamed into each other.

An operation that takes the first free record does not treat them alike: which one is
free first depends on names. It says so with `alternatives`, and a reduced exploration
tries all of them. So the reduced exploration has every step of the unreduced one, up to
names, and perhaps more: where nothing is violated in it, nothing is in the other. Where
something is, the unreduced exploration is the one to show it.

Names are given out anew in each state, in the order in which cells mention them. Cells
that belong to no record come first; then those of each group, of which the records
that were not mentioned are ordered by what their cells hold. Two states of one orbit
may still get different names where this leaves a tie; then both are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spec.checker.columns import Column, Lists
from spec.checker.forest import UNKNOWN

Ints = npt.NDArray[np.int32]
BITS = 4
"""Bits of one name in a list of names that is packed into a number."""
MOST_NAMES = (1 << BITS) - 1
"""Names that may take part."""


def mentioned(value: Any, names: Sequence[str]) -> list[str]:
    """The names that a value mentions, each once, in order of appearance."""
    found: dict[str, None] = {}

    def note(name: str) -> str:
        if name in names:
            found.setdefault(name)
        return name

    renamed(value, note)
    return list(found)


def renamed(value: Any, name: Callable[[str], str]) -> Any:
    """The value with every text in it replaced by what a function gives for it."""
    if isinstance(value, str):
        return name(value)
    if isinstance(value, tuple):
        return tuple(renamed(part, name) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: renamed(getattr(value, f.name), name) for f in fields(value)}
        return replace(value, **parts)
    return value


class Naming:
    """How the cells and values of a program change with the names of its records.

    Args:
        keys: the cells and threads.
        groups: the records that are interchangeable, by name.

    Attributes:
        names: of all groups, one group behind the other.
        group: for each name its group.
        group_first: for each group, where its names begin; and where the last ends.
        kind: for each key, its number among the keys that differ only by a name.
        owner: for each key the name of its record, or -1.
        cell: for each kind and name, the key.
        own: for each name, the keys of its record.
        free: the keys of no record.
        known: for each kind, how many code numbers were added.
        value: for each kind and code number, the number of the value; -1: not known.
        mentions: for each value, the names that it mentions.
        shape: for each value a number that it shares with those it can be renamed to.
        start: for each value, where the code number of a renamed value is looked up.
        code: the trees in which it is: by the new name of each mention in turn.
    """

    def __init__(self, keys: Sequence[str], groups: Sequence[Sequence[str]]) -> None:
        self.names = [name for group in groups for name in group]
        assert len(self.names) <= MOST_NAMES, "too many interchangeable records"
        self.group = [g for g, group in enumerate(groups) for _ in group]
        sizes = [len(group) for group in groups]
        self.group_first = [sum(sizes[:g]) for g in range(len(sizes) + 1)]
        number = {name: i for i, name in enumerate(self.names)}
        parts = [key.partition(".") for key in keys]
        self.owner = [number.get(record, -1) for record, _, _ in parts]
        kinds: dict[tuple[int, str], int] = {}
        self.kind = []
        for (record, _, field), owner in zip(parts, self.owner, strict=True):
            group = -1 if owner < 0 else self.group[owner]
            named = field if owner >= 0 else f"{record}.{field}"
            self.kind.append(kinds.setdefault((group, named), len(kinds)))
        self.cell = np.full((len(kinds), max(len(self.names), 1)), -1, np.int32)
        for key, (kind, owner) in enumerate(zip(self.kind, self.owner, strict=True)):
            self.cell[kind, max(owner, 0)] = key
        self.free = [k for k, owner in enumerate(self.owner) if owner < 0]
        self.own = [
            [k for k, owner in enumerate(self.owner) if owner == name]
            for name in range(len(self.names))
        ]
        self.value = np.full((len(kinds), 64), -1, np.int32)
        self.mentions = Lists()
        self.shape = Column(np.int32)
        self.start = Column(np.int32)
        self.code = Column(np.int32)
        self.known = [0 for _ in kinds]
        self._shapes: dict[tuple[int, Any], tuple[int, int]] = {}

    def add(self, kind: int, number: int, value: Any) -> None:
        """Note a value of a kind of cells, and the code number that it has."""
        if number >= self.value.shape[1]:
            more = np.full_like(self.value, -1, shape=(len(self.value), number + 64))
            self.value = np.hstack([self.value, more])
        self.known[kind] = number + 1
        said = mentioned(value, self.names)
        places = [self.names.index(name) for name in said]
        skeleton = self.rename(value, places, range(len(places)))
        shape, start = self._shape(kind, (skeleton, *(self.group[p] for p in places)))
        self.value[kind, number] = self.mentions.append(places)
        self.shape.append(shape)
        self.start.append(start)
        self._enter(start, places, number)

    def enter(self, kind: int, number: int, names: Sequence[int], new: int) -> None:
        """Note the code number that a value has with other names.

        Args:
            kind, number: the value.
            names: the other names of those that it mentions.
            new: the code number that it has with them.
        """
        self._enter(int(self.start.rows[self.value[kind, number]]), names, new)

    def rename(self, value: Any, old: Sequence[int], new: Sequence[int]) -> Any:
        """The value with other names, which are given by their numbers."""
        others = {self.names[a]: self.names[b] for a, b in zip(old, new, strict=True)}
        return renamed(value, lambda name: others.get(name, name))

    def _shape(self, kind: int, skeleton: Any) -> tuple[int, int]:
        if (kind, skeleton) not in self._shapes:
            start = self.code.size
            self.code.append(UNKNOWN)
            self._shapes[kind, skeleton] = len(self._shapes), start
        return self._shapes[kind, skeleton]

    def _enter(self, slot: int, places: Sequence[int], number: int) -> None:
        for place in places:
            if self.code.rows[slot] < 0:
                self.code.rows[slot] = self.code.size
                self.code.extend([UNKNOWN] * len(self.names))
            slot = int(self.code.rows[slot]) + place
        self.code.rows[slot] = number
