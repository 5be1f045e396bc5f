"""The parts of a proof: clauses, assertions at places, consequences."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from spec.cells import SpecificationError
from spec.prover.domains import NOTICING
from spec.prover.footprints import Place, owner
from spec.prover.positions import next_statement
from spec.prover.words import implies

Formula = Callable[..., Any]


@dataclass(frozen=True)
class Clause:
    """A sentence about a state, true of every choice of its variables.

    Attributes:
        name: in words.
        holds: takes the state and the variables, whose first letters tell the sorts.
        of: for a consequence, the guarantee that it is.
    """

    name: str
    holds: Formula
    of: str = ""

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The names of the variables."""
        return tuple(inspect.signature(self.holds).parameters)[1:]

    @property
    def says(self) -> str:
        """The sentence in English."""
        return " ".join((inspect.getdoc(self.holds) or "").split())


@dataclass(frozen=True)
class Assertion:
    """What is true while a CPU stands at certain places.

    Attributes:
        name: of the assertion; a state has the field ``at:name``.
        places: function (``*`` for any), and how the statement begins that comes next.
        fact: takes the state, the CPU and further variables.
        roles: the local variables that are the process, the page and so on, where they
            are not called as usual; there has to be one of each.
        innermost: it is not meant where the function has called another.
        only: the model whose operations alone stop there; empty for every one.
    """

    name: str
    places: tuple[tuple[str, str], ...]
    fact: Formula
    roles: dict[str, str] = field(default_factory=dict)
    innermost: bool = False
    only: str = ""

    def clause(self) -> Clause:
        """The same as a clause of the invariant."""

        def holds(s: Any, c: Any, *variables: Any) -> Any:
            here = s.get(f"at:{self.name}", c)
            return here is False or implies(here, self.fact(s, c, *variables))

        holds.__doc__ = self.fact.__doc__
        holds.__signature__ = inspect.signature(self.fact)  # type: ignore[attr-defined]
        return Clause(_words(self.fact), holds)


class Proof:
    """A proof as chapters write it down.

    Args:
        given: a proof that comes first; what it shows is assumed before each step.
        of: a proof whose clauses and assertions this one has as well.
        but: names of assertions, and ids of guarantees, that it does not have.
    """

    def __init__(
        self,
        given: Proof | None = None,
        of: Proof | None = None,
        but: Collection[str] = (),
    ) -> None:
        self.given = given
        self.clauses: list[Clause] = list(of.clauses) if of else []
        self.assertions: list[Assertion] = [
            each for each in (of.assertions if of else []) if each.name not in but
        ]
        self.consequences: list[Clause] = [
            each for each in (of.consequences if of else []) if each.of not in but
        ]
        self.lemmas: list[Clause] = []
        self.axioms: list[Clause] = []

    def axiom(self, holds: Formula) -> Formula:
        """What is so in all states, by how things are named; it is not proved."""
        self.axioms.append(Clause(_words(holds), holds))
        return holds

    def clause(self, holds: Formula) -> Formula:
        """A clause of the invariant."""
        self.clauses.append(Clause(_words(holds), holds))
        return holds

    def at(
        self,
        name: str,
        *places: tuple[str, str],
        innermost: bool = False,
        only: str = "",
        **roles: str,
    ) -> Callable[[Formula], Formula]:
        """An assertion at places."""

        def register(fact: Formula) -> Formula:
            made = Assertion(name, places, fact, roles, innermost, only)
            self.assertions.append(made)
            return fact

        return register

    def implies(self, id: str) -> Callable[[Formula], Formula]:
        """A guarantee that follows from the invariant."""

        def register(holds: Formula) -> Formula:
            self.consequences.append(Clause(_words(holds), holds, of=id))
            return holds

        return register

    def lemma(self, premises: Formula) -> Formula:
        """Premises under which the bit may be set."""
        self.lemmas.append(Clause(_words(premises), premises))
        return premises

    @property
    def parts(self) -> list[Proof]:
        """The proofs that come first, in order, and this one."""
        return [*(self.given.parts if self.given else []), self]

    @property
    def every_assertion(self) -> list[Assertion]:
        """The assertions, after those of the proof that comes first."""
        return [each for part in self.parts for each in part.assertions]

    @property
    def every_consequence(self) -> list[Clause]:
        """The guarantees that follow, after those from the proof that comes first."""
        return [each for part in self.parts for each in part.consequences]

    def everything(self) -> list[Clause]:
        """What is to be shown: the clauses, and the assertions as clauses."""
        return [*self.clauses, *(a.clause() for a in self.assertions)]

    def assumed(self) -> list[Clause]:
        """The invariant: with what the proof that comes first shows.

        Raises:
            SpecificationError: two have one name, by which the solver knows them.
        """
        made = [each for part in self.parts for each in part.everything()]
        for name, times in Counter(each.name for each in made).items():
            if times > 1:
                raise SpecificationError(
                    f"{times} clauses of the proof are called {name!r}; give each "
                    "function a name of its own"
                )
        return made


