"""Compile the engine before it is needed: ``python -m spec.checker.warm``.

numba keeps what it has compiled beside the source files.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib.util import find_spec
from typing import Any

from spec.cells import Cells
from spec.checker.explore import explore
from spec.checker.program import Options, Program


def once(cells: Cells) -> Generator[Any, None, Any]:
    """Take one step."""
    yield
    cells.write("p.n", cells.read("p.n") + 1)
    yield


def main() -> None:
    """Explore the smallest program in each way that has code of its own."""
    program = Program([{"p.n": 0}], {"once": once}, interchangeable=[("p",)])
    for engine in ("numba", "numpy") if find_spec("numba") is not None else ():
        explore(program, options=Options(engine=engine, symmetry=True))


if __name__ == "__main__":
    main()
