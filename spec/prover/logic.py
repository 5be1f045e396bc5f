"""The state in the terms of the solver: functions over sorts of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import z3

from spec.prover.promises import Promises
from spec.prover.scopes import BASE, Scope
from spec.prover.state import FIELDS, OF_CONTENTS, SORTS, ZEROES, View

SORT = {letter: z3.DeclareSort(name) for letter, name in SORTS.items()}
Function = Callable[..., Any]
KINDS = {field.name: field.kind for field in FIELDS}


def constants(letter: str, *names: str) -> list[Any]:
    """Things of a sort, by name."""
    return [z3.Const(name, SORT[letter]) for name in names]


class Symbolic(View):
    """A state whose fields are functions of the solver."""

    def __init__(
        self, fields: dict[str, Function], promises: Promises, scope: Scope = BASE
    ) -> None:
        self.fields = fields
        self.promises = promises
        self.scope = scope
        self._written: dict[tuple[str, Function], tuple[Any, Any]] = {}

    def get(self, name: str, *arguments: Any) -> Any:
        """The value of a field; one that these states do not have is false."""
        if name not in self.fields:
            return False if KINDS.get(name, "bool") == "bool" else None
        return self.fields[name](*arguments)

    def same(self, one: Any, other: Any) -> Any:
        """Equality; nothing is equal to what these states do not have."""
        if one is None or other is None:
            return False
        return one == other

    @property
    def has_folios(self) -> bool:
        """Whether there are large folios."""
        return self.scope.has_folios

    def head(self, p: Any) -> Any:
        """The head of the page's folio."""
        if p is None or not self.has_folios:
            return p
        return z3.If(self.large(p), self.row(p), p)

    def first(self, v: Any) -> Any:
        """The address is called ``x``."""
        return v == constants("v", "x")[0]

    def second(self, v: Any) -> Any:
        """The address is called ``y``."""
        return v == constants("v", "y")[0]

    @property
    def zeroes(self) -> Any:
        """The contents of a new page."""
        return constants("d", ZEROES)[0]

    def one_holder(self, p: Any) -> Any:
        """Any two holders of the page are one."""
        from spec.prover.holders import HOLDERS, at_most_one

        return at_most_one(self, HOLDERS, p)

    def with_(self, changed: Mapping[str, Function]) -> Symbolic:
        """The state with other functions for some fields."""
        known = {name: f for name, f in changed.items() if name in self.fields}
        return Symbolic({**self.fields, **known}, self.promises, self.scope)

    def written(self, name: str, after: Function) -> tuple[Any, Any]:
        """A field and a formula for what it is after a step; made once."""
        if (name, after) not in self._written:
            symbol: Any = self.fields[name]
            arguments = [z3.Var(i, symbol.domain(i)) for i in range(symbol.arity())]
            self._written[name, after] = symbol, after(*arguments)
        return self._written[name, after]

    def blank(self, live: str) -> Iterator[Any]:
        """Nothing has happened: there is one process, and every page is free."""
        first = constants("m", live)[0]
        for field in FIELDS:
            if field.name not in self.fields:
                continue
            things = [constants(x, f"{x}{i}")[0] for i, x in enumerate(field.over)]
            found = self.get(field.name, *things)
            if field.kind == "bool":
                yield z3.ForAll(things, found == _initial(field.name, things, first))
            elif field.name == "expected":
                yield z3.ForAll(things, found == self.zeroes)
        for name, function in self.fields.items():
            if name.startswith("at:"):
                c = constants("c", "c0")[0]
                yield z3.ForAll([c], z3.Not(function(c)))


def _initial(field: str, things: list[Any], first: Any) -> Any:
    if field in ("free", "dirty", "swapbacked"):
        return True
    if field in ("live", "unborn"):
        return (things[0] == first) == (field == "live")
    return False


def unknown(
    assertions: list[str],
    promises: Promises,
    contents: bool = False,
    scope: Scope = BASE,
) -> Symbolic:
    """A state of which nothing is known; with contents or without."""
    bool_ = z3.BoolSort()
    functions: dict[str, Function] = {}
    for field in FIELDS:
        if (field.name in OF_CONTENTS and not contents) or not scope.has(field.name):
            continue
        over = [SORT[letter] for letter in field.over]
        value = bool_ if field.kind == "bool" else SORT[field.kind]
        functions[field.name] = z3.Function(field.name, *over, value)
    for name in assertions:
        functions[f"at:{name}"] = z3.Function(f"at:{name}", SORT["c"], bool_)
    return Symbolic(functions, promises, scope)


def updated(old: Function, update: Function) -> Function:
    """A field after an update, which takes the old function and arguments."""
    return lambda *arguments: update(old, *arguments)


def assigned(place: tuple[Any, ...], value: Any) -> Function:
    """The update that gives a field one value at one place."""

    def update(old: Function, *arguments: Any) -> Any:
        here = [a == b for a, b in zip(arguments, place, strict=True)]
        return z3.If(z3.And(*here), value, old(*arguments))

    return update


class Effect:
    """What a step makes of formulas: only functions that it changes are replaced.

    Args:
        before: the state before the step.
        after: the state after it, in terms of the one before.
    """

    def __init__(self, before: Symbolic, after: Symbolic) -> None:
        changed = {
            name: function
            for name, function in after.fields.items()
            if before.fields[name] is not function
        }
        self._pairs = [before.written(*each) for each in changed.items()]
        self.changed = frozenset(changed)
        """The fields that the step assigns."""

    def of(self, formula: Any) -> Any:
        """A formula about the state after the step, in terms of the state before."""
        return z3.substitute_funs(formula, *self._pairs) if self._pairs else formula


def mentioned(formula: Any) -> frozenset[str]:
    """The names of all functions in a formula.

    >>> p = z3.Bool("p")
    >>> sorted(mentioned(z3.Not(p)))
    ['not', 'p']
    """
    found, seen, todo = set(), set(), [formula]
    while todo:
        part = todo.pop()
        if part.get_id() not in seen:
            seen.add(part.get_id())
            todo += part.children()
            if z3.is_app(part):
                found.add(part.decl().name())
    return frozenset(found)
