"""What was found out of states, kept under the cells that decided it.

A property, a step or a judgement looks at few cells, and states agree on these again
and again. Trees know what each gives, but to walk them takes most of the time. A *memo*
keeps what was found out under all bits of a row that were looked at; the next state
with these bits is spared the walks.

A memo forgets: what has the same slot takes the place of what was there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spec.checker.compiling import inlined
from spec.checker.hash_table import SECOND_MULTIPLIER, mix, slot_for
from spec.checker.packing import Word, Words

SLOTS = 1 << 18
"""Of a memo. With a quarter of them, properties took two thirds more time."""
LISTS = 1 << 22
"""Numbers that all lists of a memo have room for."""


class Memo:
    """For questions about rows, which of them were answered.

    A question is a number: of a property, of a tree, of a command. What its answer
    depends on is learned from the walks that are made for it: the bits at which they
    looked. There will be more of these, never less. So a row that agrees with a key in
    all bits known by now agrees with it in those that were known when it was kept.

    Args:
        words: of each row.

    Attributes:
        looked: for each question the bits that decide it.
        keys: for each slot these bits of a row; behind them the number of the question,
            counted from 1, so that nothing is found in an empty slot.
    """

    def __init__(self, words: int) -> None:
        self.looked = np.zeros((0, words), Word)
        self.keys = np.zeros((SLOTS, words + 1), Word)

    def arrays(self, questions: int) -> tuple[Words, Words]:
        """What machine code is given, with room for so many questions."""
        more = questions - len(self.looked)
        if more > 0:
            self.looked = np.pad(self.looked, ((0, more), (0, 0)))
        return self.looked, self.keys


class MemoOfLists(Memo):
    """The same, with a list of numbers as each answer.

    Attributes:
        first: for each slot, where its list begins.
        lists: all of them; at 0, where the next one will begin.
    """

    def __init__(self, words: int) -> None:
        super().__init__(words)
        self.first = np.zeros(len(self.keys), np.int32)
        self.lists = np.zeros(LISTS, np.int32)
        self.lists[0] = 1

    def with_lists(self, questions: int) -> tuple[Any, ...]:
        """What machine code is given, with room for so many questions."""
        return self.arrays(questions), self.first, self.lists


@inlined
def recall(row, question, memo):  # type: ignore[no-untyped-def]
    """Where the answer to a question about a row is kept, and whether it is there."""
    looked, keys = memo
    words = looked.shape[1]
    # numba asks of what has no sign not whether it counts from the end
    asked = np.uint32(question)
    mixed = np.uint64(question + 1)
    for i in range(words):
        mixed = mix(mixed, row[i] & looked[asked, i])
    slot = slot_for(mixed * SECOND_MULTIPLIER, len(keys))
    same = keys[slot, words] == Word(question + 1)
    for i in range(words):
        same &= keys[slot, i] == row[i] & looked[asked, i]
    return slot, same


@inlined
def remember(row, question, memo):  # type: ignore[no-untyped-def]
    """Keep that a question about a row is answered; returns where.

    All bits that its answer depends on have to be noted in `looked` before.
    """
    looked, keys = memo
    slot, _ = recall(row, question, memo)
    for i in range(looked.shape[1]):
        keys[slot, i] = row[i] & looked[question, i]
    keys[slot, looked.shape[1]] = Word(question + 1)
    return slot
