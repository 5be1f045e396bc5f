"""Prove all of it: the obligations of a model, with or without a rule.

An *obligation* is a place where an operation stands: every step that can be taken there
keeps every clause of the invariant. Besides, the invariant is true at first, implies
the guarantees, and counts are exact.
"""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from spec.cells import SpecificationError
from spec.decisions import Model
from spec.models import governs
from spec.prover.alike import unnamed
from spec.prover.assertions import Clause, Proof, check_places, roles, stands
from spec.prover.counterexample import Counterexample, example, refuted, smallest
from spec.prover.counting import overwritten
from spec.prover.deriving import derive_all
from spec.prover.domains import name_of
from spec.prover.footprints import OVER, Place, split
from spec.prover.operations import operations_of
from spec.prover.parallel import side_by_side
from spec.prover.positions import code_of, next_statement, source_of
from spec.prover.promises import promises_of
from spec.prover.scopes import BASE, Scope
from spec.prover.steps import Atom, SymbolicStep
from spec.rules import find

if TYPE_CHECKING:
    from spec.prover.solver import Answer, Prover

NORMATIVE = "sketch"
WRITTEN_FOR = (NORMATIVE, "upstream")
"""The models that the invariant is written for."""
NEVER_ASKED = ("is", "asked", ("A",), False)
PROVED, REFUTED, UNKNOWN = "proved", "refuted", "unknown"
LEFT = "not all of it was asked"
"""Why nothing is known of what an interrupted proof had not come to the end of."""

Report = Callable[[int, int], None]


def silent(done: int, of: int) -> None:
    """Report nothing."""


@dataclass
class Obligation:
    """Something to be proved.

    Attributes:
        operation: whose steps; or what else is proved.
        function: in which the operation stands; empty at its beginning.
        before: the statement that comes next there.
        rules: ids of the rules that the function obeys.
        steps: how many different steps were looked at.
        found: ``proved``, ``refuted`` or ``unknown``.
        clauses: what is not kept, or why nothing is known.
        seconds: of the solver.
        failed: the steps that do not keep them, by number.
        example: the smallest counterexample to one of them, if it is a small one.
    """

    operation: str
    function: str = ""
    before: str = ""
    rules: tuple[str, ...] = ()
    steps: int = 0
    found: str = PROVED
    clauses: tuple[str, ...] = ()
    seconds: float = 0.0
    failed: list[int] = field(default_factory=list)
    example: Counterexample | None = None

    @property
    def name(self) -> str:
        """What it is called in tables."""
        where = f" / {self.function}" if self.function else ""
        return f"{self.operation}{where}{f': {self.before}' if self.before else ''}"

    def note(self, found: str, clauses: Iterable[str], seconds: float) -> None:
        """Add what one step gave: a refutation outweighs all else."""
        self.steps += 1
        self.seconds += seconds
        if found == REFUTED or (found == UNKNOWN and self.found == PROVED):
            self.found = found
        if found != PROVED:
            self.clauses = tuple(dict.fromkeys([*self.clauses, *clauses]))

    def leave(self) -> None:
        """Note that not all of it was asked."""
        if self.found == PROVED:
            self.found, self.clauses = UNKNOWN, (LEFT,)


@dataclass
class Result:
    """What a proof gave.

    Attributes:
        model, without: of what.
        obligations: all of them, in order.
        seconds: from beginning to end.
        interrupted: not all were looked at.
    """

    model: str
    without: tuple[str, ...]
    obligations: list[Obligation]
    seconds: float
    interrupted: bool = False

    @property
    def proved(self) -> bool:
        """Every obligation is discharged."""
        return not self.interrupted and not self.failing

    @property
    def failing(self) -> list[Obligation]:
        """Those that are not."""
        return [each for each in self.obligations if each.found != PROVED]


def written(scope: Scope = BASE) -> Proof:
    """The invariant as the chapters have it: of contents, given that of owners; where
    there are large folios, of owners alone."""
    import spec.proof_places  # noqa: F401  its assertions belong to it

    if scope.has_folios:
        from spec.proof_folios import folios

        return folios
    from spec.proof_contents import contents

    return contents


