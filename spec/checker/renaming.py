"""Give the records of packed states new names, in machine code where numba is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spec.checker.forest import PENDING
from spec.checker.packing import Layout, Words
from spec.checker.symmetry import BITS, Naming

Function = Callable[..., Any]
compiled: Callable[[Function], Function]
try:
    from numba import njit

    compiled = njit(cache=True, nogil=True)
except ImportError:

    def compiled(function: Function) -> Function:
        """Leave the function as it is."""
        return function


@compiled
def _name(value, naming, rank, following):  # type: ignore[no-untyped-def]
    """Give the next free names to the records that a value mentions."""
    group, first, mentions = naming[6], naming[9], naming[10]
    for i in range(first[value], first[value + 1]):
        name = mentions[i]
        if rank[name] < 0:
            rank[name] = following[group[name]]
            following[group[name]] += 1


@compiled
def _name_the_rest(g, codes, naming, rank, following):  # type: ignore[no-untyped-def]
    """Give names to the records of a group that nothing mentions, by what they hold."""
    kind, own_first, own, group_first = naming[0], naming[4], naming[5], naming[7]
    values, shape = naming[8], naming[11]
    for _ in range(following[g], group_first[g + 1]):
        best, least = -1, np.int64(0)
        for name in range(group_first[g], group_first[g + 1]):
            if rank[name] >= 0:
                continue
            held = np.int64(0)
            for i in range(own_first[name], own_first[name + 1]):
                value = values[kind[own[i]], codes[own[i]]]
                held = held * 1000003 + shape[value] + 1
            if best < 0 or held < least:
                best, least = name, held
        rank[best] = following[g]
        following[g] += 1


@compiled
def _number(value, naming, rank):  # type: ignore[no-untyped-def]
    """Where the code number of the renamed value stands, and whether it is known."""
    first, mentions, start, code = naming[9], naming[10], naming[12], naming[13]
    slot = start[value]
    for i in range(first[value], first[value + 1]):
        if code[slot] < 0:
            return slot, False
        slot = code[slot] + rank[mentions[i]]
    return slot, code[slot] >= 0


@compiled
def rename(row, out, fields, naming, misses, missed):  # type: ignore[no-untyped-def]
    """Give the records of a state the names that it does best with.

    Args:
        row: the state.
        out: where the renamed one is written.
        fields: word, shift and mask of each key.
        naming: see `numbers`.
        misses: what is to be learned is written there: the kind of the cell (as
            ``-1 - kind``), the code number, the new names in a list.
        missed: how many misses there are already.

    Returns:
        how many there are now, and whether the state could be renamed.
    """
    kind, owner, cell, free, own_first, own = naming[:6]
    group_first, values, first, mentions = naming[7], naming[8], naming[9], naming[10]
    code = naming[13]
    groups = len(group_first) - 1
    codes = np.empty(len(fields), np.int64)
    for key in range(len(fields)):
        word, shift, mask = fields[key]
        codes[key] = np.int64(row[word] >> np.uint64(shift)) & mask
    rank = np.full(len(cell[0]), -1, np.int64)
    following = group_first[:-1].copy()
    for key in free:
        _name(values[kind[key], codes[key]], naming, rank, following)
    for g in range(groups):
        _name_the_rest(g, codes, naming, rank, following)
        for wanted in range(group_first[g], group_first[g + 1]):
            for name in range(group_first[g], group_first[g + 1]):
                if rank[name] == wanted:
                    for i in range(own_first[name], own_first[name + 1]):
                        value = values[kind[own[i]], codes[own[i]]]
                        _name(value, naming, rank, following)
    known = True
    for i in range(len(out)):
        out[i] = np.uint64(0)
    for key in range(len(fields)):
        value = values[kind[key], codes[key]]
        slot, here = _number(value, naming, rank)
        if not here:
            known = False
            if code[slot] != PENDING and missed < len(misses):
                code[slot] = PENDING
                names = np.int64(0)
                for i in range(first[value + 1] - 1, first[value] - 1, -1):
                    names = (names << BITS) | rank[mentions[i]]
                misses[missed, 0] = -1 - kind[key]
                misses[missed, 1] = codes[key]
                misses[missed, 2] = names
                missed += 1
            continue
        target = key if owner[key] < 0 else cell[kind[key], rank[owner[key]]]
        word, shift, mask = fields[target]
        out[word] |= np.uint64(code[slot]) << np.uint64(shift)
    return missed, known


@compiled
def rename_all(rows, out, known, fields, naming, misses):  # type: ignore[no-untyped-def]
    """The same for several states; returns the number of misses."""
    missed = 0
    for i in range(len(rows)):
        missed, known[i] = rename(rows[i], out[i], fields, naming, misses, missed)
    return missed


def numbers(naming: Naming) -> tuple[Any, ...]:
    """What machine code is given of a naming."""
    own_first = np.cumsum([0, *(len(keys) for keys in naming.own)])
    return (
        np.array(naming.kind, np.int64),
        np.array(naming.owner, np.int64),
        naming.cell,
        np.array(naming.free, np.int64),
        own_first,
        np.array([key for keys in naming.own for key in keys], np.int64),
        np.array(naming.group, np.int64),
        np.array(naming.group_first, np.int64),
        naming.value,
        naming.mentions.first.used,
        naming.mentions.items.used,
        naming.shape.used,
        naming.start.used,
        naming.code.used,
    )


def places(layout: Layout) -> Any:
    """Word, shift and mask of each key, as an array."""
    return np.array(layout.fields[: len(layout.bits)], np.int64)


def renamed_rows(
    rows: Words, naming: Naming, layout: Layout
) -> tuple[Words, Any, list[tuple[int, list[int]]]]:
    """States with other names, which of them could be renamed, and what is missing."""
    out = np.zeros_like(rows)
    known = np.zeros(len(rows), np.bool_)
    misses = np.zeros((1 << 12, 3), np.int64)
    missed = rename_all(rows, out, known, places(layout), numbers(naming), misses)
    wanted = misses[:missed].tolist()
    return out, known, [(kind, [number, names]) for kind, number, names in wanted]
