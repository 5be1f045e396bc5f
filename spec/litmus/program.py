"""A litmus test as data: what the parser gives and everybody else takes.

Positions (`line`, `column`, both from 1) say where a thing stands in its file; they
take no part in comparisons, so that a test equals its own text read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from spec.decisions import Foll

DEFAULT_ADDRESS = "x"
VERDICTS = (
    "fine",
    "unnecessary-copy",
    "not-guaranteed",
    "side-effect",
    "lost",
    "wrong-cow",
    "missed-cow",
)
"""What a test can come to on a model, from harmless to severe."""


def _position() -> int:
    return field(default=0, compare=False, kw_only=True)


@dataclass(frozen=True)
class Operation:
    """One system call, one access, one deed of the kernel or of a reference's holder.

    Attributes:
        actor: the process, or the reference, that acts or is acted on; empty for
            ``swapoff``.
        word: ``write``, ``swapout``, ``madvise free`` and so on of a process;
            ``read``, ``write``, ``put`` of a reference; ``ksm``, ``swapoff``.
        by_reference: whether `actor` is a reference.
        address: the virtual address it touches; for a reference, the one it was
            taken at; ``None`` for fork, exit and swapoff.
        value: what is written.
        child: the process that fork makes.
        other: the second process of ksm.
        target: the address that mremap and uffdio-move move a page to.
        protection: ``r`` or ``rw``, for mprotect.
        reference: what gup takes.
        foll: the ``FOLL_*`` flags of gup.
        entry: ``slow``, ``fast`` or ``fast-only``: which gup function is called.
        result: the name that the value read is given.
    """

    actor: str
    word: str
    by_reference: bool = False
    address: str | None = None
    value: int | None = None
    child: str | None = None
    other: str | None = None
    target: str | None = None
    protection: str | None = None
    reference: str | None = None
    foll: Foll | None = None
    entry: str = "slow"
    result: str | None = None
    line: int = _position()
    column: int = _position()

    def __str__(self) -> str:
        if self.word == "swapoff":
            return self.word
        if self.other is not None:
            return " ".join([self.word, self.actor, self.other, *self._where()])
        result = f"{self.result} = " if self.result else ""
        return f"{result}{self.actor}: {' '.join(self._words())}"

    def _words(self) -> Iterator[str]:
        yield self.word
        if self.value is not None:
            yield str(self.value)
        if self.child is not None:
            yield self.child
        if self.protection is not None:
            yield self.protection
        if self.foll is not None:
            yield f"{self.reference} ="
            yield "rw" if self.foll.write else "ro"
            yield "pin" if self.foll.pin else "get"
            if self.entry != "slow":
                yield self.entry
            if self.foll.longterm:
                yield "longterm"
        yield from self._where()
        if self.target is not None:
            yield f"to {self.target}"

    def _where(self) -> Iterator[str]:
        if self.address not in (None, DEFAULT_ADDRESS) and not self.by_reference:
            yield f"at {self.address}"


@dataclass(frozen=True)
class Line:
    """The operations of one line: one, or several that race on a CPU each."""

    operations: tuple[Operation, ...]
    line: int = _position()

    @property
    def is_race(self) -> bool:
        """Whether every interleaving of several operations is meant."""
        return len(self.operations) > 1

    def __str__(self) -> str:
        return " || ".join(str(operation) for operation in self.operations)


@dataclass(frozen=True)
class Number:
    """An integer in a comparison."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class ValueOf:
    """What a named read gave, or what a reference reads at the end."""

    name: str
    is_reference: bool

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Copies:
    """How many pages fork and faults copied."""

    def __str__(self) -> str:
        return "copies"


Term = Number | ValueOf | Copies


@dataclass(frozen=True)
class Comparison:
    """``==``, ``!=``, ``<``, ``<=``, ``>`` or ``>=`` of two terms."""

    left: Term
    operator: str
    right: Term

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True)
class Place:
    """A reference, or a process at an address: something that leads to a page."""

    name: str
    address: str
    is_reference: bool

    def __str__(self) -> str:
        if self.is_reference or self.address == DEFAULT_ADDRESS:
            return self.name
        return f"{self.name} at {self.address}"


@dataclass(frozen=True)
class Same:
    """Both places lead to one page."""

    left: Place
    right: Place

    def __str__(self) -> str:
        return f"same({self.left}, {self.right})"