class Attempt:
    """The proof of one model: its footprints, its steps, and the solver.

    Args:
        model: who answers the decisions.
        without: ids of rules that are not obeyed.
        only: names of operations; by default all.
        proof: the invariant; by default that of the chapter.
        workers: how many processes look at operations.

    Attributes:
        parts: the proofs, by whether they are of contents.
        places: where operations can stand.
        steps: what they can do there; each once.
        footprints: how many the steps were made from.
        miscounted: how many of those would leave a count wrong.
    """

    def __init__(
        self,
        model: Model,
        without: frozenset[str] = frozenset(),
        only: Iterable[str] = (),
        proof: Proof | None = None,
        workers: int = 1,
        scope: Scope = BASE,
    ) -> None:
        self.scope = scope
        self.proof = written(scope) if proof is None else proof
        self.parts = dict(zip((False, True), self.proof.parts, strict=False))
        self.model = model
        self.without = without
        wanted = frozenset(only)
        every = operations_of(scope, model)
        asked = [each for each in every if not wanted or each.name in wanted]
        made = derive_all(model, without, asked, workers)
        self.places = made.places
        self.footprints, self.miscounted = made.footprints, made.miscounted
        if model.name in WRITTEN_FOR and not without and not wanted:
            check_places(self.proof.every_assertion, self.places, model.name)
        self.ends = {part: list(self._ends(part)) for part in self.parts}
        self._provers: dict[bool, Prover] = {}
        owners = [step for step in made.steps if not step.contents]
        found = [
            *(step for step in made.steps if step.contents in self.parts),
            *self._unasked(owners),
            *self._overwriting(owners),
        ]
        self.steps = list({self.key(step): step for step in reversed(found)}.values())
        self.steps.reverse()

    def _ends(self, contents: bool) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """For each place, the assertions that speak of it, and of which things."""
        known = self.parts[contents].every_assertion
        for place in self.places:
            here = (each for each in known if stands(each, place))
            yield [(each.name, roles(each, place)) for each in here]

    def _unasked(self, steps: list[SymbolicStep]) -> list[SymbolicStep]:
        """The steps in which fork would copy though GUP was never asked (AE-INV-5)."""
        if not governs(find("AE-INV-5"), self.model):
            return []
        return [
            replace(step, guard=step.guard | {NEVER_ASKED}, raised=("AE-INV-5",))
            for step in steps
            if self.places[step.source].operation.name == "fork"
            if any(
                field == "free"
                and not value
                and ("is", "free", page, True) in step.guard
                for field, page, value in step.writes
            )
        ]

    def _overwriting(self, steps: list[SymbolicStep]) -> Iterator[SymbolicStep]:
        """The steps in which an entry would be lost that nobody uncounts (AE-INV-3)."""
        for step in steps:
            place = self.places[step.source]
            for key, entry in () if step.raised else overwritten(step.shown, place):
                for found in another(key, entry):
                    guard = step.guard | {found}
                    yield replace(step, guard=guard, raised=("AE-INV-3",))

    def prover(self, *, contents: bool = False) -> Prover:
        """A solver with the invariant: of owners, or of contents; made once.

        Raises:
            SpecificationError: z3 is not installed.
        """
        if find_spec("z3") is None:
            raise SpecificationError(
                "prove needs the solver z3; install it with: pip install z3-solver"
            )
        from spec.prover.solver import Prover

        if contents not in self._provers:
            made = Prover(self.parts[contents], promises_of(self.model), self.scope)
            self._provers[contents] = made
        return self._provers[contents]

    def key(self, step: SymbolicStep) -> Any:
        """What two steps have in common that are the same to the solver."""
        return unnamed(self._facts(step), self.scope)

    def _facts(self, step: SymbolicStep) -> Iterator[tuple[Any, ...]]:
        """All that the solver is told of a step."""
        target = None if step.target == OVER else self.places[step.target]
        names = dict(zip(target.operands, step.bound, strict=True)) if target else {}
        yield from (("found", *atom) for atom in step.guard)
        yield from (("assigned", *write) for write in step.writes)
        yield from (("each", rep.over, rep.when, rep.writes) for rep in step.each)
        yield ("raised", *step.raised)
        yield ("of contents", step.contents)
        ends = self.ends[step.contents]
        for name, known in ends[step.source]:
            yield ("before", name)
            yield from (("before", name, *role) for role in known.items())
        for name, known in ends[step.target] if target else ():
            yield ("after", name)
            yield from (("after", name, r, names.get(n, n)) for r, n in known.items())

    def obligation(self, step: SymbolicStep) -> Obligation:
        """The obligation that a step belongs to, with nothing found yet."""
        place = self.places[step.source]
        name = self.scope.named(place.operation.name)
        if not place.functions:
            return Obligation(name, before="begins")
        qualname, lasti, _ = place.frames[0]
        text = next_statement(qualname, lasti)
        return Obligation(name, qualname, text or "returns", rules_of(place))


