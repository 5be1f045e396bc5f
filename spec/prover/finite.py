"""States of few things: a counterexample as small as can be, without quantifiers.

The solver refutes an obligation in a world of any size. Here the same question is asked
of a world with a handful of things, each with a name. "For all" is then a list, and of
the states that are left the one is looked for in which least is the case.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import z3

from spec.prover.assertions import Clause, Proof
from spec.prover.footprints import Place
from spec.prover.holders import named_ones, unheld
from spec.prover.logic import SORT, Effect, Symbolic, constants, mentioned
from spec.prover.scopes import BASE, Scope
from spec.prover.solver import Prover
from spec.prover.state import SORTS
from spec.prover.steps import SymbolicStep

WORLDS = (
    {
        "m": ("A", "B"),
        "v": ("x", "y"),
        "p": ("p1", "p2", "p3"),
        "r": ("r1", "r2"),
        "c": ("c", "d"),
        "e": ("s1",),
        "d": ("d0", "d1", "d2", "d3", "d4"),
    },
    {
        "m": ("A", "B", "C"),
        "v": ("x", "y"),
        "p": ("p1", "p2", "p3", "p4", "p5"),
        "r": ("r1", "r2", "r3"),
        "c": ("c", "d", "f"),
        "e": ("s1", "s2"),
        "d": ("d0", "d1", "d2", "d3", "d4"),
    },
)
"""What exists: tried in this order, until a counterexample fits."""
OF_FOLIOS = (
    {
        "m": ("A", "B"),
        "v": ("x", "y"),
        "p": ("p1", "p2", "p3", "p4"),
        "r": ("r1",),
        "c": ("c", "d"),
    },
    {
        "m": ("A", "B", "C"),
        "v": ("x", "y"),
        "r": ("r1", "r2"),
        "p": ("p1", "p2", "p3", "p4", "p5", "p6"),
        "c": ("c", "d", "f"),
    },
)
"""The same where there are large folios: pages are in rows."""

ARGUMENT = 3
"""So many clauses of each part are the argument; the others serve them."""

SECONDS = 20
"""A world in which the solver has found nothing after so long is given up."""

World = dict[str, tuple[str, ...]]
Fact = tuple[str, tuple[str, ...]]
"""A field that is true or false, and of which things."""
Facts = dict[Fact, Any]
"""What each field is, of all things: a truth value, or the name of a thing."""

BLANK = {"free": True, "dirty": True, "swapbacked": True}
"""What a field says of a thing to which nothing has happened, if that is not no."""


class Small:
    """A world of a few things that satisfies the invariant, and what is asked of it.

    Args:
        prover: what assumes the invariant.
        world: what exists.
    """

    def __init__(self, prover: Prover, world: World) -> None:
        self.prover, self.world = prover, world
        self.things = {
            letter: constants(letter, *names) for letter, names in world.items()
        }
        self.before = prover.before
        self.solver = z3.Solver()
        self.solver.set("timeout", 1000 * SECONDS)
        self.solver.add(*self._world(), *self._invariant())
        self.breaks = {c.name: self._broken(c) for c in prover.clauses}

    @contextmanager
    def step(
        self, step: SymbolicStep, source: Place, target: Place | None
    ) -> Iterator[None]:
        """Ask about a step from here on."""
        self.after = self.prover.effect(step, source, target)
        self.effect = Effect(self.before, self.after)
        self.solver.push()
        try:
            self.solver.add(*map(self._listed, self.prover.guard(step, source)))
            if not step.raised:
                self.solver.add(*map(self._listed, self._freed(step)))
            yield
        finally:
            self.solver.pop()

    # -- what is asked ----------------------------------------------------------------

    def _world(self) -> Iterator[Any]:
        """There are these things, and no others."""
        for things in self.things.values():
            if len(things) > 1:
                yield z3.Distinct(*things)
        for field in self._fields():
            function: Any = self.before.fields[field]
            letter = self._letter(function)
            if letter:
                for chosen in self._choices(function):
                    yield self._one_of(letter, function(*chosen))
        yield from self.prover.rows(self.world["p"])
        for thing in (
            named_ones(self.things["p"]) if self.prover.scope.has_folios else ()
        ):
            yield self._one_of("m", thing)

    def _invariant(self) -> Iterator[Any]:
        proof = self.prover.proof
        for clause in [*proof.axioms, *proof.assumed()]:
            for chosen in self._each(clause):
                found = clause.holds(self.before, *chosen)
                if not isinstance(found, bool):
                    yield found

    def _freed(self, step: SymbolicStep) -> Iterator[Any]:
        """Whom a page is taken from when its count becomes 0: nobody is left."""
        for kind, *rest in step.guard:
            if kind == "becomes free":
                yield unheld(self.after, self.prover.value(rest[0]))

    def _broken(self, clause: Clause) -> Any:
        """The clause does not hold of something."""
        found = [clause.holds(self.before, *chosen) for chosen in self._each(clause)]
        return z3.Or(*(z3.Not(each) for each in found if not isinstance(each, bool)))

    def broken(self, clause: Clause) -> Any:
        """The clause does not hold after the step; none if the step can't tell."""
        breaks = self.breaks[clause.name]
        untouched = mentioned(breaks).isdisjoint(self.effect.changed)
        return None if untouched else self.effect.of(breaks)

    def _each(self, clause: Clause) -> Iterator[tuple[Any, ...]]:
        letters = [name[0] for name in clause.variables]
        return itertools.product(*(self.things.get(letter, []) for letter in letters))

    def _fields(self) -> list[str]:
        return list(self.before.fields)

    def _letter(self, function: Any) -> str:
        """The sort of a field's values; empty for truth values."""
        found = [letter for letter in SORTS if SORT[letter] == function.range()]
        return found[0] if found else ""

    def _choices(self, function: Any) -> Iterator[tuple[Any, ...]]:
        domains = [function.domain(i) for i in range(function.arity())]
        by_sort = {str(SORT[letter]): things for letter, things in self.things.items()}
        return itertools.product(*(by_sort[str(domain)] for domain in domains))

    def _one_of(self, letter: str, term: Any) -> Any:
        return z3.Or(*(term == thing for thing in self.things[letter]))

    def _listed(self, formula: Any) -> Any:
        """The formula with a list in place of each "for all"."""
        if isinstance(formula, bool):
            return z3.BoolVal(formula)
        pairs = [(found, self._list(found)) for found in quantified(formula)]
        return z3.substitute(formula, *pairs) if pairs else formula

    def _list(self, formula: Any) -> Any:
        sorts = [str(formula.var_sort(i)) for i in range(formula.num_vars())]
        by_sort = {str(SORT[letter]): things for letter, things in self.things.items()}
        instances = [
            self._listed(z3.substitute_vars(formula.body(), *reversed(chosen)))
            for chosen in itertools.product(*(by_sort[sort] for sort in sorts))
        ]
        return z3.And(*instances)

    # -- what is found ----------------------------------------------------------------

    def clause(self) -> Clause | None:
        """The most telling clause that the step can break; it is broken from now on."""
        kept = telling(self.prover.proof)
        found = [(c, self.broken(c)) for c in kept if c.name in self.breaks]
        changed = [(clause, broken) for clause, broken in found if broken is not None]
        if self.solver.check(z3.Or(*(broken for _, broken in changed))) != z3.sat:
            return None
        for clause, broken in changed:
            if self.solver.check(broken) == z3.sat:
                self.solver.add(broken)
                return clause
        return None

    def possible(self) -> bool:
        """Whether there is a state at all."""
        return bool(self.solver.check() == z3.sat)

    def minimised(self) -> Any:
        """A model in which as little as possible is the case; none if there is none."""
        if self.solver.check() != z3.sat:
            return None
        model = self.solver.model()
        for facts in self._dropped():
            blank = [self._blank(fact) for fact in facts]
            more = [f for f in blank if not z3.is_true(model.eval(f, True))]
            if more and self.solver.check(*blank) == z3.sat:
                model = self.solver.model()
                more = []
            if not more:
                self.solver.add(*blank)
        return model

    def _dropped(self) -> Iterator[list[Fact]]:
        """What to leave out: all about a thing, last things first; then each fact."""
        facts = [
            (name, tuple(map(str, chosen)))
            for name in self._fields()
            for chosen in self._choices(self.before.fields[name])
            if not self._letter(self.before.fields[name])
        ]
        for letter in "crvpem":
            for thing in reversed(self.world.get(letter, ())):
                yield [fact for fact in facts if thing in fact[1]]
        for fact in facts:
            yield [fact]

    def _blank(self, fact: Fact) -> Any:
        name, of = fact
        found: Any = self.before.fields[name](*self._named(name, of))
        return found if BLANK.get(name, False) else z3.Not(found)

    def _named(self, name: str, of: tuple[str, ...]) -> tuple[Any, ...]:
        function: Any = self.before.fields[name]
        sorts = [function.domain(i) for i in range(function.arity())]
        return tuple(z3.Const(n, sort) for n, sort in zip(of, sorts, strict=True))

    def facts(self, model: Any, state: Symbolic) -> Facts:
        """Every field of a state, as the model has it."""
        found: Facts = {}
        names = {
            str(model.eval(thing, True)): str(thing)
            for things in self.things.values()
            for thing in things
        }
        for name in self._fields():
            function: Any = self.before.fields[name]
            for chosen in self._choices(function):
                value = model.eval(state.get(name, *chosen), True)
                of = tuple(map(str, chosen))
                known = z3.is_true(value) if z3.is_bool(value) else names[str(value)]
                found[name, of] = known
        return found

    def broken_of(self, model: Any, clause: Clause) -> dict[str, str]:
        """Of which things the clause does not hold after the step, by variable."""
        for chosen in self._each(clause):
            found = clause.holds(self.after, *chosen)
            if found is False or z3.is_false(model.eval(self._listed(found), True)):
                return dict(zip(clause.variables, map(str, chosen), strict=True))
        raise AssertionError("the model breaks the clause")