def _words(function: Formula) -> str:
    return function.__name__.replace("_", " ")


ROLES = {
    "at_process": ("mm",),
    "at_address": ("va",),
    "at_new_address": ("new_va",),
    "at_page": ("page",),
    "at_reference": ("ref",),
    "at_writable": ("pte", "entry"),
    "at_trapped": ("pte", "entry"),
    "at_slot": ("entry",),
    "at_contents": ("contents",),
}
"""How the local variables are called that are the process, the address and so on."""
OF_FOLIOS = {
    "at_page": ("page", "folio", "pmd"),
    "at_writable": ("pte", "entry", "pmd", "self"),
}
"""The same of large folios, where they are called otherwise."""


def stands(assertion: Assertion, place: Place) -> bool:
    """Whether an assertion speaks of a place."""
    for name in assertion.roles.values():
        if all(variables.get(name) is None for _, _, variables in place.frames):
            return False
    return bool(place.functions) and any(
        function in ("*", qualname) and next_statement(qualname, at).startswith(text)
        for qualname, at, _ in place.frames[: 1 if assertion.innermost else None]
        for function, text in assertion.places
    )


def roles(assertion: Assertion, place: Place) -> dict[str, Any]:
    """What the roles of an assertion are at a place: names, or a truth value."""
    found: dict[str, Any] = {}
    special = {role: (name,) for role, name in assertion.roles.items()}
    usual = ROLES | OF_FOLIOS if place.scope.has_folios else ROLES
    for role, names in (usual | special).items():
        for _, _, variables in place.frames:
            for name in names:
                value = _role(role, variables.get(name))
                if value is not None:
                    found.setdefault(role, value)
    return found | dict(_roles_of_folios(place)) if place.scope.has_folios else found


def _roles_of_folios(place: Place) -> Iterator[tuple[str, Any]]:
    """Whose lock is held, and which pages are collapsed."""
    locks = sorted(owner(key) for key in place.own if key.endswith(".locked"))
    heads = [place.own[key] for key in place.own if key.endswith(".head")]
    if locks:
        yield "at_lock", locks[0]
        yield "at_large", any(heads)
    for _, _, variables in place.frames:
        for role, page in zip(
            ("at_first", "at_second"), variables.get("pages", ()), strict=False
        ):
            yield role, page[1]


def _role(role: str, value: Any) -> Any:
    """A local variable as a name, or whether a PTE or entry is writable or trapped.

    Contents are numbers.
    """
    kind, *parts = value if isinstance(value, tuple) else ("",)
    if role == "at_writable":
        writable = {"Pte": parts[1:2] == [True], "MigrationEntry": "writable" in parts}
        return (writable | {"TransHugePmd": writable["Pte"]}).get(kind)
    if role == "at_trapped":
        return parts[2] in NOTICING if kind in ("Pte", "MigrationEntry") else None
    if role == "at_contents":
        return None if value is None else f"d{value}"
    if isinstance(value, str):
        return value
    return parts[0] if kind in ("record", "SwapEntry", "TransHugePmd") else None


def check_places(assertions: list[Assertion], places: list[Place], model: str) -> None:
    """Raise if an assertion stands nowhere: the operation it is about has changed.

    Args:
        assertions: all of them.
        places: where the operations of a model stop.
        model: its name.

    Raises:
        SpecificationError: names the assertion and the places that it was written for.
    """
    for assertion in assertions:
        wanted = assertion.only in ("", model)
        if wanted and not any(stands(assertion, place) for place in places):
            where = " or ".join(f"{f} before {t!r}" for f, t in assertion.places)
            raise SpecificationError(
                f"the assertion {assertion.name!r} of the proof is for {where}, and no "
                f"operation stops there any more; write it for the place that took its"
                f" place"
            )