def another(key: str, entry: Any) -> Iterator[Atom]:
    """What is found where an entry is not the one that it is counted as."""
    process, name, address = split(key)
    here: tuple[str, ...] = (process,) if name == "pmd" else (process, address)
    if entry is not None:
        kind = "huge" if name == "pmd" else "mapped"
        yield ("is", kind, here, False)
        yield ("is not", f"{kind}_page".removeprefix("mapped_"), here, name_of(entry))
        return
    for kind in ("huge",) if name == "pmd" else ("mapped", "moving", "swapped"):
        yield ("is", kind, here, True)


def rules_of(place: Place) -> tuple[str, ...]:
    """The rules that the functions ask for in which an operation is suspended."""
    asked = [
        id
        for qualname, _, _ in place.frames[:2]
        for id in re.findall(r"AE-[A-Z]+-[0-9]+", source_of(code_of(qualname)))
    ]
    return tuple(dict.fromkeys(asked))


# -- sentences -------------------------------------------------------------------------


@dataclass(frozen=True)
class Sentence:
    """What is to be shown that does not speak of steps.

    Attributes:
        obligation: the name of the obligation that it belongs to.
        contents: whether it is of contents.
        ask: how the solver is asked.
        clause: what.
    """

    obligation: str
    contents: bool
    ask: Callable[[Prover, Clause], Answer]
    clause: Clause


def sentences(attempt: Attempt) -> Iterator[Sentence]:
    """The beginning, the consequences, the lemmas."""
    from spec.prover.solver import Prover

    named = attempt.scope.named
    for contents, part in attempt.parts.items():
        for clause in part.everything():
            yield Sentence(named("at first"), contents, Prover.at_first, clause)
    for contents, part in attempt.parts.items():
        for clause in part.consequences:
            name = named(f"invariant implies {clause.of}")
            yield Sentence(name, contents, Prover.follows, clause)
    for contents, part in attempt.parts.items():
        for lemma in part.lemmas:
            name = named(f"lemma: {lemma.name}")
            yield Sentence(name, contents, Prover.set_under, lemma)


# -- asking the solver -----------------------------------------------------------------

Question = int | Sentence
"""A step, by number, or a sentence."""
Answered = tuple[str, tuple[str, ...], float]
"""What is found, the clauses, and the solver's seconds."""