@dataclass(frozen=True)
class Fact:
    """The page at a place has its bit set, an address is swapped out or huge.

    Attributes:
        word: ``exclusive``, ``swapped`` (the address holds a swap entry) or ``huge``
            (a PMD maps it).
        place: of which page or address.
    """

    word: str
    place: Place

    def __str__(self) -> str:
        return f"{self.word}({self.place})"


@dataclass(frozen=True)
class Void:
    """GUP did not give this reference."""

    reference: str

    def __str__(self) -> str:
        return f"void({self.reference})"


@dataclass(frozen=True)
class Not:
    """The formula is false."""

    formula: Formula

    def __str__(self) -> str:
        return f"not {_grouped(self.formula)}"


@dataclass(frozen=True)
class And:
    """All parts are true."""

    parts: tuple[Formula, ...]

    def __str__(self) -> str:
        return " and ".join(_grouped(part) for part in self.parts)


@dataclass(frozen=True)
class Or:
    """Some part is true."""

    parts: tuple[Formula, ...]

    def __str__(self) -> str:
        return " or ".join(_grouped(part) for part in self.parts)


Formula = Comparison | Same | Fact | Void | Not | And | Or


def _grouped(formula: Formula) -> str:
    return f"({formula})" if isinstance(formula, And | Or) else str(formula)


@dataclass(frozen=True)
class Condition:
    """``forbid`` (holds in no outcome) or ``require`` (holds in all of them).

    It speaks of the end of the test, wherever in the file it stands.
    """

    word: str
    formula: Formula
    line: int = _position()
    column: int = _position()

    def __str__(self) -> str:
        return f"{self.word} {self.formula}"


@dataclass(frozen=True)
class Expectation:
    """The verdict that the file states for a model."""

    model: str
    verdict: str
    line: int = _position()
    column: int = _position()

    def __str__(self) -> str:
        return f"expect {self.model}: {self.verdict}"


@dataclass(frozen=True)
class Comment:
    """The text behind a ``#``; `trailing` if something stands before it."""

    text: str
    trailing: bool
    line: int = _position()

    def __str__(self) -> str:
        return f"# {self.text}" if self.text else "#"


@dataclass(frozen=True)
class Test:
    """A parsed litmus test.

    Attributes:
        name: from the header.
        lines: what happens, in order.
        conditions: what must hold, in the order of the file.
        expectations: verdicts by model.
        comments: all of them, in the order of the file.
        processes: the first process, then the others in the order of their forks.
        references: in the order in which they are taken.
        values: names of reads, in the order in which they are read.
        addresses: every virtual address that the file names; each process has all.
        file: where it was read from, for messages.
    """

    # pytest must not take it for a test case.
    __test__ = False

    name: str
    lines: tuple[Line, ...]
    conditions: tuple[Condition, ...]
    expectations: tuple[Expectation, ...]
    comments: tuple[Comment, ...]
    processes: tuple[str, ...]
    references: tuple[str, ...]
    values: tuple[str, ...]
    addresses: tuple[str, ...]
    file: str = field(default="", compare=False)
    header_line: int = _position()

    def expected(self, model: str) -> str | None:
        """The verdict that the file states for `model`, if it states one."""
        stated = {e.model: e.verdict for e in self.expectations}
        return stated.get(model)

    @property
    def story(self) -> str:
        """The comment lines between the header and the first operation."""
        first = self.lines[0].line
        return "\n".join(
            comment.text
            for comment in self.comments
            if not comment.trailing and self.header_line < comment.line < first
        )

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations in the order of the file."""
        return tuple(o for line in self.lines for o in line.operations)

    def __str__(self) -> str:
        """The test as text in canonical spacing; parses to an equal test."""
        rows: list[tuple[int, bool, str]] = [
            (self.header_line, False, f"litmus {self.name}")
        ]
        rows += [(line.line, False, str(line)) for line in self.lines]
        rows += [(each.line, False, str(each)) for each in self.conditions]
        rows += [(each.line, False, str(each)) for each in self.expectations]
        rows += [(c.line, c.trailing, str(c)) for c in self.comments]
        text = ""
        for _, trailing, row in sorted(rows, key=lambda each: each[:2]):
            text += f"  {row}" if trailing else f"\n{row}"
        return text.removeprefix("\n") + "\n"
