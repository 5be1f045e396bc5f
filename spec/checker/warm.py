"""Compile the engine before it is needed: ``python -m spec.checker.warm``.

numba keeps what it has compiled beside the source files. What it has kept of other
versions of these is removed.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from shutil import rmtree
from typing import Any

import numpy as np

from spec.cells import Cells
from spec.checker.archive import Archive
from spec.checker.compiling import CACHES, cache_folder
from spec.checker.explore import explore
from spec.checker.packing import Layout, Word
from spec.checker.program import Options, Program


def once(cells: Cells) -> Generator[Any, None, Any]:
    """Take one step."""
    yield
    cells.write("p.n", cells.read("p.n") + 1)
    yield


def main() -> None:
    """Explore the smallest program in each way that has code of its own."""
    program = Program([{"p.n": 0}], {"once": once}, interchangeable=[("p",)])
    if find_spec("numba") is None:
        return
    for folder in set(CACHES.glob("numba-*")) - {cache_folder()}:
        rmtree(folder, ignore_errors=True)
    for engine in ("numba", "numpy"):
        explore(program, options=Options(engine=engine, symmetry=True))
    archive = Archive(Layout(("p.n", "p.m"), (1 << 20, 1 << 20), 0), 1)
    archive.add(np.zeros((1, 2), Word))


if __name__ == "__main__":
    main()
