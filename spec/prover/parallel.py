"""Questions that have nothing to do with each other, asked in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Work = Callable[[int], Any]
_work: Work
_next: Callable[[], int]


def side_by_side[T](
    begin: Callable[[], Callable[[int], T]],
    numbers: Sequence[int],
    workers: int,
    at_once: int = 1,
) -> Iterator[tuple[int, T]]:
    """Each number with what it gives, in any order.

    Half of the processes begin at the end: what is alike stands together, and meets
    as few processes as can be, which learn from it.

    Args:
        begin: makes in each process what is called with numbers. It is not sent to the
            processes, they are forked with it; so it can be anything.
        numbers: for what.
        workers: how many processes to use.
        at_once: how many numbers a process is given together.
    """
    if workers <= 1 or "fork" not in multiprocessing.get_all_start_methods():
        work = begin()
        yield from ((number, work(number)) for number in numbers)
        return
    context = multiprocessing.get_context("fork")
    ends = context.Array("i", [0, len(numbers)])
    started = context.Value("i", 0)
    with context.Pool(workers, _begin, (begin, numbers, ends, started)) as pool:
        yield from pool.imap_unordered(_go_on, numbers, chunksize=at_once)


def in_order[T](work: Callable[[int], T], count: int, workers: int) -> list[T]:
    """What `work` gives for 0, 1, and so on, in this order."""
    found = dict(side_by_side(lambda: work, range(count), workers))
    return [found[number] for number in range(count)]


def _begin(
    begin: Callable[[], Work], numbers: Sequence[int], ends: Any, started: Any
) -> None:
    """Begin a process that takes its numbers from one end of those that are left."""
    global _work, _next
    with started.get_lock():
        from_the_end = started.value % 2 == 1
        started.value += 1

    def next_() -> int:
        with ends.get_lock():
            first, last = ends[0], ends[1] - 1
            ends[:] = [first, last] if from_the_end else [first + 1, last + 1]
        number: int = numbers[last if from_the_end else first]
        return number

    _work, _next = begin(), next_


def _go_on(_: int) -> tuple[int, Any]:
    """Do the next one: which it is is for the process to say, not for the pool."""
    number = _next()
    return number, _work(number)
