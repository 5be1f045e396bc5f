"""What the compiled engine does in machine code: walk trees, take steps, judge.

All functions work on arrays that `CompiledEngine` hands them. Memory is what they wait
for, so whatever can be is done for several states or steps side by side.
"""

from __future__ import annotations

import numpy as np

from spec.checker.compiling import compiled, inlined
from spec.checker.forest import CHILDREN, LEAF, MASK, PENDING, PLACE, WIDTH
from spec.checker.hash_table import enter
from spec.checker.packing import LOG_WORD, WORD, Word
from spec.checker.renaming import rename, scratch_for

MOST = 4096
"""The most steps that one state may have, and the most questions."""
BATCH = 512
"""About as many steps are judged, and their ends looked up, together."""
ABREAST = 16
"""So many walks go on side by side."""


@inlined
def _walk(slot, row, code):  # type: ignore[no-untyped-def]
    """The slot of the leaf to which a row leads."""
    node = code[slot]
    while node >= 0:
        place = code[node + PLACE]
        word = row[place >> LOG_WORD]
        number = np.int32(word >> Word(place & (WORD - 1))) & code[node + MASK]
        slot = node + CHILDREN + min(number, code[node + WIDTH])
        node = code[slot]
    return slot


@inlined
def _walk_abreast(slots, rows, places, count, code, known, whose, within):  # type: ignore[no-untyped-def]
    """Lead the rows at some places from `slots` to their leaves.

    Each step of a walk waits for memory; those of several rows wait together. What
    looks at a cell that is not `known` to `whose` command is not `within`.
    """
    walking = True
    while walking:
        walking = False
        for i in range(count):
            node = code[slots[i]]
            if node >= 0:
                walking = True
                within[i] &= known[whose[i], code[node]]
                place = code[node + PLACE]
                word = rows[places[i], place >> LOG_WORD]
                number = np.int32(word >> Word(place & (WORD - 1))) & code[node + MASK]
                slots[i] = node + CHILDREN + min(number, code[node + WIDTH])


@inlined
def _miss(code, slot, misses, missed, tree, position, command):  # type: ignore[no-untyped-def]
    """Note what is to be learned, once for each slot; returns the number of misses."""
    if code[slot] == PENDING or missed == len(misses):
        return missed
    code[slot] = PENDING
    misses[missed, 0] = tree
    misses[missed, 1] = position
    misses[missed, 2] = command
    return missed + 1


@compiled
def check(todo, rows, trees, tree_slot, code, cells, bad, redo, misses):  # type: ignore[no-untyped-def]
    """Evaluate properties of states.

    Returns how many states were looked at, how many are to be redone, and the number
    of misses.
    """
    redone = missed = 0
    slots = np.empty(ABREAST, np.int64)
    unknown = np.empty(ABREAST, np.bool_)
    within = np.empty(ABREAST, np.bool_)
    nobody = np.zeros(ABREAST, np.int32)
    nothing = np.zeros((1, cells), np.bool_)
    for done in range(0, len(todo), ABREAST):
        places = todo[done : done + ABREAST]
        if missed + len(places) * len(trees) > len(misses):
            return done, redone, missed
        unknown[:] = False
        for p in range(len(trees)):
            slots[:] = tree_slot[trees[p]]
            _walk_abreast(
                slots, rows, places, len(places), code, nothing, nobody, within
            )
            for i in range(len(places)):
                leaf = code[slots[i]]
                if leaf > LEAF:
                    unknown[i] = True
                    missed = _miss(
                        code, slots[i], misses, missed, trees[p], places[i], -1
                    )
                elif leaf == LEAF - 1:
                    bad[p] = True
        for i in range(len(places)):
            if unknown[i]:
                redo[redone] = places[i]
                redone += 1
    return len(todo), redone, missed


