"""What the proof says without each rule: recorded, as it takes minutes to find out.

``python -m spec.publish.refuted`` records all, with RULE... some. A record says when it
was made and of which code; the page and the command line repeat it if the code has
changed since.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from spec.codename import RUNS_TESTS, SOURCES, fingerprint
from spec.models import governs
from spec.prover.proving import NORMATIVE, WRITTEN_FOR, Obligation, written
from spec.prover.scopes import scope_of
from spec.publish import records
from spec.publish.recorded import today
from spec.publish.verdicts import decode, encode
from spec.releases import find_model
from spec.removals import Row, duties
from spec.rules import Rule

RECORD = SOURCES / "records" / "refuted.json"
MOST, MOST_OF_FOLIOS = 30_000, 10_000
"""A section in which no counterexample is found is left at so many states.

There are more things to look at where there are large folios, and more states.
"""


@dataclass(frozen=True)
class Place:
    """Where an explored state broke the clause of a counterexample.

    Attributes:
        section: of which bounds.
        depth: after how many steps.
        function, before: where the CPU stood whose step broke it.
        same: it stood where that of the counterexample stands.
    """

    section: str
    depth: int
    function: str
    before: str
    same: bool


@dataclass(frozen=True)
class Refutation:
    """The proof without one rule.

    Attributes:
        rule: its id.
        made, code: the day, and the fingerprint of what was looked at.
        asking: the operations that ask for the rule.
        new, alike: how many of their steps are new, and how many are not.
        failing: the obligations that fail, by name.
        unknown: those of which nothing is known.
        shown: the most telling one that fails.
        reached: where exploration breaks its clause; none if it does not.
        states, sections: how much was explored for that.
        complete: that was all, or enough.
        most: after how many states a section was left.
        model: whose proof it is.
        other: if the sketch's proof is kept, the same of the model that exploration
            breaks without the rule; none if it breaks the sketch, or nothing.
    """

    rule: str
    made: str
    code: str
    asking: tuple[str, ...]
    new: int
    alike: int
    failing: tuple[str, ...]
    unknown: tuple[str, ...]
    shown: Obligation | None
    reached: Place | None
    states: int
    sections: int
    complete: bool
    most: int = MOST
    model: str = NORMATIVE
    other: Refutation | None = None

    @property
    def current(self) -> bool:
        """Whether the code is still the one that was looked at."""
        return self.code == code_now()


@cache
def code_now() -> str:
    """The fingerprint of operations, rules, bounds and of the proof."""
    return fingerprint(besides=["checker", *RUNS_TESTS], python="")


def wanted() -> list[Rule]:
    """The rules that are removed: every MUST and MUST NOT of the sketch."""
    sketch = find_model(NORMATIVE)
    return [rule for rule in duties() if governs(rule, sketch)]


def find(rule: str) -> Refutation:
    """Ask the solver about a rule, and look for its counterexample among states.

    A rule may be one that only another model rests on. If exploration breaks that one,
    and not the sketch, its proof is asked as well.
    """
    found = of_model(NORMATIVE, rule)
    row = records.rows().get(rule)
    if stands(found) != "kept" or row is None or not row.found.breaks:
        return found
    if row.found.model == NORMATIVE or row.found.model not in WRITTEN_FOR:
        return found
    return replace(found, other=of_model(row.found.model, rule))


def of_model(model: str, rule: str) -> Refutation:
    """The proof of one model without a rule."""
    from spec.prover.reaching import Reached, reach
    from spec.prover.removal import prove_without

    made = prove_without(find_model(model), [rule])
    shown = made.shown
    search, place, most = Reached(0, 0, True), None, MOST
    row = records.rows().get(rule)
    if shown is not None and row is not None:
        where = [each.place for each in row.found.searched]
        if scope_of(shown.operation).has_folios:
            most = MOST_OF_FOLIOS
        search = reach(model, [rule], shown, where, most)
        if search.run is not None:
            section, depth = str(search.run.place), search.run.depth
            place = Place(section, depth, search.function, search.before, search.same)
    refuted = [each.name for each in made.result.failing if each.found == "refuted"]
    unknown = [each.name for each in made.result.failing if each.found == "unknown"]
    return Refutation(
        rule=rule,
        made=today(),
        code=code_now(),
        asking=made.asking,
        new=made.new,
        alike=made.alike,
        failing=tuple(refuted),
        unknown=tuple(unknown),
        shown=shown,
        reached=place,
        states=search.states,
        sections=search.sections,
        complete=search.complete,
        most=most,
        model=model,
    )


def read(path: Path = RECORD) -> dict[str, Refutation]:
    """What is recorded, by rule; nothing if there is no record."""
    return {found["rule"]: decode(found) for found in records.read(path)}


def write(found: Iterable[Refutation], path: Path = RECORD) -> None:
    """Record refutations, one a line, in place of those of the same rules."""
    kept = read(path) | {each.rule: each for each in found}
    order = [rule.id for rule in wanted() if rule.id in kept]
    records.write_lines(path, (encode(kept[id]) for id in order))


# -- in words --------------------------------------------------------------------------


def spoken_of() -> frozenset[str]:
    """The guarantees that the proof speaks of."""
    implied = {clause.of for clause in written().every_consequence}
    return frozenset(implied | {"AE-INV-3", "AE-INV-5", "AE-INV-6"})


def stands(found: Refutation) -> str:
    """In one word: ``refuted``, ``unknown``, or that the proof is the same."""
    if found.failing:
        return "refuted"
    return "unknown" if found.unknown else "kept"


def why_kept(found: Refutation) -> str:
    """Why the invariant is kept without a rule, from what was recorded of both."""
    assert stands(found) == "kept", "what fails has another reason"
    if not found.asking:
        said = "No operation that the proof looks at asks for it"
    elif not found.new:
        said = "The steps of the operations that ask for it stay as they are, but for"
        said += " what the proof leaves out"
    else:
        said = f"Its {found.new} new steps keep the invariant"
    return f"{said}. {protects(found)}"


def protects(found: Refutation) -> str:
    """What the rule protects, by the recorded search for what its removal breaks."""
    row = records.rows().get(found.rule)
    if row is None or not row.found.breaks:
        return "No search is recorded that breaks a guarantee without it."
    breaks = ", ".join(row.found.breaks)
    if row.found.model != NORMATIVE:
        return (
            f"With the sketch exploration breaks nothing without it either; with "
            f"{row.found.model} it breaks {breaks}{told_by(found.other, row.found)}."
        )
    if not spoken_of() & set(row.found.breaks):
        return f"What it protects is outside the proof: {breaks}."
    return f"Exploration breaks {breaks} without it, which the proof should have told."


def told_by(other: Refutation | None, row: Row) -> str:
    """What the proof of another model says, which exploration breaks; to be added."""
    if other is None:
        return ""
    if stands(other) == "unknown":
        return f", and of its proof nothing is known at {', '.join(other.unknown)}"
    if stands(other) == "refuted":
        shown = other.shown
        example = shown.example if shown else None
        where = shown.name if shown else ", ".join(other.failing)
        clause = f' does not keep "{example.clause}"' if example else ""
        return f", and its proof is refuted: {where}{clause}"
    if spoken_of() & set(row.breaks):
        return ", which its proof should have told"
    return ", of which its proof does not speak"


def unexplained(found: Refutation) -> bool:
    """The proof misses what exploration shows to break."""
    return stands(found) == "kept" and protects(found).endswith("should have told.")


def how_reached(found: Refutation, quote: str = "") -> str:
    """Whether exploration reaches a state that breaks the clause that is shown.

    Args:
        found: what is recorded.
        quote: what code is put between.
    """
    if found.reached is None:
        rest = "all" if found.complete else f"at most {found.most:,} each"
        return (
            f"not reached: no state of {found.sections} sections ({rest}, "
            f"{found.states:,} states) breaks it"
        )
    at = found.reached
    far = f"{at.depth} step{'s' * (at.depth > 1)} into {at.section}"
    if at.same:
        return f"reached: by this step, {far}"
    fails = any(
        name.endswith(f" / {at.function}: {at.before}") for name in found.failing
    )
    function, before = f"{quote}{at.function}{quote}", f"{quote}{at.before}{quote}"
    by = f"{function} before {before}" if at.function else "where one begins"
    other = "another step that fails" if fails else "another step"
    return f"reached: by {other} ({by}), {far}"


def said(found: Refutation) -> str:
    """Whether the counterexample to a rule is reached; or why there is none."""
    if stands(found) == "kept":
        other = found.other
        if other is None or other.shown is None:
            return why_kept(found)
        return f"{why_kept(found)} That counterexample is {how_reached(other)}."
    if found.shown is None:
        return "nothing is known of " + ", ".join(found.unknown or found.failing)
    return f"{how_reached(found)}."


def main(rules: list[str]) -> None:
    """Record some rules, or all, and say each."""
    for rule in rules or [rule.id for rule in wanted()]:
        found = find(rule)
        write([found])
        failing = len(found.failing)
        print(f"{rule:10} {stands(found)} {failing}: {said(found)}", flush=True)


if __name__ == "__main__":
    # what is recorded names its class by the module, which is called otherwise here
    from spec.publish import refuted

    refuted.main(sys.argv[1:])
