"""The solver: is a clause of the invariant kept by a step?

Each question is asked up to three times. First only that part of the invariant is
assumed that was of use before, then all of it, of those things only that the step and
the clause mention: that is enough for nearly all. Where it is not, the invariant is
assumed of everything, and the solver gives a counterexample. What follows from a part
follows from the whole. Steps that differ only by what they find are first asked about
together.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import z3

from spec.prover.assertions import Clause, Proof, roles, stands
from spec.prover.footprints import (
    ANY_PROCESS,
    ANY_REFERENCE,
    ANY_SLOT,
    OVER,
    Place,
)
from spec.prover.guards import Guard
from spec.prover.holders import ANOTHER, TESTS, WHOLE, some, unheld
from spec.prover.logic import (
    Effect,
    Function,
    Symbolic,
    assigned,
    constants,
    mentioned,
    unknown,
    updated,
)
from spec.prover.promises import Promises
from spec.prover.scopes import BASE, Scope
from spec.prover.steps import Atom, Rep, SymbolicStep

Change = tuple[Rep | tuple[Any, ...], Any]
"""Where a field is assigned, by names or for all in a situation, and the value."""
SEED = 8
EFFORT = 40_000_000
"""A question that takes more (z3's ``rlimit``) is answered with unknown.

Seconds would depend on what else the machine does.
"""


@dataclass(frozen=True)
class Answer:
    """What the solver says.

    Attributes:
        found: ``proved``, ``refuted`` or ``unknown``.
        clauses: those that are not kept, or the reason why nothing is known.
        model: a counterexample.
    """

    found: str
    clauses: tuple[str, ...] = ()
    model: Any = None


class Prover:
    """Asks about steps, with the invariant assumed before each.

    Args:
        proof: the invariant.
        promises: what the model promises.
        scope: what exists in the states.
    """

    def __init__(
        self,
        proof: Proof,
        promises: Promises,
        scope: Scope = BASE,
    ) -> None:
        self.proof, self.scope = proof, scope
        extra = [each.name for each in proof.every_assertion]
        contents = proof.given is not None
        self.before = unknown(extra, promises, contents, scope)
        self.clauses = [c for c in proof.everything() if self._says(c)]
        self.names: dict[str, Any] = {}
        for letter, names in scope.names.items():
            self.names |= dict(zip(names, constants(letter, *names), strict=True))
        self.familiar, self.quick, self.full = (self._solver() for _ in range(3))
        for solver in (self.familiar, self.quick):
            # no quantifiers are assumed there, for which alone relevancy is kept
            solver.set("relevancy", 0)
        self._assumed: dict[Any, Any] = {}
        self._known: set[Any] = set()
        for clause in [*proof.axioms, *proof.assumed()]:
            self.full.add(*self._quantified(clause))
            for instance in self._instances(clause):
                name = z3.Bool(f"assumed {len(self._assumed)}")
                self._assumed[name] = instance
                self.quick.assert_and_track(instance, name)
        self.violated = [
            (clause, z3.Bool(f"not kept: {clause.name}")) for clause in self.clauses
        ]
        self.small: dict[Any, Any] = {}
        broken = [z3.Not(self._some(clause)) for clause in self.clauses]
        self._broken_of = {
            flag: (z3.Implies(flag, formula), mentioned(formula))
            for (_, flag), formula in zip(self.violated, broken, strict=True)
        }
        self._questions: dict[frozenset[str], tuple[Any, Any]] = {}
        self._facts: dict[Any, list[Any]] = {}
        self._places: dict[Any, dict[str, dict[str, Any]]] = {}
        self._atoms: dict[Atom, Any] = {}
        self._after: dict[tuple[str, tuple[Change, ...]], Function] = {}

    def _solver(self) -> Any:
        solver = z3.Solver()
        solver.set("random_seed", SEED)
        solver.set("rlimit", EFFORT)
        for letter, names in self.scope.names.items():
            if len(names) > 1 and letter != "d":
                solver.add(z3.Distinct(*(self.names[n] for n in names)))
        solver.add(*self.rows(self.scope.names["p"]))
        return solver

    def rows(self, pages: Iterable[str]) -> Iterator[Any]:
        """Which of these pages can be a large folio together."""
        known = set(pages)
        for pair in self.scope.pairs:
            if known >= {*pair}:
                first, second = constants("p", *pair)
                for page in (first, second):
                    yield self.before.row(page) == first
                    yield self.before.tail(page) == second

    # -- the invariant ----------------------------------------------------------------

    def _says(self, clause: Clause) -> bool:
        """Whether a clause says something about these states."""
        return clause.holds(self.before, *_constants(clause, "!")) is not True

    def _some(self, clause: Clause) -> Any:
        """The clause of some things, called by the variables' names and ``!``."""
        found = clause.holds(self.before, *_constants(clause, "!"))
        return z3.BoolVal(found) if isinstance(found, bool) else found

    def _quantified(self, clause: Clause) -> Iterator[Any]:
        variables = _constants(clause, "?")
        body = clause.holds(self.before, *variables)
        if not isinstance(body, bool):
            yield z3.ForAll(variables, body)

    def _instances(self, clause: Clause) -> Iterator[Any]:
        variables = _constants(clause, "?")
        body = clause.holds(self.before, *variables)
        if isinstance(body, bool):
            return
        terms = self._terms_of_folios() if self.scope.has_folios else self._terms()
        groups = []
        letters = "".join(name[0] for name in clause.variables)
        for letter in letters.replace("mv", "#"):
            groups.append(terms[letter])
        for chosen in itertools.product(*groups):
            things = [thing for part in chosen for thing in part]
            yield z3.substitute(body, *zip(variables, things, strict=True))

    def _terms(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the invariant is assumed of at first: processes with addresses as #."""
        s, n = self.before, self.names
        m, m2 = constants("m", "m!", "m2!")
        v, v2 = constants("v", "v!", "v2!")
        p, r, c, e = (constants(letter, f"{letter}!")[0] for letter in "prce")
        c2 = constants("c", "c2!")[0]
        a, x, b, y, r1, p1, s1 = (n[k] for k in ("A", "x", "B", "y", "r1", "p1", "s1"))
        places = [
            *((a, x), (a, y), (b, x), (b, y), (m, v), (m2, v2)),
            *((s.taken_for(k), s.taken_at(k)) for k in (r, r1, s.at_reference(c))),
            (s.at_process(c), s.at_address(c)),
        ]
        pages = [p1, n["p2"], n["p3"], p, s.of(r), s.at_page(c), s.held(n["c"])]
        pages += [s.page(a, x), s.page(m, v), s.page(m2, v2), s.folio(s1), s.target(c)]
        pages += [s.of(s.at_reference(c))]
        cpus = [n["c"], c, c2, s.by(r)]
        cpus += map(s.ptl_by, (a, b, m, m2, s.taken_for(r)))
        cpus += [s.locked_by(p1), s.locked_by(s.page(m, v))]
        cpus += [s.locked_by(s.page(m2, v2)), s.ptl_by(s.taken_for(s.at_reference(c)))]
        if self.proof.given:
            swapped = s.folio(s.slot(m, v))
            cpus.append(s.locked_by(swapped))
            pages += [swapped, s.at_page(s.locked_by(swapped))]
        slots = [s1, e, s.cached_in(p1), s.slot(m, v), s.slot(m2, v2), s.slot(a, x)]
        return {
            "#": list(places),
            "m": [(process,) for process, _ in places],
            "p": [(page,) for page in pages],
            "r": [(r1,), (r,), (s.at_reference(c),)],
            "c": [(cpu,) for cpu in cpus],
            "e": [(slot,) for slot in slots],
        }

    def _terms_of_folios(self) -> dict[str, list[tuple[Any, ...]]]:
        """The same where there are large folios: pages with the heads of theirs."""
        s, n = self.before, self.names
        m, m2, other = constants("m", "m!", "m2!", ANOTHER)
        one, *_ = constants("m", f"one of {n['p1']}")
        v, v2 = constants("v", "v!", "v2!")
        p, r, c = (constants(letter, f"{letter}!")[0] for letter in "prc")
        c2, r2 = constants("c", "c2!")[0], constants("r", "r2!")[0]
        a, x, b, y, r1, p1 = (n[k] for k in ("A", "x", "B", "y", "r1", "p1"))
        places = [
            *((a, x), (a, y), (b, x), (b, y), (m, v), (m2, v2), (m, x), (m, y)),
            *((s.taken_for(k), s.taken_at(k)) for k in (r, r1, s.at_reference(c))),
            *((s.at_process(c), s.at_address(c)), (other, x)),
            *((one, x), (one, y)),
            *((s.at_process(c), x), (s.at_process(c), y)),
        ]
        stood = map(s.at_address, (c, s.ptl_by(b), s.ptl_by(m)))
        pages = [n[k] for k in ("p1", "p2", "p3", "p4")]
        pages += [p, s.row(p), s.tail(p), s.of(r), s.row(s.of(r)), s.tail(s.of(r))]
        pages += [s.at_page(c), s.row(s.at_page(c)), s.held(n["c"]), s.huge_page(m)]
        pages += [s.page(a, x), s.page(a, y), s.page(m, v), s.page(m2, v2)]
        pages += [s.row(s.page(m, v)), s.tail(s.page(m, v)), s.huge_page(a)]
        pages += [s.tail(s.huge_page(m)), s.target(c), s.of(s.at_reference(c))]
        pages += [s.at_lock(c), s.at_first(c), s.at_second(c), s.held(c)]
        cpus = [n["c"], c, c2, s.by(r), s.by(r1)]
        cpus += map(s.ptl_by, (a, b, m, m2, s.taken_for(r)))
        cpus += map(s.locked_by, (p1, s.page(m, v), s.row(s.page(m, v))))
        cpus += [s.locked_by(s.row(p)), s.ptl_by(s.taken_for(s.at_reference(c)))]
        return {
            "#": list(places),
            "m": [(process,) for process in dict.fromkeys(m for m, _ in places)],
            "v": [(address,) for address in (x, y, v, v2, *stood)],
            "p": [(page,) for page in pages],
            "r": [(r1,), (r,), (r2,), (s.at_reference(c),)],
            "c": [(cpu,) for cpu in cpus],
        }

    # -- a step -----------------------------------------------------------------------

    def value(self, name: Any) -> Any:
        """What a name stands for; a truth value stands for itself, a copy for what is
        copied."""
        if isinstance(name, tuple):
            _, field, record = name
            return self.before.get(field, self.names[record])
        return self.names[name] if isinstance(name, str) else name

    def found(self, atom: Atom) -> Any:
        """An atom of a guard as a formula about the state before the step."""
        if atom not in self._atoms:
            self._atoms[atom] = self._found(atom)
        return self._atoms[atom]

    def _found(self, atom: Atom) -> Any:
        kind, *rest = atom
        if kind not in ("is", "is not"):
            return TESTS[kind](self.before, *map(self.value, rest))
        field, where, value = rest
        found = self.before.get(field, *(self.value(name) for name in where))
        if kind == "is not":
            return found != self.value(value)
        if field == "entire" and value:
            return z3.And(found, some(self.before, WHOLE, self.value(where[0])))
        if isinstance(value, bool):
            return found if value else z3.Not(found)
        return found == self.value(value)

    def guard(self, step: SymbolicStep, place: Place) -> Iterator[Any]:
        """What is true before a step, besides the invariant."""
        yield from self._found_all(step.guard)
        yield from self._standing(place)

    def _found_all(self, guard: Guard) -> list[Any]:
        """What a guard says of the state before the step."""
        atoms = sorted(guard, key=repr)
        return [self.found(atom) for atom in atoms if atom[0] != "becomes free"]

    def _standing(self, place: Place) -> list[Any]:
        """Where the CPU stands before a step, and at which things."""
        key = _spot(place)
        if key not in self._facts:
            c, stood = self.names["c"], self._stood(place)
            known = self._facts[key] = []
            for assertion in self.proof.every_assertion:
                here = assertion.name in stood
                known.append(self.before.get(f"at:{assertion.name}", c) == here)
                for role, value in stood.get(assertion.name, {}).items():
                    known.append(self.before.get(role, c) == self.value(value))
        return self._facts[key]

    def _stood(self, place: Place) -> dict[str, dict[str, Any]]:
        """The assertions that speak of a place, and of which things."""
        key = _spot(place)
        if key not in self._places:
            self._places[key] = {
                each.name: {
                    role: thing
                    for role, thing in roles(each, place).items()
                    if role in self.before.fields
                }
                for each in self.proof.every_assertion
                if stands(each, place)
            }
        return self._places[key]

    def effect(
        self, step: SymbolicStep, source: Place, target: Place | None
    ) -> Symbolic:
        """The state after a step, in terms of the one before."""
        changes: dict[str, list[Change]] = defaultdict(list)
        for rep in step.each:
            for field, _, value in rep.writes:
                changes[field].append((rep, value))
        for field, where, value in sorted(step.writes, key=repr):
            name = "raced" if field == "sequence count" else field
            changes[name].append((where, value))
        for field, value in self._arrival(step, source, target):
            changes[field].append((("c",), value))
        return self.before.with_(
            {
                field: self._changed(field, tuple(all_))
                for field, all_ in changes.items()
            }
        )

    def _changed(self, field: str, changes: tuple[Change, ...]) -> Function:
        """A field after changes: the same function whenever they are the same."""
        key = field, changes
        if key not in self._after:
            function = self.before.fields[field]
            for where, value in changes:
                function = updated(function, self._update(where, value))
            self._after[key] = function
        return self._after[key]

    def _update(self, where: Rep | tuple[Any, ...], value: Any) -> Function:
        if isinstance(where, Rep):
            return self._each(where, value)
        place = tuple(self.value(name) for name in where)
        if value is None:  # the sequence count
            return self._race(place[0])
        return assigned(place, self.value(value))

    def _race(self, m: Any) -> Function:
        at_process = self.before.fields["at_process"]
        return lambda old, c: z3.Or(old(c), at_process(c) == m)

    def _each(self, rep: Rep, value: Any) -> Function:
        def update(old: Any, *things: Any) -> Any:
            when = [self._any(atom, things) for atom in sorted(rep.when, key=repr)]
            if rep.over == "r":
                when.append(z3.Or(*(f(*things) for f in self._taken)))
            return z3.If(z3.And(*when), self.value(value), old(*things))

        return update

    @property
    def _taken(self) -> tuple[Any, Any]:
        return self.before.fields["pending"], self.before.fields["returned"]

    def _any(self, atom: Atom, things: tuple[Any, ...]) -> Any:
        """An atom of a name that stands for any other thing, of one such thing."""
        _, field, where, value = atom
        names = {ANY_REFERENCE: things[0], ANY_PROCESS: things[0]}
        if where[0] == ANY_SLOT:
            found = self.before.get(field, self.before.slot(*things))
        else:
            found = self.before.get(field, names[where[0]], *things[1 : len(where)])
        if value == ANY_SLOT:
            return z3.BoolVal(True)
        return found == self.value(value)

    def _arrival(
        self, step: SymbolicStep, source: Place, target: Place | None
    ) -> Iterator[tuple[str, Any]]:
        """Where the CPU stands after a step, as far as it did not before."""
        stood = self._stood(source)
        will = self._stood(target) if target else {}
        names = dict(zip(target.operands, step.bound, strict=True)) if target else {}
        for assertion in self.proof.every_assertion:
            here = assertion.name in will
            if here != (assertion.name in stood):
                yield f"at:{assertion.name}", here
            for role, value in will.get(assertion.name, {}).items():
                yield role, names.get(value, value)

    # -- questions --------------------------------------------------------------------

    def check(
        self, step: SymbolicStep, places: list[Place], *, quickly: bool = False
    ) -> Answer:
        """Does the step keep every clause? One that breaks something: is it taken?

        Args:
            step: the step.
            places: of the proof.
            quickly: only ask what is enough to prove nearly all that can be proved.
        """
        facts = [*self.guard(step, places[step.source]), *self._wrong(step, places)]
        return self.ask(facts, step.raised, quickly=quickly)

    def all_kept(self, steps: Sequence[SymbolicStep], places: list[Place]) -> bool:
        """Whether it is shown at once that steps which do the same keep every clause.

        Args:
            steps: they differ only by what they find.
            places: of the proof.
        """
        common = frozenset.intersection(*(step.guard for step in steps))
        some = [z3.And(*self._found_all(step.guard - common)) for step in steps]
        facts = [*self._found_all(common), *self._standing(places[steps[0].source])]
        facts += [z3.Or(*some), *self._wrong(steps[0], places)]
        return self.ask(facts, quickly=True).found == "proved"

    def _wrong(self, step: SymbolicStep, places: list[Place]) -> list[Any]:
        """What has to be excluded, if a step is taken that breaks nothing at once."""
        target = None if step.target == OVER else places[step.target]
        broken = self._broken(step, places[step.source], target)
        return [] if step.raised else list(broken)

    def _broken(
        self, step: SymbolicStep, source: Place, target: Place | None
    ) -> Iterator[Any]:
        """Some clause does not hold after the step."""
        after = self.effect(step, source, target)
        yield from self._kept_by(after)
        for atom in step.guard:
            if atom[0] == "becomes free":
                yield unheld(after, self.value(atom[1]))

    def _kept_by(self, after: Symbolic) -> Iterator[Any]:
        """Some clause does not hold after a step; unchanged ones are left out."""
        effect = Effect(self.before, after)
        if effect.changed not in self._questions:
            self._questions[effect.changed] = self._question(effect.changed)
        broken, some = self._questions[effect.changed]
        yield from (effect.of(broken), some)

    def _question(self, changed: frozenset[str]) -> tuple[Any, Any]:
        """Which clauses are broken that speak of these fields; that one of them is."""
        flags = [
            flag
            for flag, (_, fields) in self._broken_of.items()
            if not fields.isdisjoint(changed)
        ]
        return z3.And(*(self._broken_of[flag][0] for flag in flags)), z3.Or(*flags)

    def ask(
        self, facts: list[Any], raised: tuple[str, ...] = (), *, quickly: bool = False
    ) -> Answer:
        """Can the facts be true of a state that satisfies the invariant?"""
        for solver in (self.familiar, self.quick):
            core = self._unsatisfiable(solver, facts)
            if core is not None:
                self._learn(core)
                return Answer("proved")
        if quickly:
            return Answer("unknown", ("a part of the invariant was not enough",))
        return self._completely(facts, raised)

    def _learn(self, core: list[Any]) -> None:
        """Assume henceforth at once what was of use."""
        new = [name for name in core if name not in self._known]
        self._known.update(new)
        self.familiar.add(*(self._assumed[name] for name in new))

    def _unsatisfiable(self, solver: Any, facts: list[Any]) -> list[Any] | None:
        """The assumptions that exclude the facts; nothing if it is not shown."""
        with _given(solver, facts) as found:
            return list(solver.unsat_core()) if found == z3.unsat else None

    def _completely(self, facts: list[Any], raised: tuple[str, ...]) -> Answer:
        """The answer where the invariant is assumed of everything."""
        with _given(self.full, facts) as found:
            if found == z3.unsat:
                return Answer("proved")
            if found == z3.sat:
                model = self.full.model()
                return Answer("refuted", raised or self._names(model), model)
            return Answer("unknown", (str(self.full.reason_unknown()),))

    def _names(self, model: Any) -> tuple[str, ...]:
        return tuple(c.name for c, flag in self.violated if z3.is_true(model[flag]))

    def follows(self, clause: Clause) -> Answer:
        """Does a sentence follow from the invariant?"""
        return self.ask([z3.Not(self._some(clause))], (clause.name,))

    def set_under(self, lemma: Clause, besides: str = "") -> Answer:
        """May the bit be set where the premises of a lemma hold?

        Args:
            lemma: the premises, by name; of the process, the address, the page, a CPU.
            besides: a premise to leave out.
        """
        m, v, p, c = (self.names[name] for name in ("A", "x", "p1", "c"))
        premises = lemma.holds(self.before, m, v, p, c)
        facts = [fact for name, fact in premises.items() if name != besides]
        facts += [
            z3.Not(self.before.get(f"at:{assertion.name}", c))
            for assertion in self.proof.every_assertion
        ]
        set_ = self._changed("exclusive", ((("p1",), True),))
        return self.ask(
            [*facts, *self._kept_by(self.before.with_({"exclusive": set_}))]
        )

    def at_first(self, clause: Clause) -> Answer:
        """Is a clause true of a state in which nothing has happened?"""
        with _given(self._blank, [z3.Not(self._some(clause))]) as found:
            kept = found == z3.unsat
        return Answer("proved") if kept else Answer("refuted", (clause.name,))

    @cached_property
    def _blank(self) -> Any:
        """A solver that knows that nothing has happened."""
        solver = z3.Solver()
        for axiom in self.proof.axioms:
            solver.add(*self._quantified(axiom))
        solver.add(*self.before.blank(live="A"))
        return solver


@contextmanager
def _given(solver: Any, facts: list[Any]) -> Iterator[Any]:
    """What the solver says of facts; they are forgotten afterwards."""
    solver.push()
    try:
        solver.add(*facts)
        yield solver.check()
    finally:
        solver.pop()


def _spot(place: Place) -> Any:
    """What places have in common of which the same is said."""
    return place.functions, place.location, repr(place.own)


def _constants(clause: Clause, suffix: str) -> list[Any]:
    return [constants(name[0], name + suffix)[0] for name in clause.variables]
