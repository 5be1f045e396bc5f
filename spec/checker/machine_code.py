"""What the compiled engine does in machine code: walk trees, take steps, judge.

All functions work on arrays that `CompiledEngine` hands them, and make none: see
`compiling`. What a walk through trees gave is kept in a memo, and asked there first.
"""

from __future__ import annotations

import numpy as np

from spec.checker.compiling import compiled, inlined
from spec.checker.entering import enter
from spec.checker.forest import CHILDREN, LEAF, MASK, PENDING, PLACE, WIDTH
from spec.checker.memo import recall, remember
from spec.checker.packing import LOG_WORD, WORD, Word
from spec.checker.renaming import rename

MOST = 4096
"""The most steps that one state may have, and the most questions."""
BATCH = 512
"""About as many steps are judged, and their ends looked up, together."""


@inlined
def _walk(slot, row, code, looked):  # type: ignore[no-untyped-def]
    """The slot of the leaf to which a row leads; notes at which bits was looked."""
    node = code[slot]
    while node >= 0:
        place, mask = code[node + PLACE], code[node + MASK]
        word, shift = place >> LOG_WORD, Word(place & (WORD - 1))
        looked[word] |= Word(mask) << shift
        number = np.int32(row[word] >> shift) & mask
        slot = node + CHILDREN + min(number, code[node + WIDTH])
        node = code[slot]
    return slot


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


@inlined
def _look_as_all(looked, question):  # type: ignore[no-untyped-def]
    """Let a question depend on what any of those before it depends on."""
    for before in range(question):
        for i in range(looked.shape[1]):
            looked[question, i] |= looked[before, i]


@compiled
def check(todo, rows, trees, tree_slot, code, memo, bad, redo, misses):  # type: ignore[no-untyped-def]
    """Evaluate properties of states.

    Whether all of them hold is one question more, asked first: most often they do.

    Returns how many states were looked at, how many are to be redone, and the number
    of misses.
    """
    redone = missed = 0
    everything = len(trees)
    for done in range(len(todo)):
        if missed + len(trees) > len(misses):
            return done, redone, missed
        row = rows[todo[done]]
        _, held = recall(row, everything, memo)
        if held:
            continue
        unknown = broken = False
        for p in range(len(trees)):
            _, held = recall(row, p, memo)
            if held:
                continue
            slot = _walk(tree_slot[trees[p]], row, code, memo[0][p])
            leaf = code[slot]
            if leaf > LEAF:
                unknown = True
                missed = _miss(code, slot, misses, missed, trees[p], todo[done], -1)
            elif leaf == LEAF - 1:
                bad[p] = broken = True
            else:
                remember(row, p, memo)
        if unknown:
            redo[redone] = todo[done]
            redone += 1
        elif not broken:
            _look_as_all(memo[0], everything)
            remember(row, everything, memo)
    return len(todo), redone, missed


@compiled
def _commands(row, position, code, steps, memo, found, asked, misses, missed):  # type: ignore[no-untyped-def]
    """Find the commands that a state enables, thread by thread.

    Returns how many there are, whether some thread may not stay where it is, whether
    not all is known, and the number of misses.
    """
    places, step_tree, resting = steps[1:4]
    commands, thread, single = found
    answers, lists = memo[1:]
    active = unknown = False
    count = 0
    for t in range(len(places)):
        here = np.int64(row[places[t, 0]] >> Word(places[t, 1])) & places[t, 2]
        active |= not resting[t, here]
        tree = step_tree[t, here]
        slot, known = recall(row, tree, memo[0])
        first = answers[slot]
        if not known:
            first, known, missed = _list_commands(
                row, position, tree, code, steps, memo, asked, misses, missed
            )
            unknown |= not known
        single[t] = lists[first + 1]
        if count + lists[first] > MOST:
            raise ValueError("a state has more steps than the engine has room for")
        for i in range(lists[first]):
            commands[count + i], thread[count + i] = lists[first + 2 + i], t
        count += lists[first]
    return count, active, unknown, missed