def telling(proof: Proof) -> list[Clause]:
    """The clauses of an invariant, those first of which a reader learns most.

    The first three of each part are its argument. What a CPU knows where it stands
    comes next; then what the words rely on.
    """
    found: list[Clause] = []
    for part in proof.parts:
        argument, rest = part.clauses[:ARGUMENT], part.clauses[ARGUMENT:]
        found += [*argument, *(each.clause() for each in part.assertions), *rest]
    return found


def quantified(formula: Any) -> list[Any]:
    """The outermost quantified parts of a formula."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo = [formula]
    while todo:
        part = todo.pop()
        if part.get_id() in seen:
            continue
        seen.add(part.get_id())
        if z3.is_quantifier(part):
            found[part.get_id()] = part
        else:
            todo += part.children()
    return list(found.values())


def worlds(step: SymbolicStep, scope: Scope = BASE) -> Iterator[World]:
    """The worlds in which the step finds all that it names, smallest first."""
    named = {
        name
        for _, *rest in (*step.guard, *step.writes)
        for part in rest
        for name in (part if isinstance(part, tuple) else (part,))
        if isinstance(name, str)
    }
    if scope.has_folios:
        yield from (
            w for w in OF_FOLIOS if named.isdisjoint(scope.names["p"][len(w["p"]) :])
        )
        return
    for world in WORLDS:
        pages = tuple(f"p{i}" for i in range(4, 6) if f"p{i}" in named)
        yield world | {"p": tuple(dict.fromkeys((*world["p"], *pages)))}


def small(prover: Prover, world: World) -> Small:
    """The world, made once for each prover."""
    key = tuple(sorted(world.items()))
    if key not in prover.small:
        prover.small[key] = Small(prover, world)
    found: Small = prover.small[key]
    return found
