"""Give the records of packed states new names, in machine code where numba is."""

from __future__ import annotations

from typing import Any

import numpy as np

from spec.checker.compiling import compiled
from spec.checker.forest import PENDING
from spec.checker.packing import Layout, Word, Words
from spec.checker.symmetry import BITS, Naming

WEIGHT = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(24)


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
def _name_the_rest(g, naming, rank, following, codes, held):  # type: ignore[no-untyped-def]
    """Give names to the records of a group that nothing mentions, by what they hold."""
    kind, group_first, numbered, shape = naming[0], naming[7], naming[8], naming[11]
    every_first, every = naming[14], naming[15]
    begin, end = group_first[g], group_first[g + 1]
    if following[g] == end:
        return
    for name in range(begin, end):
        if rank[name] < 0:
            # a sum: keys that are left out add the same to all, which changes no order
            held[name] = 0
            for i in range(every_first[name], every_first[name + 1]):
                value = numbered[kind[every[i]], codes[every[i]]]
                held[name] += np.int64(np.uint64(shape[value] + 1) * WEIGHT >> SHIFT)
    for wanted in range(following[g], end):
        best = -1
        for name in range(begin, end):
            if rank[name] < 0 and (best < 0 or held[name] < held[best]):
                best = name
        rank[best] = wanted


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


def scratch_for(fields: Any, naming: tuple[Any, ...]) -> tuple[Any, ...]:
    """Value and code of each key; rank, next rank, contents; the names in order."""
    names = len(naming[6])
    return (
        np.empty(len(fields), np.int64),
        np.empty(len(fields), np.int64),
        np.empty(names, np.int64),
        np.empty(len(naming[7]) - 1, np.int64),
        np.empty(names, np.int64),
        np.empty(names, np.int64),
    )


@compiled
def rename(row, out, fields, naming, scratch, misses, missed):  # type: ignore[no-untyped-def]
    """Give the records of a state the names that it does best with.

    Args:
        row: the state.
        out: where the renamed one is written.
        fields: word, shift and mask of each key.
        naming: see `numbers`.
        scratch: arrays to work with, see `scratch_for`.
        misses: what is to be learned is written there: the kind of the cell (as
            ``-1 - kind``), the code number, the new names in a list.
        missed: how many misses there are already.

    Returns:
        how many there are now, and whether the state could be renamed.
    """
    kind, owner, cell, free, own_first, own = naming[:6]
    group_first, numbered, first, mentions = naming[7:11]
    code, named, plain = naming[13], naming[16], naming[17]
    values, codes, rank, following, held, order = scratch
    for key in plain:
        number = np.int64(row[fields[key, 0]] >> Word(fields[key, 1]))
        codes[key] = number & fields[key, 2]
    for key in named:
        number = np.int64(row[fields[key, 0]] >> Word(fields[key, 1]))
        codes[key] = number & fields[key, 2]
        values[key] = numbered[kind[key], codes[key]]
    rank[:] = -1
    for g in range(len(following)):
        following[g] = group_first[g]
    for key in free:
        _name(values[key], naming, rank, following)
    for g in range(len(group_first) - 1):
        _name_the_rest(g, naming, rank, following, codes, held)
        for name in range(group_first[g], group_first[g + 1]):
            order[rank[name]] = name
        for place in range(group_first[g], group_first[g + 1]):
            name = order[place]
            for i in range(own_first[name], own_first[name + 1]):
                _name(values[own[i]], naming, rank, following)
    known = True
    for i in range(len(out)):
        out[i] = Word(0)
    for key in plain:
        target = key if owner[key] < 0 else cell[kind[key], rank[owner[key]]]
        bits = Word(codes[key]) << Word(fields[target, 1])
        out[fields[target, 0]] |= bits
    for key in named:
        value = values[key]
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
        bits = Word(code[slot]) << Word(fields[target, 1])
        out[fields[target, 0]] |= bits
    return missed, known


@compiled
def rename_all(rows, out, known, fields, naming, scratch, misses):  # type: ignore[no-untyped-def]
    """The same for several states; returns the number of misses."""
    missed = 0
    for i in range(len(rows)):
        missed, known[i] = rename(
            rows[i], out[i], fields, naming, scratch, misses, missed
        )
    return missed


def numbers(naming: Naming, layout: Layout) -> tuple[Any, ...]:
    """What machine code is given of a naming.

    Keys that have one value only, and mention no name, are left out. Of the others,
    those are `named` of whose values some mention names.
    """
    mentions = naming.mentions.first.used
    mentioning = {
        kind
        for kind, row in enumerate(naming.value)
        if (mentions[row[row >= 0] + 1] > mentions[row[row >= 0]]).any()
    }
    named = [key for key, kind in enumerate(naming.kind) if kind in mentioning]
    varies = [key for key, bits in enumerate(layout.bits) if bits]
    plain = [key for key in varies if naming.kind[key] not in mentioning]
    own = [[key for key in keys if key in {*named}] for keys in naming.own]
    every = [[key for key in keys if key in {*named, *plain}] for keys in naming.own]
    return (
        np.array(naming.kind, np.int64),
        np.array(naming.owner, np.int64),
        naming.cell,
        np.array([key for key in naming.free if key in {*named}], np.int64),
        *_one_behind_the_other(own),
        np.array(naming.group, np.int64),
        np.array(naming.group_first, np.int64),
        naming.value,
        mentions,
        naming.mentions.items.used,
        naming.shape.used,
        naming.start.used,
        naming.code.used,
        *_one_behind_the_other(every),
        np.array(named, np.int64),
        np.array(plain, np.int64),
    )


def _one_behind_the_other(lists: list[list[int]]) -> tuple[Any, Any]:
    """Where each list begins, and the items of all."""
    first = np.cumsum([0, *(len(items) for items in lists)])
    return first, np.array([item for items in lists for item in items], np.int64)


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
    given = places(layout), numbers(naming, layout)
    missed = rename_all(rows, out, known, *given, scratch_for(*given), misses)
    wanted = misses[:missed].tolist()
    return out, known, [(kind, [number, names]) for kind, number, names in wanted]
