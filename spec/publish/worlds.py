"""What is proved of the worlds of store buffers and of stale translations.

The solver's proof assumes that memory is sequentially consistent and that no
translation is stale. The two chapters that drop these assumptions have few states, so
that all situations of any number of CPUs can be listed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from spec.decisions import Model
from spec.models import governs
from spec.prover import proving, removal
from spec.prover.proving import (
    PROVED,
    REFUTED,
    UNKNOWN,
    Obligation,
    Report,
    Result,
    silent,
)
from spec.prover.removal import Removal
from spec.publish import records
from spec.publish.tables import table
from spec.rules import Rule, find, load

if TYPE_CHECKING:
    from spec.checker.any_number import AnyNumber
    from spec.publish.pages import Site

WORLDS = {"ordering": "store buffers", "tlb": "stale translations"}
"""Each world by what it has, which the solver's proof leaves out."""


def duties(world: str) -> tuple[str, ...]:
    """The ids of the rules of a world that operations have to obey."""
    return tuple(
        rule.id
        for rule in load().values()
        if rule.world == world and rule.topic != "INV" and not rule.withdrawn
    )


def elsewhere(ids: Iterable[str]) -> list[Rule]:
    """Which of these rules are obeyed in another world than the solver's."""
    every = {id for world in WORLDS for id in duties(world)}
    return [find(id) for id in ids if id in every]


def obligations(
    model: Model, without: Iterable[str] = (), worlds: Iterable[str] = WORLDS
) -> Iterator[Obligation]:
    """One for each guarantee of these worlds that a model has to keep.

    Args:
        model: the model; the operations of these worlds are the same in all.
        without: ids of rules that are not obeyed.
        worlds: of which.
    """
    from spec.checker.any_number import WORLDS as explored

    for world in worlds:
        found = explored[world](frozenset(without))
        if not governs(find(found.guarantee), model):
            continue
        yield Obligation(
            f"{WORLDS[world]}, any number of CPUs",
            before=f"keep {found.guarantee}",
            rules=duties(world),
            steps=found.states,
            found=_word(found),
            clauses=() if found.holds else (found.broken or "not all was explored",),
            seconds=found.seconds,
        )


def _word(found: AnyNumber) -> str:
    if found.broken:
        return REFUTED
    return PROVED if found.complete else UNKNOWN


def prove(model: Model, report: Report = silent, workers: int = 0) -> Result:
    """All obligations of a model: those of the solver, and those of these worlds."""
    return _with(proving.prove(model, report=report, workers=workers), model)


def prove_without(
    model: Model, rules: Iterable[str], report: Report = silent
) -> Removal:
    """The same without some rules: of the solver new steps, and of their worlds all."""
    removed = list(rules)
    far = elsewhere(removed)
    if len(far) < len(removed):
        found = removal.prove_without(model, removed, report)
    else:
        nothing = Result(model.name, tuple(sorted(removed)), [], 0.0)
        found = Removal(nothing, (), 0)
    worlds = dict.fromkeys(rule.world for rule in far)
    return replace(found, result=_with(found.result, model, removed, worlds))


def _with(
    result: Result,
    model: Model,
    without: Iterable[str] = (),
    worlds: Iterable[str] = WORLDS,
) -> Result:
    if result.interrupted:
        return result
    began = time.monotonic()
    more = list(obligations(model, without, worlds))
    seconds = result.seconds + time.monotonic() - began
    every = [*result.obligations, *more]
    interrupted = any(each.found == UNKNOWN for each in more)
    return replace(result, obligations=every, seconds=seconds, interrupted=interrupted)


# -- on the page -----------------------------------------------------------------------


def refuted(site: Site, ids: Iterable[str]) -> dict[str, Obligation]:
    """Of rules of these worlds, what fails without each."""
    found = {rule.id: site.store.world(rule.id) for rule in elsewhere(ids)}
    return {id: each for id, each in found.items() if each.found == REFUTED}


def without_each(site: Site, page: str, found: dict[str, Obligation]) -> Iterator[str]:
    """The table of what fails without a rule of these worlds.

    Args:
        site: with the results.
        page: on which it stands.
        found: what fails, by rule.
    """
    yield "\n### Rules of memory ordering and of stale translations\n"
    yield (
        "Nothing is assumed of how many CPUs there are. In GUP-fast one CPU is looked "
        "at, as the others share nothing with it but the count. Of CPUs that have "
        "translations every two are looked at, and a third one wherever it can be "
        "beside them.\n"
    )
    rows = [
        (site.link(id, page), each.operation, each.clauses[0], reached(id))
        for id, each in found.items()
    ]
    header = ("Without", "What fails", "Not kept", "Explored")
    yield table(header, rows, "ae-wrap")


def reached(id: str) -> str:
    """Whether the few CPUs of the world's shape break a guarantee without a rule."""
    row = records.rows().get(id)
    if row is None or not row.found.breaks:
        return "not reached: no search is recorded that breaks a guarantee"
    guarantee, run = row.found.shallowest
    return f"reached: {guarantee} breaks {run.depth} steps into {run.place}"
