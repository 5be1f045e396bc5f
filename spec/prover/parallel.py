"""Questions that have nothing to do with each other, asked in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Work = Callable[[int], Any]
_work: Work


def side_by_side[T](
    begin: Callable[[], Callable[[int], T]],
    numbers: Sequence[int],
    workers: int,
    at_once: int = 1,
) -> Iterator[tuple[int, T]]:
    """Each number with what it gives, in any order.

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
    with context.Pool(workers, _begin, (begin,)) as pool:
        yield from pool.imap_unordered(_go_on, numbers, chunksize=at_once)


def in_order[T](work: Callable[[int], T], count: int, workers: int) -> list[T]:
    """What `work` gives for 0, 1, and so on, in this order."""
    found = dict(side_by_side(lambda: work, range(count), workers))
    return [found[number] for number in range(count)]


def _begin(begin: Callable[[], Work]) -> None:
    global _work
    _work = begin()


def _go_on(number: int) -> tuple[int, Any]:
    return number, _work(number)
