"""The conditions of a litmus test as C.

What they speak of is looked at once in each run and kept in an array: what a read
gave, what a reference reads, whether two places lead to one page. ``NONE`` stands for
a read that raised SIGSEGV, for a void reference, and for what this user cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from spec.litmus.program import (
    And,
    Comparison,
    Condition,
    Copies,
    Fact,
    Formula,
    Not,
    Number,
    Or,
    Place,
    Same,
    Test,
    Void,
)

Seen = Same | Fact


@dataclass
class Found:
    """What is looked at, in the order in which it is kept.

    Attributes:
        test: the litmus test.
        seen: what pagemap tells, by its text.
    """

    test: Test
    seen: dict[str, Seen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for condition in self.test.conditions:
            for formula in parts(condition.formula):
                if isinstance(formula, Same | Fact):
                    self.seen[str(formula)] = formula

    @property
    def names(self) -> list[str]:
        """All of it, as outcomes are printed."""
        return [*self.test.values, *self.test.references, *self.seen]

    def constant(self, name: str) -> str:
        """The constant that stands for its place in the array."""
        if name in self.seen:
            return f"SEEN_{list(self.seen).index(name) + 1}"
        return f"FOUND_{identifier(name)}"

    def definitions(self) -> Iterator[str]:
        """The constants, as the members of an enum."""
        for name in self.names:
            what = f" /* {name} */" if name in self.seen else ""
            yield f"\t{self.constant(name)},{what}"

    # -- conditions -------------------------------------------------------------------

    def function(self, number: int, condition: Condition) -> Iterator[str]:
        """A C function that judges one outcome."""
        yield f"/* {condition} */"
        yield f"static int holds_{number}(const int *found)"
        yield "{"
        formulas = list(parts(condition.formula))
        if any(Copies() in terms(formula) for formula in formulas):
            yield "\t(void)found;"
            yield "\treturn NONE; /* user space does not see copies */"
        else:
            for formula in dict.fromkeys(map(str, formulas)):
                if formula in self.seen:
                    yield f"\tif (found[{self.constant(formula)}] == NONE)"
                    yield "\t\treturn NONE;"
            text = self.expression(condition.formula)
            yield f"\treturn {text if condition.word == 'require' else f'!{text}'};"
        yield "}"

    def expression(self, formula: Formula) -> str:
        """A formula as a C expression, in brackets."""
        match formula:
            case Comparison(left, operator, right):
                known = [
                    f"found[{self.constant(term.name)}] != NONE"
                    for term in (left, right)
                    if not isinstance(term, Number | Copies)
                ]
                values = [
                    str(term.value)
                    if isinstance(term, Number)
                    else f"found[{self.constant(str(term))}]"
                    for term in (left, right)
                ]
                return f"({' && '.join([*known, f' {operator} '.join(values)])})"
            case Void(reference):
                return f"(found[{self.constant(reference)}] == NONE)"
            case Not(part):
                return f"!{self.expression(part)}"
            case And(several):
                return f"({' && '.join(map(self.expression, several))})"
            case Or(several):
                return f"({' || '.join(map(self.expression, several))})"
            case _:
                return f"found[{self.constant(str(formula))}]"

    # -- what pagemap tells -----------------------------------------------------------

    def looks(self) -> Iterator[str]:
        """C statements that look at pages, at the end of a run."""
        for text, formula in self.seen.items():
            yield f"\tshared->found[{self.constant(text)}] = {self.look(formula)};"

    def look(self, formula: Seen) -> str:
        """A C expression: 1 or 0, or NONE where it cannot be seen."""
        match formula:
            case Same(left, right):
                return f"same({self.pfn(left)}, {self.pfn(right)})"
            case Fact("exclusive", place):
                return f"exclusive({self.pfn(place)})"
            case Fact("swapped", place):
                where = f"{process(place.name)}, {address(place.address)}"
                return f"swapped({where})"
        return "NONE /* not visible */"

    def pfn(self, place: Place) -> str:
        """A C expression for the page frame that a place leads to."""
        if place.is_reference:
            return f"pfn_held({reference(place.name)})"
        return f"pfn_of({process(place.name)}, {address(place.address)})"


def parts(formula: Formula) -> Iterator[Formula]:
    """A formula and all formulas in it."""
    yield formula
    match formula:
        case Not(part):
            yield from parts(part)
        case And(several) | Or(several):
            for part in several:
                yield from parts(part)


def terms(formula: Formula) -> tuple[object, ...]:
    """What a comparison compares."""
    match formula:
        case Comparison(left, _, right):
            return left, right
    return ()


def identifier(name: str) -> str:
    """A name of a litmus test in C."""
    return name.replace("-", "_")


def process(name: str) -> str:
    """The constant of a process."""
    return f"PROCESS_{identifier(name)}"


def reference(name: str) -> str:
    """The constant of a reference."""
    return f"REFERENCE_{identifier(name)}"


def address(name: str | None) -> str:
    """The macro of an address."""
    return f"AT_{identifier(str(name))}"