def answers(
    attempt: Attempt, numbers: list[int], others: list[Sentence], workers: int
) -> Iterator[tuple[Question, Answered]]:
    """What the solver says of steps and of sentences, in any order.

    Those of owners stand first and those of contents last, so that two processes
    need one solver each.
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    for number in numbers:
        groups[_done(attempt.steps[number])].append(number)
    asked: list[Sentence | list[int]] = []
    for contents in (False, True):
        asked += [other for other in others if other.contents == contents]
        asked += [group for key, group in groups.items() if key[0] == contents]

    def begin() -> Callable[[int], list[Answered]]:
        return lambda number: list(_answered(attempt, asked[number]))

    for number, found in side_by_side(begin, range(len(asked)), workers, at_once=4):
        each = asked[number]
        yield from zip(each if isinstance(each, list) else [each], found, strict=True)


def _done(step: SymbolicStep) -> Any:
    """What a step does: those with the same differ only by what they find."""
    freed = frozenset(atom for atom in step.guard if atom[0] == "becomes free")
    does = (step.writes, step.each, step.bound, step.raised, freed)
    return step.contents, step.source, step.target, does


def _answered(attempt: Attempt, asked: Sentence | list[int]) -> Iterator[Answered]:
    """What is found of a sentence, or of each of the steps that do the same.

    The seconds of an answer to all steps are shared among them.
    """
    began = time.monotonic()
    if isinstance(asked, Sentence):
        answer = asked.ask(attempt.prover(contents=asked.contents), asked.clause)
        yield answer.found, answer.clauses, time.monotonic() - began
        return
    steps = [attempt.steps[number] for number in asked]
    prover = attempt.prover(contents=steps[0].contents)
    if len(steps) > 1 and prover.all_kept(steps, attempt.places):
        each = (time.monotonic() - began) / len(steps)
        yield from [(PROVED, (), each)] * len(steps)
        return
    for step in steps:
        began = time.monotonic()
        found, clauses = _answer(attempt, prover, step)
        yield found, clauses, time.monotonic() - began


def _answer(
    attempt: Attempt, prover: Prover, step: SymbolicStep
) -> tuple[str, tuple[str, ...]]:
    """What is found of a step, and the clauses that it breaks or why nothing is known.

    A world of a few things that satisfies the invariant is a world like any other: what
    is refuted there is refuted, also where the solver gives up on worlds of any size.
    Without a rule that is the rule, and asked first.
    """
    answer = prover.check(step, attempt.places, quickly=bool(attempt.without))
    if answer.found == PROVED:
        return PROVED, ()
    broken = ""
    if attempt.without or answer.found == UNKNOWN:
        broken = refuted(step, attempt.places, prover)
    if broken:
        return REFUTED, (broken,)
    if attempt.without:
        answer = prover.check(step, attempt.places)
    return answer.found, answer.clauses


def prove(
    model: Model,
    without: Iterable[str] = (),
    report: Report = silent,
    workers: int = 0,
    only: Iterable[str] = (),
    proof: Proof | None = None,
    known: frozenset[Any] = frozenset(),
    scope: Scope = BASE,
) -> Result:
    """Look at all obligations of a model.

    Args:
        model: the model.
        without: ids of rules that its operations do not obey.
        report: called with how many questions are answered, and of how many.
        workers: how many processes to use; by default one for each CPU.
        only: names of the operations to look at; by default all.
        proof: the invariant; by default that of the chapter.
        known: steps that are not looked at, by what the solver sees of them. If there
            are any, sentences that speak of no step are not looked at either.
        scope: what exists: base pages, or large folios.

    Raises:
        SpecificationError: z3 is not installed, or an assertion stands nowhere.
    """
    began = time.monotonic()
    removed = frozenset(without)
    workers = workers or os.cpu_count() or 1
    attempt = Attempt(model, removed, only, proof, workers, scope)
    others = [] if known else list(sentences(attempt))
    numbers = [
        number
        for number, step in enumerate(attempt.steps)
        if not known or attempt.key(step) not in known
    ]
    owners: dict[Question, Obligation] = {
        **{each: Obligation(each.obligation) for each in others},
        **{number: attempt.obligation(attempt.steps[number]) for number in numbers},
    }
    found: dict[str, Obligation] = {}
    for each in owners.values():
        found.setdefault(each.name, each)
    interrupted = False
    answered: dict[Question, Answered] = {}
    try:
        for question, answer in answers(attempt, numbers, others, workers):
            answered[question] = answer
            report(len(answered), len(owners))
    except KeyboardInterrupt:
        interrupted = True
    # in the order of questions: which worker was quicker must not show
    for question in (each for each in owners if each in answered):
        verdict, clauses, seconds = answered[question]
        obligation = found[owners[question].name]
        obligation.note(verdict, clauses, seconds)
        if verdict != PROVED and isinstance(question, int):
            obligation.failed.append(question)
    for question in (each for each in owners if each not in answered):
        found[owners[question].name].leave()
    exemplify(found.values(), attempt)
    seconds = time.monotonic() - began
    ids = tuple(sorted(removed))
    every = [counted(attempt), *found.values()]
    return Result(model.name, ids, every, seconds, interrupted)


def joined(found: Sequence[Result]) -> Result:
    """Results of one model as one."""
    return Result(
        found[0].model,
        found[0].without,
        [each for result in found for each in result.obligations],
        sum(result.seconds for result in found),
        any(result.interrupted for result in found),
    )


def exemplify(obligations: Iterable[Obligation], attempt: Attempt) -> None:
    """Find the smallest counterexample to each obligation that is not discharged."""
    for obligation in obligations:
        if obligation.failed:
            step = smallest(attempt.steps[number] for number in obligation.failed)
            prover = attempt.prover(contents=step.contents)
            obligation.example = example(step, attempt.places, prover)


def counted(attempt: Attempt) -> Obligation:
    """Counts are exact: each footprint changes them as it changes the holders.

    A footprint that does not must never be taken; that is for the solver, at its place.
    """
    return Obligation(
        attempt.scope.named("invariant implies AE-INV-3, AE-INV-6"),
        before="every footprint counts what it changes",
        steps=attempt.footprints - attempt.miscounted,
    )
