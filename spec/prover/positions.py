"""Where in the source an operation stands: assertions are written for it."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from spec.rules import CHAPTERS


def codes(module: Any) -> Iterator[CodeType]:
    """The code of each function and method that a module defines."""
    for value in list(vars(module).values()):
        owners = [value, *vars(value).values()] if isinstance(value, type) else [value]
        for owner in owners:
            if isinstance(owner, FunctionType) and owner.__module__ == module.__name__:
                yield owner.__code__


@cache
def code_of(qualname: str) -> CodeType:
    """The code of a function of a chapter, or of what puts operations together."""
    chapters = [*(f"spec.{chapter}" for chapter in CHAPTERS), "spec.clients"]
    others = [name for name in sys.modules if name.startswith("spec.prover.")]
    for name in (*chapters, *others):
        for code in codes(sys.modules[name]) if name in sys.modules else ():
            if code.co_qualname == qualname:
                return code
    raise KeyError(qualname)


@cache
def next_statement(qualname: str, lasti: int) -> str:
    """The statement that follows the yield at which a function is suspended."""
    code = code_of(qualname)
    line = next(
        number for begin, end, number in code.co_lines() if begin <= lasti < end
    )
    tree = ast.parse(textwrap.dedent("".join(inspect.getsourcelines(code)[0])))
    ast.increment_lineno(tree, code.co_firstlineno - 1)
    following = _following(tree, line or 0)
    return "" if following is None else ast.unparse(following).split("\n")[0]


def _following(tree: ast.AST, line: int) -> ast.stmt | None:
    """The first statement, in the order of the text, that begins after a line."""
    later = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and node.lineno > line
    ]
    return min(later, key=lambda node: node.lineno, default=None)


@cache
def source_of(code: CodeType) -> str:
    """The text of a function."""
    return inspect.getsource(code)
