"""Check what a reader has changed in a chapter that is open as a notebook."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

_BEFORE = set(sys.modules)
"""What the cells of the chapter have imported: it stays as they see it."""


class _Unasserted(SourceFileLoader):
    """Loads a chapter whose examples assert nothing.

    They may fail with what the reader has changed; exploring is to say why.
    """

    def get_code(self, fullname: str) -> CodeType:
        """The code of the module."""
        tree = ast.parse(self.get_data(self.path), self.path)
        tree.body = [
            # What is asserted is still done: later examples build on it.
            ast.copy_location(ast.Expr(node.test), node)
            if isinstance(node, ast.Assert)
            else node
            for node in tree.body
        ]
        code: CodeType = compile(tree, self.path, "exec")
        return code


class _Finder:
    """Finds modules of the package, and has their examples assert nothing."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the module is and how it is loaded."""
        found = PathFinder.find_spec(name, path, target)
        if found and name.startswith("spec.") and found.origin:
            found.loader = _Unasserted(name, found.origin)
        return found


@contextmanager
def _later_chapters_anew() -> Iterator[None]:
    """Import what uses the chapter again: it may know an older function of it."""
    for name in [name for name in sys.modules if name not in _BEFORE]:
        package, _, stem = name.rpartition(".")
        if name.partition(".")[0] == "spec":
            del sys.modules[name]
            if parent := sys.modules.get(package):
                vars(parent).pop(stem, None)
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def check(
    *clients: tuple[str, str],
    starts: Sequence[str] = ("write",),
    processes: int = 2,
    model: str = "sketch",
) -> None:
    """Explore all interleavings with the chapter as it is now; print what breaks.

    Args:
        clients: for each CPU the processes that it acts on and its menu, as
            ``("A", "fork; write 1")``.
        starts: what the first process has done before.
        processes: how many can exist.
        model: the name of the model.

    Raises:
        SpecificationError: there is no such model.
    """
    with _later_chapters_anew():
        from spec.bounds import program
        from spec.checker.search import search
        from spec.clients import section
        from spec.publish.traces import violation_text
        from spec.releases import find_model

        menus = section(*clients, starts=tuple(starts), processes=processes)
        verdict = search(program(menus, find_model(model)))
        if verdict.holds:
            print("All rules and guarantees hold in all interleavings.")
        else:
            print(violation_text(verdict.violations[0]))
