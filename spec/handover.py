"""Each section of a bound as a file for another checker: Promela or TLA+.

`spec.export` turns an exploration into text; here stands what is explored, and what the
comment at the top of a file says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from spec.bounds import find_bounds, program
from spec.checker.explore import Progress
from spec.clients import Section
from spec.export.guarded import GuardedProgram, guarded
from spec.export.promela import ADDED_STATES, added_transitions, promela
from spec.export.spin import COMPILE, RUN, TRANSLATE
from spec.export.tables import tabled
from spec.export.tla import configuration, tla
from spec.releases import find_model
from spec.shapes import Shape


@dataclass(frozen=True)
class Origin:
    """What an exported file is made from.

    Attributes:
        bounds, number: the bound, and which of its sections, from 1.
        section: the section itself.
        model: the name of the model.
        without: ids of rules that the operations do not obey.
    """

    bounds: str
    number: int
    section: Section | Shape
    model: str
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the file, without its ending."""
        return f"{self.bounds}-{self.number}"

    def explored(
        self, report: Callable[[Progress], None] = lambda progress: None
    ) -> GuardedProgram:
        """The section's guarded commands.

        Raises:
            Incomplete: the exploration was interrupted.
        """
        model, without = find_model(self.model), frozenset(self.without)
        return guarded(program(self.section, model, without), report)

    def said(self, made: GuardedProgram) -> Iterator[str]:
        """What a reader needs to know to compare."""
        removed = f", without {', '.join(self.without)}" if self.without else ""
        yield f"Section {self.number} of the bounds {self.bounds}"
        yield f"Model {self.model}{removed}"
        yield from (f"  {line}" for line in self.section.describe())
        yield ""
        yield f"{made.states:,} states, {made.transitions:,} transitions,"
        yield f"depth {made.depth}, initial states {len(made.initial)}"
        for id, depth in made.violations.items():
            yield f"Violated: {id}, first after {depth} steps"
        if not made.violations:
            yield "No property is violated."
        yield ""
        yield "Each command is one footprint of an atomic step, as it was met within"
        yield "this section; so is each case of a property. Nothing is known of states"
        yield "that the section does not reach."
        if self.without:
            yield "While a rule is removed, the rules themselves are not judged."


def origins(bounds: str, model: str, without: Iterable[str] = ()) -> list[Origin]:
    """All sections of a bound.

    Raises:
        SpecificationError: there is no such bound or model.
    """
    find_model(model)
    sections = find_bounds(bounds).sections
    return [
        Origin(bounds, number, section, model, tuple(without))
        for number, section in enumerate(sections, 1)
    ]


Writer = Callable[[Origin, GuardedProgram, bool], dict[str, str]]
"""Makes the files of a section, by name: of what was explored, and of what that gave.

If asked to, it asserts also of each step that its footprint is one that was met. It
raises SpecificationError if the section is larger than the other checker takes.
"""


def _promela(origin: Origin, made: GuardedProgram, rules: bool) -> dict[str, str]:
    """For Spin."""
    file = f"{origin.name}.pml"
    more = ["", "A state that breaks a property has one transition more."]
    said = "\n".join([*_for_spin(origin, made, file), *more])
    return {file: promela(made, said, rules)}


def _tables(origin: Origin, made: GuardedProgram, rules: bool) -> dict[str, str]:
    """For Spin, with the commands in tables."""
    file, header = f"{origin.name}.pml", f"{origin.name}.h"
    found = tabled(made, "\n".join(_for_spin(origin, made, file)), header, rules)
    return {file: found.model, header: found.header}


def _tla(origin: Origin, made: GuardedProgram, rules: bool) -> dict[str, str]:
    """For TLC: the module, and what is to be checked."""
    name = origin.name.replace("-", "_")
    said = "\n".join(_plainly(origin, made))
    return {
        f"{name}.tla": tla(made, name, said, rules),
        f"{name}.cfg": configuration(made),
    }


def _for_spin(origin: Origin, made: GuardedProgram, file: str) -> Iterator[str]:
    """What was explored, and how to let Spin do it."""
    yield from _plainly(origin, made)
    yield from (
        "",
        f"    {' '.join(TRANSLATE)} {file}",
        f"    {' '.join(COMPILE)} -O2 -o pan pan.c",
        f"    {' '.join(RUN)} -m1000000",
        "",
        f"Spin counts {ADDED_STATES} state and {added_transitions(made)} transitions"
        " more, for the choice of the",
        "initial state.",
    )


def _plainly(origin: Origin, made: GuardedProgram) -> Iterator[str]:
    """What was explored, for a comment."""
    return (line.replace("`", "") for line in origin.said(made))


WRITERS: Mapping[str, Writer] = {
    "promela": _promela,
    "spin-tables": _tables,
    "tla": _tla,
}
"""By the name of the language."""


def handed_over(
    language: str,
    wanted: Iterable[Origin],
    rules: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, str]:
    """The files of some sections, by name.

    Args:
        language: a key of `WRITERS`.
        wanted: the sections.
        rules: assert also of each step that its footprint is one that was met.
        report: called after each level of an exploration.

    Raises:
        SpecificationError: an exploration was interrupted, or a section is too large.
    """
    return {
        name: text
        for origin in wanted
        for name, text in WRITERS[language](
            origin, origin.explored(report), rules
        ).items()
    }
