"""Give the records of packed states new names, in machine code where numba is."""

from __future__ import annotations

from typing import Any

import numpy as np

from spec.checker.compiling import compiled, inlined
from spec.checker.forest import PENDING
from spec.checker.packing import Layout, Word, Words
from spec.checker.symmetry import BITS, Naming

WEIGHT = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(24)


@inlined
def _code(row, key, fields):  # type: ignore[no-untyped-def]
    """The code number of a cell."""
    number = np.int64(row[fields[key, 0]] >> Word(fields[key, 1]))
    return number & fields[key, 2]


@inlined
def _set(row, key, number, fields):  # type: ignore[no-untyped-def]
    """Write a code number to a cell, the bits of which are zero."""
    row[fields[key, 0]] |= Word(number) << Word(fields[key, 1])


@inlined
def _name(value, naming, rank, following):  # type: ignore[no-untyped-def]
    """Give the next free names to the records that a value mentions."""
    group, first, mentions = naming[6], naming[9], naming[10]
    for i in range(first[value], first[value + 1]):
        name = mentions[i]
        if rank[name] < 0:
            rank[name] = following[group[name]]
            following[group[name]] += 1


@compiled
def _name_the_rest(g, row, fields, naming, rank, following, held):  # type: ignore[no-untyped-def]
    """Give names to the records of a group that nothing mentions, by what they hold."""
    kind, own_first, own = naming[0], naming[4], naming[5]
    group_first, weight = naming[7], naming[11]
    rest_first, rest = naming[14], naming[15]
    begin, end = group_first[g], group_first[g + 1]
    if following[g] == end:
        return
    for name in range(begin, end):
        if rank[name] < 0:
            # a sum: keys that are left out add the same to all, which changes no order
            held[name] = 0
            for i in range(own_first[name], own_first[name + 1]):
                held[name] += weight[kind[own[i]], _code(row, own[i], fields)]
            for i in range(rest_first[name], rest_first[name + 1]):
                held[name] += weight[kind[rest[i]], _code(row, rest[i], fields)]
    for wanted in range(following[g], end):
        best = -1
        for name in range(begin, end):
            if rank[name] < 0 and (best < 0 or held[name] < held[best]):
                best = name
        rank[best] = wanted


@inlined
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
    """Value of each key; rank, next rank, contents; the names in order."""
    names, groups = len(naming[6]), len(naming[7]) - 1
    return tuple(
        np.empty(n, np.int64) for n in (len(fields), names, groups, names, names)
    )


@compiled
def _rank(row, fields, naming, scratch):  # type: ignore[no-untyped-def]
    """Find the names that the records of a state do best with.

    Returns whether they have other ones.
    """
    kind, free, own_first, own = naming[0], naming[3], naming[4], naming[5]
    group_first, numbered, named = naming[7], naming[8], naming[16]
    values, rank, following, held, order = scratch
    for key in named:
        values[key] = numbered[kind[key], _code(row, key, fields)]
    rank[:] = -1
    for g in range(len(following)):
        following[g] = group_first[g]
    for key in free:
        _name(values[key], naming, rank, following)
    for g in range(len(following)):
        _name_the_rest(g, row, fields, naming, rank, following, held)
        for name in range(group_first[g], group_first[g + 1]):
            order[rank[name]] = name
        for place in range(group_first[g], group_first[g + 1]):
            name = order[place]
            for i in range(own_first[name], own_first[name + 1]):
                _name(values[own[i]], naming, rank, following)
    others = False
    for name in range(len(rank)):
        others |= rank[name] != name
    return others


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
    kind, owner, cell = naming[:3]
    first, mentions, code = naming[9], naming[10], naming[13]
    rest_first, rest, named, bits = naming[14:18]
    values, rank = scratch[:2]
    if not _rank(row, fields, naming, scratch):
        for i in range(len(out)):
            out[i] = row[i]
        return missed, True
    for i in range(len(out)):
        out[i] = row[i] & ~bits[len(rank), i]
        for name in range(len(rank)):
            if rank[name] != name:
                out[i] &= ~bits[name, i]
    for name in range(len(rank)):
        if rank[name] != name:
            for i in range(rest_first[name], rest_first[name + 1]):
                target = cell[kind[rest[i]], rank[name]]
                _set(out, target, _code(row, rest[i], fields), fields)
    known = True
    for key in named:
        value = values[key]
        slot, here = _number(value, naming, rank)
        if here:
            target = key if owner[key] < 0 else cell[kind[key], rank[owner[key]]]
            _set(out, target, code[slot], fields)
            continue
        known = False
        if code[slot] != PENDING and missed < len(misses):
            code[slot] = PENDING
            names = np.int64(0)
            for i in range(first[value + 1] - 1, first[value] - 1, -1):
                names = (names << BITS) | rank[mentions[i]]
            misses[missed, 0] = -1 - kind[key]
            misses[missed, 1] = _code(row, key, fields)
            misses[missed, 2] = names
            missed += 1
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
    rest = [[key for key in keys if key in {*plain}] for keys in naming.own]
    return (
        np.array(naming.kind, np.uint32),
        np.array(naming.owner, np.int64),
        naming.cell,
        np.array([key for key in naming.free if key in {*named}], np.uint32),
        *_one_behind_the_other(own),
        np.array(naming.group, np.uint32),
        np.array(naming.group_first, np.int64),
        naming.value,
        mentions.astype(np.uint32),
        naming.mentions.items.used.astype(np.uint32),
        _weights(naming),
        naming.start.used,
        naming.code.used,
        *_one_behind_the_other(rest),
        np.array(named, np.uint32),
        np.array([_bits(keys, layout) for keys in (*rest, named)], Word),
    )


def _weights(naming: Naming) -> Any:
    """For each kind and code number, a number that does not change with the names."""
    found = np.zeros(naming.value.shape, np.int64)
    known = naming.value >= 0
    shapes = naming.shape.used[naming.value[known]].astype(np.uint64)
    found[known] = (shapes + np.uint64(1)) * WEIGHT >> SHIFT
    return found


def _bits(keys: list[int], layout: Layout) -> Any:
    """The bits of a row in which some cells are."""
    found = np.zeros(layout.words, Word)
    np.bitwise_or.at(found, layout.word[keys], (layout.mask << layout.shift)[keys])
    return found


def _one_behind_the_other(lists: list[list[int]]) -> tuple[Any, Any]:
    """Where each list begins, and the items of all."""
    first = np.cumsum([0, *(len(items) for items in lists)]).astype(np.uint32)
    return first, np.array([item for items in lists for item in items], np.uint32)


def places(layout: Layout) -> Any:
    """Word, shift and mask of each key, as an array."""
    return np.array(layout.fields[: len(layout.bits)], np.uint32)


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
