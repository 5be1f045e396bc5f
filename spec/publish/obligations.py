"""The page on what the solver was asked: every obligation of the proof."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from spec.prover.proving import MODELS, Obligation, Result
from spec.publish import unpromised
from spec.publish.tables import table
from spec.rules import Rule, load

if TYPE_CHECKING:
    from spec.publish.pages import Site

PAGE = "reference/proof.md"
LEFT_OUT = {
    "HUGE": "large folios are left out",
    "ORD": "memory is sequentially consistent; the chapter on ordering explores it",
    "MOVE": "the operations that move a page are left out",
    "KSM": "merging is left out; the proof knows KSM pages, and unmerging",
    "WP": "traps are left out",
}
"""Topics that are outside the proof, with the reason."""


def proof_page(site: Site) -> str:
    """Each obligation with its steps, its time and what the solver said."""
    lines = [
        "# Obligations of the proof",
        "",
        "What the solver was asked for [the proof](../spec/proof.py). An obligation is "
        "a place where an operation stands: each step that it can take there keeps "
        "each clause of the invariant. Steps that say the same are looked at once, "
        "under the first operation that takes them. Times are those of the build.",
    ]
    for model in MODELS:
        lines += ["", f"## {model}", "", *of_model(site, site.store.prove(model))]
    lines += ["", *unpromised.sections(site, PAGE)]
    lines += ["", "## Rules outside the proof", "", *outside(site)]
    return "\n".join(lines) + "\n"


def of_model(site: Site, result: Result) -> Iterator[str]:
    """The obligations of one model."""
    made = [each for each in result.obligations if each.steps]
    proved = sum(each.found == "proved" for each in made)
    solver = sum(each.seconds for each in made)
    yield (
        f"{proved} of {len(made)} obligations are proved, with "
        f"{sum(each.steps for each in made):,} questions and footprints, in "
        f"{solver:.0f} s of the solver."
    )
    yield ""
    header = ("Operation", "Stands in", "Before", "Rules", "Steps", "Seconds", "")
    yield table(header, [_row(site, each) for each in made], "ae-wrap")


def _row(site: Site, each: Obligation) -> tuple[str, ...]:
    said = each.found
    if each.clauses:
        said += ": " + "; ".join(each.clauses)
    return (
        each.operation,
        f"`{each.function}`" if each.function else "",
        f"`{each.before}`" if each.function else each.before,
        ", ".join(site.link(id, PAGE) for id in each.rules),
        f"{each.steps:,}",
        f"{each.seconds:.1f}",
        said,
    )


def outside(site: Site) -> Iterator[str]:
    """Each rule of a topic that the proof leaves out, with the reason."""
    rows = [
        (site.link(rule.id, PAGE), LEFT_OUT[rule.topic])
        for rule in load().values()
        if rule.topic in LEFT_OUT and not rule.withdrawn
    ]
    rows.append((site.link("AE-INV-8", PAGE), "contents are left out"))
    rows.append((site.link("AE-INV-11", PAGE), "traps are left out"))
    yield table(("Rule", "Reason"), rows, "ae-wrap")


def outside_reason(rule: Rule) -> str:
    """Why a rule is outside the proof; empty if it is not."""
    return LEFT_OUT.get(rule.topic, "")
