"""The page on what the solver was asked: every obligation of the proof."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from spec.prover.proving import WRITTEN_FOR, Obligation, Result
from spec.publish import counterexamples, unpromised
from spec.publish.recorded import Recorded
from spec.publish.tables import table

if TYPE_CHECKING:
    from spec.publish.pages import Site

PAGE = "reference/proof.md"
ABOUT = {
    "sketch": "All that the sketch promises, to every reference that GUP returned.",
    "upstream": "Linux since 5.19 promises less, and proves it with "
    "[clauses of its own](../spec/proof.py#upstreams-clauses).",
}
"""What is proved of each model."""
LARGE_FOLIOS = """\
The same operations where some pages are parts of a large folio, and a PMD may map all
of them. [This part of the proof](../spec/proof_folios.py) has the clauses above, and
some more. An operation on an address is there twice, as the head of a folio is mapped
at the first address and another page at the second.
"""
ASKED = """\
A proof by invariant fails in one way only. There is a state of which every clause is
true, and a step from it to a state of which one is not. The pair is called a
*counterexample to induction*. It is no bug yet: nobody says that a machine ever gets
into the first of the two states. That is what exploration is asked.

Here each rule is taken out of the operations in turn. Most of their steps stay as they
are; the solver has seen those. The table has the steps that are new and break a clause.
The smallest state from which one does is shown: whatever can be left out of it is left
out. *Reached by this step* means that exploration without the rule, from the first
states of a section, takes a step at the same place of the code and arrives in a state
that breaks the same clause. *Reached by another step* means that such a state is
arrived at, but from elsewhere. *Not reached* means that none of the explored states
breaks the clause: the proof then asks for more than the bounds can show.
"""
COUNTED = """\
The proof has no counts ([AE-ASM-6](../spec/proof.py#AE-ASM-6)). Where an operation
compares `refcount`, `pincount` or the like with a number, the proof asks who the
holders are. On every explored state both are evaluated, the count and the holders, and
so is what [AE-ASM-7](../spec/proof.py#AE-ASM-7) says of walks: that fork visits each
address of the child and writes to none twice, and that no migration entry leads to a
page that is unlocked again. What does not agree is named.
"""


def proof_page(site: Site) -> str:
    """Each obligation with its steps, its time and what the solver said."""
    lines = [
        "# Obligations of the proof",
        "",
        "What the solver was asked for [the proof](../spec/proof.py). An obligation is "
        "a place where an operation stands: each step that it can take there keeps "
        "each clause of the invariant. Steps that say the same are looked at once, "
        "under the first operation that takes them; so are steps that differ by the "
        "names of processes, addresses and pages only. Of each step it is asked first "
        "whether it keeps what is said of owners, then, with contents, whether it "
        "keeps what is said of [contents](../spec/proof_contents.py).",
        "",
        "The last obligations of each model are not the solver's. They are of "
        "[store buffers](../spec/ordering.py#any-number-of-cpus) and of "
        "[stale translations](../spec/tlb.py#any-number-of-cpus), where the situations "
        "of any number of CPUs are few enough to be listed: they are counted as steps.",
    ]
    for model in WRITTEN_FOR:
        lines += ["", f"## {model}", "", ABOUT[model], ""]
        lines += of_model(site, f"prove.{model}", site.store.prove(model))
    for model in WRITTEN_FOR:
        lines += ["", f"## {model}, large folios", "", LARGE_FOLIOS, ""]
        lines += of_model(site, f"folios.{model}", site.store.folios(model))
    lines += ["", *unpromised.sections(site, PAGE)]
    lines += ["", "## Without each rule", "", ASKED]
    lines += counterexamples.without_each(site)
    lines += ["", "## Counts and walks", "", COUNTED, *counterexamples.abstraction()]
    return "\n".join(lines) + "\n"


def of_model(site: Site, name: str, result: Result) -> Iterator[str]:
    """The obligations of one model.

    Args:
        site: with the results.
        name: under which the result is recorded.
        result: with the obligations.
    """
    made = [each for each in result.obligations if each.steps]
    discharged = sum(each.found == "proved" for each in made)
    solver = sum(each.seconds for each in made)
    yield (
        f"{discharged} of {len(made)} obligations are proved, with "
        f"{sum(each.steps for each in made):,} questions, footprints and "
        f"situations, in {solver:.0f} s of the solver. "
        f"{when(name, result, site.store.as_recorded(name))}"
    )
    yield ""
    header = ("Operation", "Stands in", "Before", "Rules", "Steps", "Seconds", "")
    yield table(header, [_row(site, each) for each in made], "ae-wrap")


def when(name: str, result: Result, found: Recorded | None) -> str:
    """When a proof of this code was made."""
    large = " --large-folios" if name.startswith("folios.") else ""
    if found is None:
        return "It was proved when this site was built."
    return (
        f"Recorded on {found.made}, of this code, in {result.seconds:.0f} s on "
        f"{found.cores} cores; `anon-exclusive prove --model {result.model}{large}` "
        "does it again."
    )


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
