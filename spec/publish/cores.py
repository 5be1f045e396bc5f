"""Work that is shared between the cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor


def on_all_cores[S, T](function: Callable[[S], T], given: Iterable[S]) -> list[T]:
    """What `function`, which must stand in a module, says of each.

    What is one job of the store of verdicts, and the last, would leave a core idle.
    """
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), fresh) as pool:
        return list(pool.map(function, given))
