"""The functions of a C file: where each begins and ends, and a digest of its body.

Tree-sitter's C grammar decides. It knows no kernel macros: a few annotations, which
only sparse and the linker read, are blanked before it looks. Line numbers and offsets
stay those of the file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from spec.cells import SpecificationError

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_ANNOTATION = re.compile(
    rb"\b(?:__init|__exit|__meminit|__ref|__sched|__always_inline|__always_unused"
    rb"|__maybe_unused|__must_check|__cold|__user|noinline|noinline_for_stack"
    rb"|asmlinkage)\b"
    rb"|\b(?:__releases|__acquires|__must_hold|__cond_acquires|__cond_lock|__free"
    rb"|__printf)\s*\([^()\n]*(?:\([^()\n]*\))?[^()\n]*\)"
)
DIGITS = 16
"""Hexadecimal digits of a digest."""


@dataclass(frozen=True)
class Function:
    """One definition.

    Attributes:
        name: its identifier.
        first, last: its lines, from 1, both inclusive; a comment above is outside.
        digest: of its tokens, comments and white space out.
    """

    name: str
    first: int
    last: int
    digest: str


@cache
def _parser() -> Parser:
    try:
        import tree_sitter_c
        from tree_sitter import Language, Parser
    except ImportError:
        raise SpecificationError(
            "reading kernel sources needs tree-sitter; install it with: "
            "pip install tree-sitter tree-sitter-c"
        ) from None
    return Parser(Language(tree_sitter_c.language()))


def _blank(found: re.Match[bytes]) -> bytes:
    return b" " * len(found[0])


def _leaves(node: Node) -> Iterator[Node]:
    """The tokens below a node in order, without comments."""
    left = [node]
    while left:
        at = left.pop()
        if at.type == "comment":
            continue
        if at.children and at.type not in ("string_literal", "char_literal"):
            left.extend(reversed(at.children))
        else:
            yield at


def _digest(node: Node, name: str) -> str:
    """A hash of the tokens: comments, white space and its own name do not count."""
    tokens = [b" ".join((leaf.text or b"").split()) for leaf in _leaves(node)]
    tokens = [b"*" if token == name.encode() else token for token in tokens]
    return hashlib.sha256(b"\0".join(filter(None, tokens))).hexdigest()[:DIGITS]


def _name(definition: Node) -> str:
    """The identifier that a definition declares; empty if it is none of a function."""
    node = definition.child_by_field_name("declarator")
    while node is not None and node.type != "function_declarator":
        node = node.child_by_field_name("declarator")
    inner = node.child_by_field_name("declarator") if node is not None else None
    if inner is None or inner.type != "identifier":
        return ""
    return (inner.text or b"").decode("utf-8", "replace")


def functions(source: bytes) -> list[Function]:
    """The function definitions of a C file, in its order.

    >>> [found] = functions(b"int f(int a)\\n{\\n\\treturn a; /* same */\\n}\\n")
    >>> found.name, found.first, found.last
    ('f', 1, 4)
    >>> found.digest == functions(b"int f(int a) { return a; }")[0].digest
    True

    Raises:
        SpecificationError: the parser is not installed.
    """
    tree = _parser().parse(_ANNOTATION.sub(_blank, source))
    found = []
    left = [tree.root_node]
    while left:
        node = left.pop()
        if node.type == "function_definition" and (name := _name(node)):
            first, last = node.start_point.row + 1, node.end_point.row + 1
            found.append(Function(name, first, last, _digest(node, name)))
        left.extend(reversed(node.children))
    return found
