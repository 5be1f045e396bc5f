"""Counterexamples to the proof as pictures, and the table of what fails without a rule.

A counterexample is drawn as two rows of boxes, like any trace: the state before the
step and the state after it.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from spec.prover.counterexample import Counterexample
from spec.prover.proving import Obligation
from spec.publish import agreed, drawings, refuted, traces, worlds
from spec.publish.refuted import Refutation
from spec.publish.tables import table

if TYPE_CHECKING:
    from spec.publish.pages import Site

PAGE = "reference/proof.md"
DRAWN = ("AE-FAST-1", "AE-WP-1", "AE-FORK-2", "AE-CLR-1", "AE-SWAP-4")
"""The rules whose counterexamples are drawn.

Two make an owner of a page that others map; three take a page from who relies on it.
"""
HEADER = (
    "Without",
    "The obligation that fails",
    "Not kept",
    "Smallest state",
    "Explored",
)
MOST = 86
"""So many characters fit into a picture, side by side."""


def draw(of: str, found: Counterexample) -> drawings.Drawing:
    """The two states of a counterexample.

    Args:
        of: what fails, for the title.
        found: the counterexample.
    """
    drawing = drawings.Drawing(
        f"{of}: a step that does not keep the invariant",
        text(found),
        "The state before the step and the state after it, as two rows of boxes. The "
        "same stands beside the picture as text.",
    )
    drawing.caption(short(f"Before. {found.stands[0]}"))
    drawing.row(drawings.boxes(traces.machine_of(found.before)))
    drawing.caption(short(f"After. {found.stands[1]}"))
    drawing.row(drawings.boxes(traces.machine_of(found.after), found.changed))
    drawing.caption(f"Not kept: {found.clause}")
    return drawing


def short(line: str) -> str:
    """As much of a line as a caption has room for; the text has all of it."""
    return textwrap.shorten(line, MOST, placeholder=" ...")


def text(found: Counterexample) -> str:
    """The two states of a counterexample in lines."""
    lines = []
    for title, said in found.text():
        for line in said:
            lines.append(f"{title.capitalize():8}{line}")
            title = ""
        lines.append("")
    if found.others:
        lines += [f"Another CPU stands where the proof says: {', '.join(found.others)}"]
    lines += [f"Not kept: {found.clause}"]
    if found.of:
        lines += [f"      of: {found.instance}"]
    return "\n".join(lines).rstrip()


def without_each(site: Site) -> Iterator[str]:
    """The section on removed rules: what fails, shown, and whether it is reached."""
    known = refuted.read()
    found = [known[rule.id] for rule in refuted.wanted() if rule.id in known]
    failing = [each for each in found if refuted.stands(each) == "refuted"]
    others = [each.other for each in found if each.other is not None]
    elsewhere = [each for each in others if refuted.stands(each) == "refuted"]
    told = {each.rule for each in elsewhere}
    of_worlds = worlds.refuted(site, (rule.id for rule in refuted.wanted()))
    kept = [
        each
        for each in found
        if refuted.stands(each) == "kept" and each.rule not in of_worlds
    ]
    yield from dated(found)
    yield ""
    yield (
        f"Of {len(refuted.wanted())} rules that the sketch has to keep, the proof "
        f"fails without {len(failing) + len(of_worlds)}, and is the same without "
        f"{len(kept)}."
    )
    yield ""
    yield table(HEADER, [row(site, each) for each in failing], "ae-wrap")
    for id in DRAWN:
        if id in known and known[id].shown is not None:
            yield from drawn(site, known[id])
    yield from unknown(site, [*found, *others])
    yield from worlds.without_each(site, PAGE, of_worlds)
    yield from of_other_models(site, elsewhere)
    yield from not_rested_on(site, [each for each in kept if each.rule not in told])


def of_other_models(site: Site, found: list[Refutation]) -> Iterator[str]:
    """The rules that the sketch's proof does not rest on, and that of another does."""
    for model in dict.fromkeys(each.model for each in found):
        of = [each for each in found if each.model == model]
        yield f"\n### Rules that only the proof of {model} rests on\n"
        yield (
            f"Without these rules the proof of the sketch is kept, and exploration "
            f"breaks nothing with it. Of {model} both fail.\n"
        )
        yield table(HEADER, [row(site, each) for each in of], "ae-wrap")


