"""What breaks when a rule is not obeyed.

A MUST or MUST NOT rule is removed from the operations. The removal has to take
effect: some step must violate the removed rule. Then a guarantee has to break, or
the rule says why none does. A MAY rule is not removed: a step that uses the
permission and one that does not must both be reachable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from spec.bounds import BOUNDS, SHOWN_BY, program
from spec.checker.program import Progress, Verdict, Violation
from spec.clients import Section
from spec.releases import find_model
from spec.rules import BIT_MODELS, Rule, find
from spec.shapes import Shape


@dataclass(frozen=True)
class Ablation:
    """What the removal of one rule showed.

    Attributes:
        rule: the id.
        model: the model whose operations were run.
        bounds: the smallest named bounds that show it.
        took_effect: depth of the first step that violates the removed rule.
        violation: the guarantee that broke, with the shortest trace.
        witnesses: for MAY, depth of the first step that uses the permission
            (``taken``) and of the first that does not (``declined``).
        reason: why nothing broke, in the rule's words.
        seconds: time to the verdict.
    """

    rule: str
    model: str
    bounds: str
    took_effect: int | None = None
    violation: Violation | None = None
    witnesses: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0

    @property
    def as_documented(self) -> bool:
        """The rule is shown to be needed, or it survives as it says."""
        if find(self.rule).modal == "MAY":
            return set(self.witnesses) == {"taken", "declined"}
        return self.took_effect is not None and (
            (self.violation is not None) != bool(self.reason)
        )


class Asked(frozenset[str]):
    """Rules not to obey: none; notes in `ids` which ones operations ask about."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def __contains__(self, id: object) -> bool:
        self.ids.add(str(id))
        return False

    def __bool__(self) -> bool:
        # as if a rule were removed: only what users can observe is judged then
        return True

    def __or__(self, other: object) -> Asked:
        # a release that lacks rules still asks for them here
        return self


def checkable(rule: Rule) -> bool:
    """Guarantees and assumptions are not ablated: operations do not obey them."""
    return rule.topic not in ("INV", "ASM")


def sound_models(rule: Rule) -> list[str]:
    """The rule's models that have no broken guarantee to begin with."""
    return [model for model in rule.models if model in BIT_MODELS]


def ablate(
    id: str, report: Callable[[Progress], None] = lambda progress: None
) -> Ablation:
    """Remove one rule, on the smallest bounds that show what breaks.

    The rule's models that keep all guarantees are tried in turn, and sections in the
    order of `telling_sections`.

    Raises:
        SpecificationError: there is no such rule.
    """
    rule = find(id)
    if rule.modal == "MAY":
        return _witnesses(rule, report)
    result = Ablation(id, sound_models(rule)[0], "standard")
    for model in sound_models(rule):
        for bounds, verdict in _verdicts(rule, model, frozenset({id}), report):
            result = replace(
                result,
                took_effect=verdict.watched.get(id, result.took_effect),
                seconds=result.seconds + verdict.seconds,
            )
            if verdict.violations and id in verdict.watched:
                return replace(
                    result, model=model, bounds=bounds, violation=verdict.violations[0]
                )
    return replace(result, reason=rule.survives)


def _witnesses(rule: Rule, report: Callable[[Progress], None]) -> Ablation:
    result = Ablation(rule.id, sound_models(rule)[0], "standard")
    for bounds, verdict in _verdicts(rule, result.model, frozenset(), report):
        found = {
            name: verdict.witnesses[f"{rule.id} {name}"]
            for name in ("taken", "declined")
            if f"{rule.id} {name}" in verdict.witnesses
        }
        result = replace(
            result,
            witnesses={**found, **result.witnesses},
            seconds=result.seconds + verdict.seconds,
        )
        if len(result.witnesses) == 2:
            return replace(result, bounds=bounds)
    return result


def _verdicts(
    rule: Rule,
    model: str,
    without: frozenset[str],
    report: Callable[[Progress], None],
) -> Iterator[tuple[str, Verdict]]:
    """The verdict on each section, with the name of its bounds, most telling first."""
    from spec.checker.explore import explore

    for bounds, section in telling_sections(rule):
        yield bounds, explore(program(section, find_model(model), without), report)


def telling_sections(rule: Rule) -> list[tuple[str, Section | Shape]]:
    """The sections of the bounds: those about the rule's topic first, then small ones.

    Rules on large folios are looked for in `huge` only, those on memory ordering in
    `ordering` only, and no others there.
    """
    apart = {"HUGE": ("huge",), "ORD": ("ordering",)}
    names = apart.get(rule.topic, ("small", "standard"))
    found = [(name, section) for name in names for section in BOUNDS[name].sections]
    about = SHOWN_BY.get(rule.topic, ())
    return sorted(found, key=lambda each: each[1] not in about)
