"""Is what a kernel shows something that a model allows?

A model may allow several outcomes of a line (a write fault may reuse the page of a
sole owner whose bit is clear, or copy it). So the comparison follows all states
of the model that fit what was seen so far; when none is left, kernel and model
differ, and the line says where.

Compared are, after each line: which addresses and references share a page, whether
an address still has the page that it had, the bit where it can be seen, the mapcount,
whether a PMD maps the page, what reads and references read, and which calls fail. Page
frame numbers are not: see `Numbering`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spec.cells import Broken, PlainCells, Value
from spec.counts import bit_of, page_folio, run, walk
from spec.decisions import Model
from spec.kernel.driver import MAY_FAIL
from spec.kernel.numbering import Numbering
from spec.kernel.observe import Held, Kernel, Mapped, Observation, Run, place
from spec.kernel.programs import NotExpressible, Sight, sights
from spec.litmus.program import Operation, Test
from spec.litmus.run import names_of, perform
from spec.memory import ZERO_PAGE, Machine, Mm, Names, Pte
from spec.rules import BIT_MODELS

AGREES, DIFFERS, NOT_EXPRESSIBLE = "agrees", "differs", "not expressible"
FINAL = "what is read at the end"
ALL_IN_SIGHT = Sight()


@dataclass(frozen=True)
class Difference:
    """Where a kernel does what a model does not allow.

    Attributes:
        line: of the file; 0 for the values that are read at the end.
        operation: what was done there.
        shown: what the kernel showed, place by place, where that is at odds.
        allowed: for each outcome of the model, the same places.
    """

    line: int
    operation: str
    shown: str
    allowed: tuple[str, ...]

    def __str__(self) -> str:
        where = f"line {self.line}: {self.operation}" if self.line else self.operation
        return f"{where}: shows {self.shown}, allowed {' or '.join(self.allowed)}"


@dataclass(frozen=True)
class Comparison:
    """The verdict on one test: ``agrees``, ``differs`` or ``not expressible``."""

    test: str
    verdict: str
    why: str = ""
    difference: Difference | None = None


def compare(
    test: Test,
    model: Model,
    kernel: Kernel,
    by: Collection[str] = (),
    without: frozenset[str] = frozenset(),
) -> Comparison:
    """Run `test` on the kernel and follow it on `model`.

    Args:
        test: a test without races.
        model: what the kernel should do no more than.
        kernel: the running kernel.
        by: system calls to prefer; see `spec.kernel.programs.BY`.
        without: ids of rules that the model is not to obey.

    Raises:
        KernelError: the kernel cannot be driven.
    """
    try:
        seen = kernel.observe(test, by)
    except NotExpressible as reason:
        return Comparison(test.name, NOT_EXPRESSIBLE, str(reason))
    difference = judge(test, model, seen, without)
    if difference is None:
        return Comparison(test.name, AGREES)
    return Comparison(test.name, DIFFERS, str(difference), difference)


def judge(
    test: Test, model: Model, seen: Run, without: frozenset[str] = frozenset()
) -> Difference | None:
    """The first line at which no outcome of the model is left; ``None`` if none is.

    Args:
        test: a test without races.
        model: what the kernel should do no more than.
        seen: what it showed.
        without: ids of rules that the model is not to obey.
    """
    candidates = [start(test, model, without)]
    lines = zip(test.operations, seen.lines, sights(test), strict=True)
    for operation, shown, sight in lines:
        outcomes = [
            (after, _visible(expected, model, seen))
            for candidate in candidates
            for after, expected in candidate.after(operation, sight, shown is not None)
        ]
        fits = _visible(shown, model, seen)
        candidates = _distinct(c for c, expected in outcomes if expected == fits)
        if not candidates:
            allowed = [expected for _, expected in outcomes if expected is not None]
            assert fits is not None
            return _difference(operation, fits, allowed)
    final = [candidate.final_values() for candidate in candidates]
    if seen.final in final:
        return None
    allowed_values = tuple(_values(values) for values in dict.fromkeys(final))
    return Difference(0, FINAL, _values(seen.final), allowed_values)


def has_bit(model: Model) -> bool:
    """Whether the model keeps the bit; else it is left out of the comparison."""
    return model.family in BIT_MODELS


def _visible(
    observation: Observation | None, model: Model, seen: Run
) -> Observation | None:
    """What of an observation can be compared."""
    if observation is None:
        return None
    compared = observation if has_bit(model) else observation.without_bit()
    return compared.values_only() if seen.values_only else compared


# -- the model --------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """One state of the model that fits everything that was seen so far."""

    names: Names
    model: Model
    without: frozenset[str]
    cells: dict[str, Value]
    numbering: Numbering[str]

    def after(
        self,
        operation: Operation,
        sight: Sight = ALL_IN_SIGHT,
        is_seen: bool = True,
    ) -> Iterator[tuple[Candidate, Observation | None]]:
        """Every state after `operation`, with what one would see of it.

        Args:
            operation: what is done.
            sight: what cannot be seen of references.
            is_seen: whether one looks.
        """
        scripts: list[tuple[Any, ...]] = [()]
        while scripts:
            chooser = _Script(scripts.pop())
            cells = PlainCells(dict(self.cells), chooser)
            machine = Machine(self.names, self.model, cells, without=self.without)
            try:
                result = run(perform(machine, operation))
            except Broken:
                # Without a rule the model can come to what no kernel can show.
                continue
            if operation.word == "fork":
                skip_zeropages(machine, machine.mms[str(operation.child)])
            scripts += chooser.other_answers()
            numbering = self.numbering.copy()
            seen = None
            if is_seen:
                seen = see(machine, numbering, operation, result, sight)
            yield replace(self, cells=cells.values, numbering=numbering), seen

    def final_values(self) -> tuple[tuple[tuple[str, str], int], ...]:
        """What each process reads where it maps a page."""
        machine = Machine(self.names, None, PlainCells(self.cells))
        return tuple(
            ((mm.name, va), _contents(machine, pte.pfn))
            for mm in _live(machine)
            for va in self.names.vas
            if (pte := walk(mm, va)) is not None
        )


class _Script:
    """Answers the first choices as told, the others with their first option."""

    def __init__(self, answers: tuple[Any, ...]) -> None:
        self.answers = answers
        self.asked: list[Sequence[Value]] = []

    def __call__(self, question: str, options: Sequence[Value]) -> Any:
        self.asked.append(options)
        position = len(self.asked) - 1
        return self.answers[position] if position < len(self.answers) else options[0]

    def other_answers(self) -> Iterator[tuple[Any, ...]]:
        """Scripts that begin like this run and then differ in one answer."""
        given = [
            self.answers[i] if i < len(self.answers) else options[0]
            for i, options in enumerate(self.asked)
        ]
        for i in range(len(self.answers), len(self.asked)):
            for option in self.asked[i][1:]:
                yield (*given[:i], option)


def start(test: Test, model: Model, without: frozenset[str] = frozenset()) -> Candidate:
    """The first state: one process, every address mapped R/W, nothing present."""
    names = names_of(test)
    machine = Machine(names, model)
    machine.start(test.processes[0])
    assert isinstance(machine.cells, PlainCells)
    removed = without | model.without
    return Candidate(names, model, removed, machine.cells.values, Numbering[str]())


def _distinct(candidates: Iterator[Candidate]) -> list[Candidate]:
    found = {}
    for candidate in candidates:
        numbers = tuple(sorted(candidate.numbering.numbers.items()))
        found[tuple(candidate.cells.values()), numbers] = candidate
    return list(found.values())


def skip_zeropages(machine: Machine, child: Mm) -> None:
    """fork leaves out page tables that later faults fill alike (``vma_needs_copy``).

    It does so where the VMA never had an anonymous page, which the model does not
    know; what the child reads is zero either way.
    """
    for va in machine.names.vas:
        is_zeropage = child.pte[va] == Pte(ZERO_PAGE, writable=False)
        if is_zeropage and not machine.cells.choose("vma_needs_copy", (True, False)):
            child.pte[va] = None


def _live(machine: Machine) -> list[Mm]:
    return [mm for mm in machine.mms.values() if mm.state == "live"]


def _contents(machine: Machine, pfn: str) -> int:
    return 0 if pfn == ZERO_PAGE else machine.pages[pfn].value


def see(
    machine: Machine,
    numbering: Numbering[str],
    operation: Operation,
    result: Any,
    sight: Sight = ALL_IN_SIGHT,
) -> Observation:
    """What one would see of a state of the model, were it a kernel."""
    places = [(mm, va) for mm in _live(machine) for va in machine.names.vas]
    ptes = {(mm.name, va): walk(mm, va) for mm, va in places}
    refs = {
        name: ref
        for name, ref in machine.refs.items()
        if ref.state == "live" and name not in sight.gone
    }
    frames = [pte.pfn for pte in ptes.values() if pte is not None]
    frames += [str(ref.pfn) for ref in refs.values()]
    numbering.look(frame for frame in frames if frame != ZERO_PAGE)

    def mapped(mm: Mm, va: str) -> Mapped:
        pte = ptes[mm.name, va]
        if pte is None:
            return Mapped("none" if mm.pmd or mm.pte[va] is None else "swap")
        if pte.pfn == ZERO_PAGE:
            return Mapped("zero")
        page = machine.pages[pte.pfn]
        folio = page_folio(page)
        huge = mm.pmd is not None
        seen = huge or page == folio
        return Mapped(
            "page",
            numbering[pte.pfn],
            bit_of(page).anon_exclusive if seen else None,
            page.mapcount + folio.entire_mapcount,
            huge,
        )

    def held(name: str, pfn: str) -> Held:
        value = None if name in sight.blind else _contents(machine, pfn)
        if pfn == ZERO_PAGE:
            return Held("zero", 0, value)
        return Held("page", numbering[pfn], value)

    is_read = operation.word == "read"
    refused = None if is_read else False
    return Observation(
        answer=result if is_read else None,
        failed=operation.word in (*MAY_FAIL, "gup")
        and not operation.by_reference
        and result is refused,
        mapped=tuple(((mm.name, va), mapped(mm, va)) for mm, va in places),
        held=tuple((name, held(name, str(ref.pfn))) for name, ref in refs.items()),
    )


# -- words ------------------------------------------------------------------------


def _difference(
    operation: Operation, shown: Observation, allowed: list[Observation]
) -> Difference:
    seen = shown.facts()
    others = [observation.facts() for observation in dict.fromkeys(allowed)]
    names = dict.fromkeys([*seen, *(name for facts in others for name in facts)])
    odd = [name for name in names if any(f.get(name) != seen.get(name) for f in others)]

    def words(facts: dict[str, str]) -> str:
        return ", ".join(f"{name}: {facts.get(name, 'absent')}" for name in odd)

    return Difference(
        operation.line,
        str(operation),
        words(seen),
        tuple(dict.fromkeys(words(facts) for facts in others)),
    )


def _values(values: tuple[tuple[tuple[str, str], int], ...]) -> str:
    return ", ".join(f"{place(*at)} = {value}" for at, value in values)
