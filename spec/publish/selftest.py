"""The generated page on the kernel's selftest: cases, litmus tests, rules, verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from spec.litmus.exercise import ASKED_OF, duties
from spec.litmus.files import catalogue
from spec.litmus.parser import read
from spec.models import MODELS
from spec.publish import recorded, selftest_runs
from spec.publish.litmus import badge
from spec.publish.litmus import uri as litmus_uri
from spec.publish.tables import code, table
from spec.releases import LINUX
from spec.rules import Rule
from spec.selftest import (
    ANONYMOUS,
    CASES,
    COLLAPSE,
    KINDS,
    NOT_ANONYMOUS,
    OTHER_MEMORY,
    RELEASES,
    Case,
    PageKind,
    Verdicts,
    expected,
    title,
    variants,
)

if TYPE_CHECKING:
    from spec.publish.pages import Site
    from spec.publish.verdicts import Store

Exercised = Mapping[str, Mapping[str, str]]
"""The verdict without each rule that matters, by program and rule."""
SELFTEST_PAGE = "reference/selftest.md"
SHOWN = 3
"""How many litmus tests are named for a rule that no case exercises."""


def exercised(store: Store) -> dict[str, frozenset[str]]:
    """The rules without which each program fails, on any of the models asked."""
    return on_any([store.exercised(model) for model in ASKED_OF])


def on_any(found: Sequence[Exercised]) -> dict[str, frozenset[str]]:
    """The same, from what was found on each model; nothing, if nothing was."""
    names = found[0] if found else ()
    return {name: frozenset().union(*(each[name] for each in found)) for name in names}


def tests_of(store: Store) -> dict[str, list[str]]:
    """For each rule, the tests of the catalogue that fail without it.

    None for any rule if that was not computed yet.
    """
    if None in [store.read(f"exercised.{model}") for model in ASKED_OF]:
        return {}
    return failing(exercised(store))


def failing(found: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """For each rule, the tests of the catalogue among the programs that fail."""
    known = catalogue()
    tests: dict[str, list[str]] = {}
    for test, ids in found.items():
        for id in ids if test in known else ():
            tests.setdefault(id, []).append(test)
    return tests


def selftest_page(site: Site) -> str:
    """Cases to litmus tests, rules and verdicts; then what has no counterpart."""
    found = exercised(site.store)
    of_case = {case.id: _rules_of(case, found) for case in CASES}
    return "\n".join(
        [
            "# The kernel's selftest: cow.c",
            "",
            "`tools/testing/selftests/mm/cow.c` runs a few programs on memory of many "
            "kinds. Each program is a litmus test here, and each kind of memory is "
            "made by the lines before it. A case *exercises* a rule if its verdict is "
            f"worse without the rule, on {' or '.join(map(code, ASKED_OF))}, on any "
            f"kind of memory that is modelled: {_computed(site.store)}.",
            "",
            *_cases(site, of_case),
            *_verdicts(site),
            *selftest_runs.section(),
            *_kinds(),
            *_rules_without_case(site, of_case),
            *_cases_without_rule(of_case),
        ]
    )


def _computed(store: Store) -> str:
    """Of what the rules that programs exercise are known."""
    said = "that is computed, not claimed"
    made = recorded.day(store, *(f"exercised.{model}" for model in ASKED_OF))
    return f"{said}, as recorded on {made} of this code" if made else said


def _rules_of(case: Case, found: Mapping[str, frozenset[str]]) -> frozenset[str]:
    names = [*case.litmus, *(title(case.id, kind) for _, kind in variants(case))]
    return frozenset().union(*(found[name] for name in names))


def _in_order(ids: Iterable[str]) -> list[Rule]:
    wanted = set(ids)
    return [rule for rule in duties() if rule.id in wanted]


# -- cases -----------------------------------------------------------------------------


def _cases(site: Site, of_case: Mapping[str, frozenset[str]]) -> list[str]:
    parts = {
        "Anonymous memory": ANONYMOUS,
        "Collapse of a huge page": COLLAPSE,
        "Other memory in a private mapping": NOT_ANONYMOUS,
    }
    lines = ["## Cases"]
    for heading, cases in parts.items():
        rows = [
            (
                case.id,
                case.name,
                f"{case.does} {case.note}".rstrip(),
                ", ".join(_linked(name) for name in case.litmus),
                ", ".join(
                    site.link(rule.id, SELFTEST_PAGE)
                    for rule in _in_order(of_case[case.id])
                ),
            )
            for case in cases
        ]
        header = ("", "Case", "What it does", "Litmus tests", "Rules it exercises")
        lines += ["", f"### {heading}", "", table(header, rows, "ae-wrap")]
    return [*lines, ""]


def _linked(test: str) -> str:
    return f"[{test}](../{litmus_uri(test)})"


# -- verdicts --------------------------------------------------------------------------


def _verdicts(site: Site) -> list[str]:
    found = site.store.selftest()
    kinds = dict.fromkeys(kind for each in found.values() for kind in each)
    releases = [f"{LINUX}{release}" for release in RELEASES]
    return [
        "## Verdicts",
        "",
        "A cell names the cases that fail and how; all others pass. A release is the "
        "model of its time without the rules that it did not know. `cow.c` tolerates "
        "that A3 to A6 fail on hugetlb, and the variant fails them.",
        "",
        table(
            ("Memory", *MODELS),
            [_row(kind, found, list(MODELS)) for kind in kinds if kind != "hugetlb"],
            "ae-tight",
        ),
        "",
        table(
            ("Memory", *RELEASES),
            [_row(kind, found, releases) for kind in kinds if kind != "hugetlb"],
            "ae-tight",
        ),
        "",
        table(("Memory", code("hugetlb")), [_row("hugetlb", found, ["hugetlb"])]),
        "",
        *_disagreements(found),
    ]


def _row(kind: str, found: Verdicts, names: list[str]) -> tuple[str, ...]:
    return kind, *(_failing(kind, found, name) for name in names)


def _failing(kind: str, found: Verdicts, model: str) -> str:
    """The cases that fail, by the way in which they do; all pass if none is named."""
    by_verdict: dict[str, list[str]] = {}
    for case, kinds in found.items():
        verdict = kinds.get(kind, {}).get(model, "fine")
        if verdict != "fine":
            by_verdict.setdefault(verdict, []).append(case)
    said = [f"{badge(verdict)} {' '.join(ids)}" for verdict, ids in by_verdict.items()]
    return "<br>".join(said) or '<span class="v-fine">pass</span>'


def _disagreements(found: Verdicts) -> list[str]:
    """One line for each verdict that is not the one expected."""
    lines = []
    for case, kinds in found.items():
        for kind, of in kinds.items():
            for model, verdict in of.items():
                if model.startswith(LINUX):
                    continue
                wanted = expected(case, kind, model)
                if verdict != wanted:
                    lines += [
                        f"{case} on {kind}, {code(model)}: {wanted} expected.",
                        "",
                    ]
    return lines


def _kinds() -> list[str]:
    rows = [(kind.name, _how(kind), kind.note) for kind in KINDS]
    other = list(OTHER_MEMORY.items())
    return [
        "## Kinds of memory",
        "",
        "Sizes are abstracted: a folio of the model has two pages, whatever the size "
        "of the huge page.",
        "",
        table(("`cow.c`", "Made by", "Note"), rows, "ae-wrap"),
        "",
        "The cases on other memory run on:",
        "",
        table(("`cow.c`", "Here"), other, "ae-wrap"),
        "",
    ]


def _how(kind: PageKind) -> str:
    return "; ".join(map(code, kind.makes)) or "not modelled"


# -- both ways -------------------------------------------------------------------------


def _rules_without_case(site: Site, of_case: Mapping[str, frozenset[str]]) -> list[str]:
    """Each rule that no case exercises, with the litmus tests that do."""
    covered = frozenset().union(*of_case.values())
    tests = site.tests
    rows = [
        (
            site.link(rule.id, SELFTEST_PAGE),
            rule.sentence,
            ", ".join(map(_linked, tests.get(rule.id, [])[:SHOWN])),
            _why_not(rule, tests.get(rule.id, [])),
        )
        for rule in duties()
        if rule.id not in covered
    ]
    return [
        "## Rules with no case",
        "",
        f"{len(rows)} of {len(list(duties()))} rules are not exercised by any case: "
        "on the kinds of memory that are modelled, all cases pass without any one of "
        "them. Permissions (MAY) are left out: nobody has to use them.",
        "",
        table(("Rule", "Sentence", "Litmus tests that fail", "Why"), rows, "ae-wrap"),
        "",
    ]


def _why_not(rule: Rule, tests: list[str]) -> str:
    if rule.world != "mm":
        return "Its chapter has operations of its own, which no litmus test runs."
    if not tests:
        return "No litmus test fails without it; its card has the shortest trace."
    races = [any(line.is_race for line in read(catalogue()[t]).lines) for t in tests]
    if all(races):
        return "It needs a race; `cow.c` has none."
    return "The selftest has no program of this kind."


_WHY_BARE = {
    True: "The rules are about anonymous pages; the zeropage is never one (AE-ASM-4).",
    False: "More than one rule has to be missing.",
}


def _cases_without_rule(of_case: Mapping[str, frozenset[str]]) -> list[str]:
    bare = [case for case in CASES if not of_case[case.id]]
    lines = ["## Cases with no rule", ""]
    if not bare:
        return [*lines, "There is none: each case fails without some rule.", ""]
    rows = [(case.id, case.name, _WHY_BARE[case in NOT_ANONYMOUS]) for case in bare]
    return [*lines, table(("", "Case", "Why"), rows, "ae-wrap"), ""]