def not_rested_on(site: Site, found: list[Refutation]) -> Iterator[str]:
    """The rules that no proof rests on, and why, if there are any."""
    if not found:
        return
    yield "\n### Rules that the proof does not rest on\n"
    rows = [(site.link(each.rule, PAGE), refuted.why_kept(each)) for each in found]
    yield table(("Rule", "Why the invariant is kept without it"), rows, "ae-wrap")


def dated(found: list[Refutation]) -> Iterator[str]:
    """When the table was recorded, and of which code."""
    days = sorted({each.made for each in found})
    old = [each.rule for each in found if not each.current]
    if not days:
        yield "Nothing is recorded."
        return
    yield f"Recorded on {' to '.join(dict.fromkeys((days[0], days[-1])))}." + (
        f" The code has changed since for {len(old)} of {len(found)} rules."
        if old
        else " The code is the one that was looked at."
    )


def row(site: Site, found: Refutation) -> tuple[str, ...]:
    """One removed rule."""
    shown = found.shown
    assert shown is not None, "something fails"
    example = shown.example
    assert example is not None, "it is shown"
    others = len(found.failing) - 1
    more = f", and {others} more" if others else ""
    return (
        site.link(found.rule, PAGE),
        f"{spot(shown)}{more}",
        example.clause,
        size(example),
        refuted.how_reached(found, "`"),
    )


def spot(obligation: Obligation) -> str:
    """The place of an obligation in a few words."""
    if not obligation.function:
        return f"{obligation.operation}, at its beginning"
    where = f"`{obligation.function}` before `{obligation.before}`"
    return f"{obligation.operation}, in {where}"


def size(example: Counterexample) -> str:
    """How many things the state before the step has."""
    machine = traces.machine_of(example.before)
    entries = sum(
        mm.pte[va] is not None
        for mm in machine.mms.values()
        for va in machine.names.vas
    )
    pages = sum(traces.in_use(page) for page in machine.pages.values())
    refs = sum(ref.state != "free" for ref in machine.refs.values())
    counted = {"PTE": entries, "page": pages, "reference": refs}
    said = [f"{n} {what}{'s' * (n > 1)}" for what, n in counted.items() if n]
    return ", ".join(said) or "nothing mapped"


def drawn(site: Site, found: Refutation) -> Iterator[str]:
    """One counterexample as a picture and as text."""
    shown = found.shown
    assert shown is not None, "something fails"
    assert shown.example is not None, "there is one to draw"
    picture = draw(f"Without {found.rule}", shown.example).svg()
    sentence = site.find(found.rule, PAGE).sentence
    yield f"\n### Without {found.rule}\n"
    yield f"{site.link(found.rule, PAGE)}: {sentence}\n"
    if shown.example.says:
        yield f"What the step does not keep: {shown.example.says}\n"
    reached = refuted.how_reached(found, "`")
    yield f"{reached[:1].upper()}{reached[1:]}.\n"
    yield f'<div class="ae-picture" data-search-exclude>{picture}</div>'
    yield f'<pre class="ae-trace">{html.escape(text(shown.example))}</pre>'


def unknown(site: Site, found: list[Refutation]) -> Iterator[str]:
    """Rules of which the solver says nothing: they count as failures of the proof."""
    for each in found:
        if refuted.stands(each) == "unknown" or each.unknown:
            names = ", ".join(each.unknown)
            yield f"\nWithout {site.link(each.rule, PAGE)} nothing is known of {names}."


def abstraction() -> Iterator[str]:
    """On how many explored states counts and predicates were compared."""
    rows = [
        (
            each["bounds"],
            f"{each['states']:,}",
            "; ".join(f"contradicted: {name}" for name in each["disagrees"])
            or "agree on all",
            each["made"]
            + ("" if each["code"] == refuted.code_now() else ", other code"),
        )
        for each in agreed.read()
    ]
    yield table(("Bounds", "States", "Counts and holders", "Recorded on"), rows)
