"""Collect chapters: one test per code cell, one per `pycon` block in their prose.

`spec/fork.py::cell-7` is the cell that the site shows at `#cell-7`. The cells run once,
in a process per chapter, through the same cache that the site is built from.
"""

import doctest
import importlib
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from spec.publish import chapters

PYCON = re.compile(r"^```\s*\{?\s*\.?pycon[^\n]*\n(.*?)^```", re.M | re.S)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--run-cells",
        action="store_true",
        help="run the cells of chapters although their results are cached",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, Any, Any]:
    """Chapters yield their cells and the doctests of their docstrings.

    A notebook yields its cells only: doctest would import it and so run it.
    """
    found = yield
    if not chapters.is_chapter(file_path):
        return found
    modules = found if chapters.module_name(file_path) else []
    return [ChapterFile.from_parent(parent, path=file_path), *modules]


class ChapterFile(pytest.File):
    _executed: Any = None
    _error: chapters.ChapterError | None = None

    def executed(self) -> Any:
        if self._error:
            raise self._error
        if self._executed is None:
            force = self.config.getoption("--run-cells")
            try:
                self._executed = chapters.execute(self.path, force=force)
            except chapters.ChapterError as error:
                self._error = error
                raise
        return self._executed

    def collect(self) -> Iterator[pytest.Item]:
        notebook = chapters.read(self.path)
        lines = chapters.cell_lines(self.path, notebook)
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                yield CellItem.from_parent(
                    self, name=f"cell-{number}", number=number, line=lines[number]
                )
            elif cell.cell_type == "markdown":
                for k, found in enumerate(PYCON.finditer(cell.source)):
                    offset = cell.source.count("\n", 0, found.start(1)) + 1
                    yield PyconItem.from_parent(
                        self,
                        name=f"pycon-{number}.{k}",
                        block=found[1],
                        line=lines[number] + offset,
                    )


class Failed(Exception):
    """What a cell or a block put out; shown without this module's own traceback."""


class ChapterItem(pytest.Item):
    parent: ChapterFile

    def __init__(self, *, line: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.line = line

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        if isinstance(excinfo.value, Failed | chapters.ChapterError):
            return f"{self.path}:{self.line}\n{excinfo.value}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.line - 1, self.name


class CellItem(ChapterItem):
    def __init__(self, *, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number = number

    def runtest(self) -> None:
        cell = self.parent.executed().cells[self.number]
        if cell.execution_count is None and cell.source.strip():
            pytest.skip("a cell before it failed")
        if problem := chapters.problem(cell):
            text = [o.traceback for o in cell.outputs if o.output_type == "error"]
            trace = "\n".join(text[0]) if text else problem
            raise Failed(chapters.without_colours(trace))


class PyconItem(ChapterItem):
    def __init__(self, *, block: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def runtest(self) -> None:
        """In a chapter of the package, with the names which that chapter defines."""
        module = chapters.module_name(self.path)
        names = dict(vars(importlib.import_module(module))) if module else {}
        parser = doctest.DocTestParser()
        test = parser.get_doctest(
            self.block, names, self.name, str(self.path), self.line - 1
        )
        out: list[str] = []
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        runner.run(test, out=out.append)
        if runner.failures:
            raise Failed("".join(out))