@compiled
def _commands(pair, position, code, steps, asked, found, misses, missed):  # type: ignore[no-untyped-def]
    """Find the commands that a state enables, thread by thread.

    Returns how many there are, whether some thread may not stay where it is, whether
    not all is known, and the number of misses.
    """
    tree_slot, places, step_tree, resting, first_option, option_tree = steps[:6]
    commands, thread, single = found
    active = unknown = False
    count = 0
    for t in range(len(places)):
        here = np.int64(pair[places[t, 0]] >> Word(places[t, 1])) & places[t, 2]
        active |= not resting[t, here]
        single[t] = -1
        asked[0] = step_tree[t, here]
        asks, asked_in_all = 1, 1
        while asks > 0:
            asks -= 1
            tree = asked[asks]
            slot = _walk(tree_slot[tree], pair, code)
            leaf = code[slot]
            if leaf > LEAF:
                unknown = True
                missed = _miss(code, slot, misses, missed, tree, position, -1)
                continue
            number = LEAF - leaf
            if number % 2 == 0:
                commands[count], thread[count] = number // 2, t
                single[t] = number // 2 if asked_in_all == 1 else -1
                count += 1
                continue
            first, end = first_option[number // 2], first_option[number // 2 + 1]
            if count + asks + end - first > len(asked):
                raise ValueError("a state has more steps than the engine has room for")
            for option in range(first, end):
                asked[asks] = option_tree[option]
                asks += 1
            asked_in_all += end - first
    return count, active, unknown, missed


@inlined
def _commute(one, other, footprints):  # type: ignore[no-untyped-def]
    """Whether two commands of different threads lead to one state in either order."""
    reads, writes = footprints
    for i in range(reads.shape[1]):
        if writes[one, i] & (reads[other, i] | writes[other, i]):
            return False
        if writes[other, i] & reads[one, i]:
            return False
    return True


@inlined
def _sleeping(command, thread, single, asleep, footprints):  # type: ignore[no-untyped-def]
    """The threads that sleep after a command, as bits; see `Sleep`."""
    found = 0
    for t in range(len(single)):
        if t == thread or single[t] < 0 or not (t < thread or (asleep >> t) & 1):
            continue
        if _commute(command, single[t], footprints):
            found |= 1 << t
    return found


@inlined
def _take(pair, command, kept, bits):  # type: ignore[no-untyped-def]
    """Write the state after a command behind the one before it."""
    words = len(pair) // 2
    for i in range(words):
        pair[words + i] = (pair[i] & kept[command, i]) | bits[command, i]


@compiled
def _judge(batch, count, states, code, tree_slot, judges, said, misses, missed):  # type: ignore[no-untyped-def]
    """Judge the steps of a batch; returns the number of misses.

    Steps of which not all is known have their state marked as unknown.
    """
    form, first_judge, judge_tree, judge_predicate, raised = judges[:5]
    settled, at, noted = judges[6:]
    commands = batch[1]
    slots = np.empty(ABREAST, np.int64)
    trees, places, whose = np.empty((3, ABREAST), np.int32)
    answers = np.empty(ABREAST, np.int64)
    waiting = 0
    queue = slots, trees, places, whose, answers, np.empty(ABREAST, np.bool_)
    for step in range(count):
        command = commands[step]
        said[raised[command]] = True
        first = first_judge[form[command]]
        for j in range(first, first_judge[form[command] + 1]):
            answer = at[command] + j - first
            predicate = judge_predicate[j]
            if settled[answer] or (predicate >= 0 and noted[predicate]):
                continue
            slots[waiting] = tree_slot[judge_tree[j]]
            trees[waiting] = judge_tree[j]
            places[waiting] = step
            whose[waiting] = command
            answers[waiting] = answer
            waiting += 1
            if waiting == ABREAST:
                missed = _say(
                    queue, waiting, batch, states, code, judges, said, misses, missed
                )
                waiting = 0
    return _say(queue, waiting, batch, states, code, judges, said, misses, missed)


@inlined
def _say(queue, waiting, batch, states, code, judges, said, misses, missed):  # type: ignore[no-untyped-def]
    """Make the judgements that wait; returns the number of misses."""
    slots, trees, places, whose, answers, within = queue
    pairs, _, owner = batch
    todo, unknown = states
    known, settled = judges[5:7]
    within[:] = True
    _walk_abreast(slots, pairs, places, waiting, code, known, whose, within)
    for i in range(waiting):
        leaf = code[slots[i]]
        if leaf > LEAF:
            state = owner[places[i]]
            unknown[state] = True
            missed = _miss(
                code, slots[i], misses, missed, trees[i], todo[state], whose[i]
            )
        else:
            said[LEAF - leaf] = True
            settled[answers[i]] |= within[i]
    return missed


@compiled
def expand(  # type: ignore[no-untyped-def]
    todo, rows, size, entered, code, steps, judges, renaming, asleep, said, redo, misses
):
    """Take all steps from states; new states are entered behind the others.

    Returns how many states were looked at, the number of rows, of transitions, of
    those not followed, of states to be redone, of misses, and whether a deadlock was
    met.
    """
    words = rows.shape[1]
    tree_slot, kept, bits = steps[0], steps[6], steps[7]
    footprints = steps[8:10]
    in_order, since, threads = asleep[:3]
    transitions = unfollowed = redone = missed = done = 0
    deadlock = False
    asked = np.empty(MOST, np.int32)
    found = (
        np.empty(MOST, np.int32),
        np.empty(MOST, np.int32),
        np.empty(len(steps[1]), np.int32),
    )
    pairs = np.empty((BATCH + MOST, 2 * words), Word)
    commands, owner, sleeping = np.empty((3, BATCH + MOST), np.int32)
    slept = np.empty(BATCH + MOST, np.bool_)
    batch = pairs, commands, owner
    ends = (
        np.empty((BATCH + MOST, words), Word),
        np.empty(BATCH + MOST + 1, np.uint64),
        np.empty(BATCH + MOST, np.int32),
    )
    unknown = np.empty(BATCH, np.bool_)
    scratch = scratch_for(*renaming[1:])
    while done < len(todo):
        if missed + MOST > len(misses) or size + BATCH + MOST > len(rows):
            break
        states = todo[done : done + BATCH], unknown
        unknown[:] = False
        count = state = 0
        while state < len(states[0]) and count < BATCH:
            position = states[0][state]
            before = rows[position]
            moves, active, unknown[state], missed = _commands(
                before, position, code, steps, asked, found, misses, missed
            )
            deadlock |= active and moves == 0 and not unknown[state]
            here = threads[position - since] if in_order and position >= since else 0
            for move in range(moves):
                command, thread = found[0][move], found[1][move]
                pairs[count, :words] = before
                _take(pairs[count], command, kept, bits)
                commands[count], owner[count] = command, state
                slept[count] = (here >> thread) & 1
                sleeping[count] = 0
                if in_order:
                    sleeping[count] = _sleeping(
                        command, thread, found[2], here, footprints
                    )
                count += 1
            state += 1
        missed = _judge(
            batch, count, states, code, tree_slot, judges, said, misses, missed
        )
        new, missed = _ends(
            batch,
            count,
            unknown,
            slept,
            sleeping,
            renaming,
            scratch,
            ends,
            misses,
            missed,
        )
        size = enter(ends, new, rows, size, entered, asleep)
        for step in range(count):
            transitions += not unknown[owner[step]]
            unfollowed += slept[step]
        for i in range(state):
            if unknown[i]:
                redo[redone] = states[0][i]
                redone += 1
        done += state
    return done, size, transitions, unfollowed, redone, missed, deadlock


@compiled
def _ends(  # type: ignore[no-untyped-def]
    batch, count, unknown, slept, sleeping, renaming, scratch, ends, misses, missed
):
    """The states to which the steps of a batch lead, renamed if that is wanted.

    The ends of steps of sleeping threads are left out. Returns how many ends there are
    and the number of misses.
    """
    pairs, _, owner = batch
    after, _, sleeping_after = ends
    symmetry, fields, naming = renaming
    words = after.shape[1]
    new = 0
    for step in range(count):
        if slept[step]:
            continue
        sleeping_after[new] = sleeping[step]
        if symmetry:
            missed, named = rename(
                pairs[step, words:], after[new], fields, naming, scratch, misses, missed
            )
            unknown[owner[step]] |= not named
            new += named
        else:
            after[new] = pairs[step, words:]
            new += 1
    return new, missed