@compiled
def _list_commands(row, position, root, code, steps, memo, asked, misses, missed):  # type: ignore[no-untyped-def]
    """List the commands of one thread, and keep the list if all of it is known.

    A list is its length, the command of a thread that is asked no question, or -1, and
    all commands. Returns where it begins, whether it is known, and the number of
    misses.
    """
    tree_slot, first_option, option_tree = steps[0], steps[4], steps[5]
    (looked, keys), answers, lists = memo
    if lists[0] + MOST > len(lists):
        # nothing is kept any more
        keys[:] = 0
        lists[0] = 1
    first = lists[0]
    end = first + 2
    lists[first + 1] = -1
    asked[0], asks = root, 1
    known = True
    while asks > 0:
        asks -= 1
        tree = asked[asks]
        slot = _walk(tree_slot[tree], row, code, looked[root])
        leaf = code[slot]
        if leaf > LEAF:
            known = False
            missed = _miss(code, slot, misses, missed, tree, position, -1)
            continue
        number = LEAF - leaf
        if number % 2 == 0:
            lists[end] = number // 2
            if tree == root:
                lists[first + 1] = number // 2
            end += 1
            continue
        begin, behind = first_option[number // 2], first_option[number // 2 + 1]
        if end - first + asks + behind - begin > MOST:
            raise ValueError("a state has more steps than the engine has room for")
        for option in range(begin, behind):
            asked[asks] = option_tree[option]
            asks += 1
    lists[first] = end - first - 2
    if known:
        answers[remember(row, root, memo[0])] = first
        lists[0] = end
    return first, known, missed


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
def _take(before, command, kept, bits, pair):  # type: ignore[no-untyped-def]
    """Write a state, and behind it the one after a command."""
    words = len(before)
    for i in range(words):
        pair[i] = before[i]
        pair[words + i] = (before[i] & kept[command, i]) | bits[command, i]


@compiled
def _judge(batch, count, states, code, steps, judges, looked, said, misses, missed):  # type: ignore[no-untyped-def]
    """Judge the steps of a batch; returns the number of misses.

    Steps of which not all is known have their state marked as unknown.
    """
    pairs, commands, owner = batch
    todo, unknown = states
    memo = judges[5]
    for step in range(count):
        command, state = commands[step], owner[step]
        _, judged = recall(pairs[step], command, memo)
        if not judged:
            known, missed = _say(
                pairs[step],
                todo[state],
                command,
                code,
                steps,
                judges,
                looked,
                said,
                misses,
                missed,
            )
            unknown[state] |= not known
    return missed


@compiled
def _say(pair, position, command, code, steps, judges, looked, said, misses, missed):  # type: ignore[no-untyped-def]
    """Say what is to be said of a step, and remember that it was.

    Returns whether all is known, and the number of misses.
    """
    form, first_judge, judge_tree, judge_predicate, raised, memo, noted = judges
    tree_slot, kept = steps[0], steps[6]
    said[raised[command]] = True
    looked[:] = 0
    known = True
    for j in range(first_judge[form[command]], first_judge[form[command] + 1]):
        predicate = judge_predicate[j]
        if predicate >= 0 and noted[predicate]:
            continue
        slot = _walk(tree_slot[judge_tree[j]], pair, code, looked)
        leaf = code[slot]
        if leaf > LEAF:
            known = False
            missed = _miss(code, slot, misses, missed, judge_tree[j], position, command)
        else:
            said[LEAF - leaf] = True
    words = len(pair) // 2
    for i in range(words):
        # after the step a cell is as before, unless the command has assigned it
        memo[0][command, i] |= looked[i] | (looked[words + i] & kept[command, i])
    if known:
        remember(pair, command, memo)
    return known, missed


@compiled
def expand(  # type: ignore[no-untyped-def]
    todo,
    rows,
    size,
    entered,
    archive,
    code,
    steps,
    enabled,
    judges,
    renaming,
    asleep,
    work,
    said,
    redo,
    misses,
):
    """Take all steps from states; new states are entered behind the others.

    Room to work in is `work`, see `workspace`. Returns how many states were looked at,
    the number of rows, of transitions, of those not followed, of states to be redone,
    of misses, and whether a deadlock was met.
    """
    kept, bits = steps[6:8]
    footprints = steps[8:10]
    in_order, since, threads = asleep[:3]
    transitions = unfollowed = redone = missed = done = 0
    deadlock = False
    found, batch, slept, sleeping, ends, unknown, asked, looked = work
    pairs, commands, owner = batch
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
                before, position, code, steps, enabled, found, asked, misses, missed
            )
            deadlock |= active and moves == 0 and not unknown[state]
            here = threads[position - since] if in_order and position >= since else 0
            for move in range(moves):
                command, thread = found[0][move], found[1][move]
                _take(before, command, kept, bits, pairs[count])
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
            batch, count, states, code, steps, judges, looked, said, misses, missed
        )
        new, missed = _ends(
            batch,
            count,
            unknown,
            slept,
            sleeping,
            renaming,
            ends,
            misses,
            missed,
        )
        size = enter(ends, new, rows, size, entered, archive, asleep)
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
    batch, count, unknown, slept, sleeping, renaming, ends, misses, missed
):
    """The states to which the steps of a batch lead, renamed if that is wanted.

    The ends of steps of sleeping threads are left out. Returns how many ends there are
    and the number of misses.
    """
    pairs, _, owner = batch
    after, _, sleeping_after = ends[:3]
    symmetry, fields, naming, scratch = renaming
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
            for i in range(words):
                after[new, i] = pairs[step, words + i]
            new += 1
    return new, missed
