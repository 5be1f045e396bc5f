"""Shapes of the chapter `ordering` in the format of the kernel's own memory model.

The operations of the chapter run against a CPU that writes C instead of executing it.
What is written is the path on which the operation succeeds: each load has to find what
lets it go on, and what comes after the load depends on that. `exists` asks whether both
sides can succeed, which is what AE-INV-9 forbids; ``Result:`` is what the exploration
of the same shape on store buffers found.

The other paths are left out: on them `exists` is false.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from spec.memory import Steps
from spec.ordering import OPERATIONS, SHAPES
from spec.releases import find_model
from spec.rules import load
from spec.shapes import Shape

GUARANTEE = "AE-INV-9"
TYPES = {"pte": "int", "anon_exclusive": "int", "references": "atomic_t"}
STARTS = {"pte": "1", "anon_exclusive": "1", "references": "ATOMIC_INIT(0)"}
VALUES: Mapping[object, int] = {None: 0, "p1 R/O": 1, "entry": 2, False: 0, True: 1}
SUCCEEDS: Mapping[str, object] = {
    "pte": "p1 R/O",
    "anon_exclusive": True,
    "references": 0,
}
"""What a load has to find for the operation to go on."""


@dataclass
class Writer:
    """Stands in for a CPU and writes C; takes the path on which all loads succeed.

    Attributes:
        number: the process that is written, ``P0`` or ``P1``.
        without: rules that are not obeyed.
    """

    number: int
    without: frozenset[str]
    reference: str = ""
    lines: list[str] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    depth: int = 1

    def obeys(self, id: str) -> bool:
        """Whether the rule is obeyed."""
        return id not in self.without

    def emit(self, statement: str, name: str = "") -> None:
        """Write one statement, with the name of the step."""
        comment = f" // {name}" if name else ""
        self.lines.append("\t" * self.depth + statement + comment)

    def touch(self, place: str) -> None:
        """Remember that the process uses this location."""
        if place not in self.places:
            self.places.append(place)

    def store(self, place: str, value: object, name: str) -> None:
        """``WRITE_ONCE()``."""
        self.touch(place)
        self.emit(f"WRITE_ONCE(*{place}, {VALUES[value]});", name)

    def load(self, place: str, name: str) -> object:
        """``READ_ONCE()`` and what depends on it."""
        self.touch(place)
        value = SUCCEEDS[place]
        register = f"r{len(self.found)}"
        read = "atomic_read(" if TYPES[place] == "atomic_t" else "READ_ONCE(*"
        self.emit(f"{register} = {read}{place});", name)
        self.found.append(VALUES[value])
        self.emit(f"if ({register} == {VALUES[value]}) {{")
        self.depth += 1
        return value

    def atomic_add(self, count: int, name: str) -> None:
        """``atomic_inc()``: no order."""
        self.touch("references")
        self.emit(f"atomic_add({count}, references);", name)

    def smp_wmb(self) -> None:
        """``smp_wmb()``."""
        self.emit("smp_wmb();")

    def smp_rmb(self) -> None:
        """``smp_rmb()``."""
        self.emit("smp_rmb();")

    def smp_mb(self) -> Steps:
        """``smp_mb()``, by its other name after an atomic operation."""
        after_atomic = bool(self.lines) and "atomic_add" in self.lines[-1]
        self.emit("smp_mb__after_atomic();" if after_atomic else "smp_mb();")
        yield

    def text(self) -> str:
        """The process."""
        arguments = ", ".join(f"{TYPES[place]} *{place}" for place in self.places)
        registers = [f"\tint r{i};" for i in range(len(self.found))]
        # What nothing depends on needs no braces.
        body = list(self.lines)
        depth = self.depth
        if body and body[-1].endswith("{"):
            body.pop()
            depth -= 1
        closing = ["\t" * i + "}" for i in range(depth - 1, 0, -1)]
        head = [f"P{self.number}({arguments})", "{", *registers, ""]
        return "\n".join([*head, *body, *closing, "}"])

    def succeeds(self) -> Iterator[str]:
        """What each register holds where the operation succeeds."""
        for i, value in enumerate(self.found):
            yield f"{self.number}:r{i}={value}"


def written(word: str, number: int, without: frozenset[str]) -> Writer:
    """One operation of the chapter `ordering`, as C."""
    writer = Writer(number, without)
    for _ in OPERATIONS[word](writer) or ():  # type: ignore[arg-type]
        pass
    return writer


def result(shape: Shape, without: frozenset[str]) -> str:
    """``Never`` or ``Sometimes``: whether both sides succeed on store buffers."""
    from spec.checker.explore import explore

    verdict = explore(shape.program(find_model("sketch"), without))
    reached = any(found.property == GUARANTEE for found in verdict.violations)
    return "Sometimes" if reached else "Never"


def export(shape: Shape, without: frozenset[str] = frozenset()) -> str:
    """A shape as a litmus test for herd7 and the kernel's memory model.

    Args:
        shape: one of `spec.ordering.SHAPES`.
        without: rules that its operations do not obey.
    """
    words = [menu[0] for menu in shape.menus]
    sides = [written(word, i, without) for i, word in enumerate(words)]
    asked = " /\\ ".join(clause for side in sides for clause in side.succeeds())
    starts = [f"\t{TYPES[place]} {place} = {STARTS[place]};" for place in TYPES]
    return "\n".join(
        [
            f"C {name(shape, without)}",
            "",
            "(*",
            f" * Result: {result(shape, without)}",
            " *",
            *(f" * {line}" for line in explained(words, without)),
            " *)",
            "",
            "{",
            *starts,
            "}",
            "",
            *(f"{side.text()}\n" for side in sides),
            f"exists ({asked})",
            "",
        ]
    )


def explained(words: list[str], without: frozenset[str]) -> Iterator[str]:
    """The comment: what runs, and what is asked."""
    yield f"{' against '.join(words)}, by the steps of commit 088b8aa537c2."
    for id in sorted(without):
        yield f"{id} is not obeyed."
    yield "Asked is whether GUP-fast returns a page whose bit is clear."
    yield "pte: 0 none, 1 maps the page read-only, 2 an entry."


def name(shape: Shape, without: frozenset[str]) -> str:
    """The name of the test, also of its file."""
    words = "+".join(menu[0] for menu in shape.menus)
    return "+".join([words, *(f"without-{id}" for id in sorted(without))])


def litmus_tests() -> dict[str, str]:
    """All tests by file name: each shape, whole and without each of its rules."""
    rules = [
        r.id for r in load().values() if r.world == "ordering" and r.over == "step"
    ]
    removals = [frozenset[str](), *(frozenset({id}) for id in rules)]
    return {
        f"{name(shape, without)}.litmus": export(shape, without)
        for shape in SHAPES
        for without in removals
    }
