"""What upstream does not promise, on the page of the proof: refuted and reached."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from spec.checker.program import Violation
from spec.prover.counterexample import Counterexample
from spec.prover.unpromised import MORE, More, Reached, Shown, reached, shown
from spec.publish import cards, counterexamples, recorded
from spec.publish.tables import number, table

if TYPE_CHECKING:
    from spec.publish.pages import Site


TITLES = {
    "get-across-fork": "No promise across fork to FOLL_GET",
    "get-reader": "No promise to FOLL_GET readers",
}
"""The headings of promises that are not made."""
REACHED = "prove.sketch-on-upstream"
COMPUTED: dict[str, Callable[[], Any]] = {
    **{f"prove.{more.id}": partial(shown, more) for more in MORE},
    REACHED: lambda: list(reached()),
}
"""What is shown, by the name under which it is kept."""


def sections(site: Site, page: str) -> Iterator[str]:
    """The sections of a page: each promise more, then each rule of the sketch more."""
    yield from (
        "## What upstream does not promise {#what-upstream-does-not-promise}",
        "",
        "A proof that fails shows little: perhaps the invariant is too weak. So each "
        "promise that the sketch makes and upstream does not is put to upstream's "
        "operations twice. The solver refutes the invariant that has it, and the "
        "checker reaches a state that breaks a guarantee.",
    )
    if made := recorded.day(site.store, *COMPUTED):
        yield from (
            "",
            f"Recorded on {made}, of this code; `make slow-tests` finds it again.",
        )
    for more in MORE:
        name = f"prove.{more.id}"
        found: Shown = site.store.get(name, COMPUTED[name])
        yield from ("", f"### {TITLES[more.id]} {{#{more.id}}}", "")
        yield from (f"The promise would be: {more.says}", "", more.why, "")
        yield from _of_promise(site, page, more, found)
    yield from ("", *_of_rules(site, page))


def _of_promise(site: Site, page: str, more: More, found: Shown) -> Iterator[str]:
    rows = [
        (name, f"[{small.clause}](#{more.id}-{i})", small.says)
        for i, (name, small) in enumerate(found.refuted)
    ]
    yield table(("With it this is refuted", "Not kept", "It says"), rows, "ae-wrap")
    yield ""
    for i, (_, small) in enumerate(found.refuted):
        yield _counterexample(small, f"{more.id}-{i}")
    yield ""
    yield (
        f"Two threads, of which one asks GUP and one forks and writes, have "
        f"{number(found.states)} states. With the promise these guarantees break there:"
    )
    yield ""
    for way in found.reached:
        yield f"- {site.link(way.property, page)} after {way.depth} steps."
    yield ""
    for way in found.reached:
        yield _folded(way, f"{more.id}-{way.property}", "With the promise")


def _counterexample(small: Counterexample, anchor: str) -> str:
    summary = f"A step after which &ldquo;{small.clause}&rdquo; does not hold"
    picture = counterexamples.draw("Upstream", small).svg()
    text = html.escape(counterexamples.text(small))
    body = f'<pre class="ae-trace">{text}</pre><div class="ae-picture">{picture}</div>'
    return cards.folded("ae-without", summary, body, anchor)


def _of_rules(site: Site, page: str) -> Iterator[str]:
    found: tuple[Reached, ...] = tuple(site.store.get(REACHED, COMPUTED[REACHED]))
    yield from (
        "### The sketch's rules, on upstream's operations {#sketch-on-upstream}",
        "",
        "Upstream's list does not have these duties and guarantees. They are judged "
        "here as if every reference were protected, as in the sketch. A rule that no "
        "step breaks is one that upstream obeys without saying so.",
        "",
    )
    rows = [
        (
            site.link(each.rule, page),
            site.registry[each.rule].sentence,
            f"[{each.way.depth} steps](#on-upstream-{each.rule})"
            if each.way
            else "not broken",
            number(each.states),
        )
        for each in found
    ]
    yield table(("Rule", "It says", "Broken after", "States"), rows, "ae-wrap")
    yield ""
    for each in found:
        if each.way:
            yield _folded(each.way, f"on-upstream-{each.rule}", "On upstream")


def _folded(way: Violation, anchor: str, when: str) -> str:
    summary = f"{when} <code>{way.property}</code> breaks after {way.depth} steps"
    return cards.folded("ae-without", summary, cards.trace_pre(way), anchor)
