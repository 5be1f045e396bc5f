"""Run the cells of a chapter where its reader is: on the page, in a browser.

The page's worker imports this in Pyodide, so it needs the standard library only. A
chapter of the package runs inside the module of its own name, as when the site is
built: what a cell of `spec/fork.py` defines is what everything else then uses.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import importlib.util
import io
import linecache
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import CodeType, ModuleType, TracebackType
from typing import Any

PACKAGE = __name__.partition(".")[0]
MOST_TEXT = 200_000
"""Characters that one cell may print; a page with more of them would stop moving."""

_ANNOTATIONS = __future__.annotations.compiler_flag
_RICH = (("_repr_html_", "html"), ("_repr_svg_", "svg"))


def module_for(name: str) -> ModuleType:
    """A new, empty module in the place of the chapter `name`, for its cells to run in.

    Raises:
        RuntimeError: the chapter is imported already: its classes would exist twice.
    """
    if name in sys.modules:
        raise RuntimeError(f"{name} is imported before its cells run")
    package, _, stem = name.rpartition(".")
    parent = importlib.import_module(package)
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    setattr(parent, stem, module)
    return module


def enter(name: str) -> None:
    """Let the cells of this Jupyter notebook run inside the chapter `name`."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise RuntimeError("enter() is for the first cell of a notebook")
    shell.user_module = module_for(name)
    shell.user_ns = shell.user_module.__dict__
    shell.init_user_ns()


@dataclass(frozen=True)
class Cell:
    """A code cell.

    Args:
        number: in the notebook.
        source: its code.
        raises: whether it must raise.
        may_fail: whether what follows it runs in any case, as when a changed chapter
            is checked whose examples no longer hold.
    """

    number: int
    source: str
    raises: bool = False
    may_fail: bool = False

    @property
    def name(self) -> str:
        """What tracebacks call it."""
        return f"cell {self.number}"


@dataclass(frozen=True)
class Outcome:
    """Whether all cells did as they should, and the module that one of them lacked."""

    good: bool
    missing: str = ""


Send = Callable[[str, int, str], None]
"""Told what happens: the kind of event, the number of the cell, and a text.

Kinds are ``begin``; ``stdout``, ``stderr``, ``text``, ``html``, ``svg`` for what the
cell puts out; ``error`` and ``traceback``; ``end`` with the seconds that it took.
"""


class _Stream(io.TextIOBase):
    """Text that a cell prints, sent line by line."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._line = ""
        self._left = MOST_TEXT

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._line += text
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        text, self._line = self._line, ""
        if text and self._left > 0:
            self._send(text[: self._left])
            self._left -= len(text)
            if self._left <= 0:
                self._send("\n... (the rest is not shown)\n")


class Session:
    """One reader's run of one chapter.

    Args:
        module: the chapter's module, or None for a notebook that is none.
        send: told what happens.
    """

    def __init__(self, module: str | None, send: Send) -> None:
        self._module = module
        self._send = send
        self._done: list[Cell] = []
        self._broken = True  # so that the first run begins anew
        self._namespace: dict[str, Any] = {}
        self._flags = 0

    def run(self, told: Sequence[Mapping[str, Any]]) -> Outcome:
        """Run the last of the cells after the others.

        What has run already, and just as it is now, does not run again. A cell that is
        asked for a second time runs in a new namespace after those before it, so that
        it gives what it gave the first time.

        Args:
            told: the fields of each `Cell`, in the order of the notebook.
        """
        cells = [Cell(**fields) for fields in told]
        known = len(self._done)
        if self._broken or known >= len(cells) or cells[:known] != self._done:
            self._begin_anew()
            known = 0
        for cell in cells[known:]:
            error = self._run_cell(cell)
            if (error is not None) != cell.raises and not cell.may_fail:
                self._broken = True
                return Outcome(False, _missing(error))
            self._done.append(cell)
        return Outcome(True)

    def _begin_anew(self) -> None:
        """Forget what cells have defined, and every module that they may have changed.

        This module goes on running: nothing of it is looked up in `sys.modules`.
        """
        self._done, self._broken, self._flags = [], False, 0
        for name in [n for n in sys.modules if n.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
        if self._module is None:
            sys.modules["__main__"] = ModuleType("__main__")
            self._namespace = sys.modules["__main__"].__dict__
        else:
            self._namespace = module_for(self._module).__dict__

    def _run_cell(self, cell: Cell) -> BaseException | None:
        """Run one cell and tell of it; returns what it raised."""

        def told(kind: str) -> Callable[[str], None]:
            return lambda text: self._send(kind, cell.number, text)

        told("begin")("")
        began = time.monotonic()
        out, err = _Stream(told("stdout")), _Stream(told("stderr"))
        raised: BaseException | None = None
        try:
            with redirect_stdout(out), redirect_stderr(err):
                value = self._value(cell)
                out.flush()
                if value is not None:
                    kind, text = shown(value)
                    told(kind)(text)
        except BaseException as error:
            raised = error
            out.flush()
            name, message = type(error).__name__, str(error)
            told("error")(f"{name}: {message}" if message else name)
            told("traceback")(traceback_of(error, cell.name))
        err.flush()
        told("end")(f"{time.monotonic() - began:.3f}")
        return raised

    def _value(self, cell: Cell) -> Any:
        """Execute the cell; the value of its last line if that is an expression."""
        # Tracebacks show the lines, and rules hash the code of their predicates.
        lines = [f"{line}\n" for line in cell.source.split("\n")]
        linecache.cache[cell.name] = len(cell.source), None, lines, cell.name
        tree = ast.parse(cell.source, cell.name)
        last = tree.body[-1] if tree.body else None
        if not isinstance(last, ast.Expr):
            exec(self._compiled(tree, cell.name, "exec"), self._namespace)
            return None
        tree.body.pop()
        exec(self._compiled(tree, cell.name, "exec"), self._namespace)
        expression = ast.Expression(last.value)
        return eval(self._compiled(expression, cell.name, "eval"), self._namespace)

    def _compiled(
        self, tree: ast.Module | ast.Expression, name: str, mode: str
    ) -> CodeType:
        """The code of a cell; a future import counts for the cells after it, too."""
        code: CodeType = compile(tree, name, mode, self._flags, dont_inherit=True)
        self._flags |= code.co_flags & _ANNOTATIONS
        return code


def _missing(error: BaseException | None) -> str:
    """The top-level module that could not be imported, if that is what went wrong."""
    if not isinstance(error, ModuleNotFoundError):
        return ""
    return (error.name or "").partition(".")[0]


def shown(value: Any) -> tuple[str, str]:
    """How a page shows a value: the kind of text and the text.

    >>> shown({"a": 1})
    ('text', "{'a': 1}")
    """
    for method, kind in _RICH:
        if found := getattr(value, method, None):
            return kind, found()
    return "text", repr(value)


def traceback_of(error: BaseException, cell: str) -> str:
    """The traceback, from the first line of the reader's code in the cell on."""
    begins: TracebackType | None = error.__traceback__
    while begins is not None and begins.tb_frame.f_code.co_filename != cell:
        begins = begins.tb_next
    lines = traceback.format_exception(type(error), error, begins)
    return "".join(lines).replace(f"{_folder()}/", "")


def _folder() -> str:
    """Where the package is installed: nothing that a reader wants to know."""
    return __file__.partition(f"/{PACKAGE}/")[0]
