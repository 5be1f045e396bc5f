"""Rule cards: what a rule says, what it rests on, what breaks without it, as HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from spec.publish import citations, drawings, traces
from spec.rules import Rule

if TYPE_CHECKING:
    from spec.checker.program import Violation
    from spec.publish.verdicts import Store


def _entry(term: str, definition: str) -> str:
    return f"<dt>{term}</dt><dd>{definition}</dd>"


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"<code>{html.escape(name)}</code>" for name in names)


def folded(kind: str, summary: str, content: str, anchor: str = "") -> str:
    """Content that the reader unfolds, and that search leaves out."""
    id = f' id="{anchor}"' if anchor else ""
    return (
        f'<details class="{kind}"{id} data-search-exclude><summary>{summary}</summary>'
        f"{content}</details>"
    )


def badge(rule: Rule) -> str:
    """The modal word of the rule as a mark; what kind of statement it is, if none."""
    kinds = {"INV": "guarantee", "ASM": "assumption"}
    word = "withdrawn" if rule.withdrawn else rule.modal or kinds.get(rule.topic, "")
    return f'<span class="ae-modal">{word}</span>'


def trace_pre(violation: Violation) -> str:
    """The trace of a violation as text; its many names would drown a search."""
    text = html.escape(traces.violation_text(violation))
    return f'<pre class="ae-trace" data-search-exclude>{text}</pre>'


def _trace(violation: Violation) -> str:
    """The trace as text, then as a picture."""
    picture = drawings.draw_trace(violation).svg()
    return f'{trace_pre(violation)}<div class="ae-picture">{picture}</div>'


def explore_link(address: str, text: str = "Open in the explorer") -> str:
    """A link to a trace in the explorer; nothing without an address."""
    if not address:
        return ""
    return f'<p class="ae-explore"><a href="{html.escape(address)}">{text}</a></p>'


def _without(rule: Rule, store: Store | None, explore: str) -> tuple[str, str]:
    """What the removal of the rule does: an entry, and the trace to unfold."""
    ablation = store.ablated(rule.id) if store else None
    if ablation is None:
        return "", ""
    if ablation.witnesses:
        said = "; ".join(
            f"{html.escape(name)}: first in step {depth}"
            for name, depth in ablation.witnesses.items()
        )
        return _entry("Witnesses", said), ""
    effect = ""
    if ablation.took_effect is not None:
        effect = f" The removal takes effect in step {ablation.took_effect}."
    if ablation.violation is None:
        reason = ablation.reason or rule.survives or "it is not known why"
        said = f"no guarantee breaks: {html.escape(reason)}{effect}"
        return _entry("Without it", said), ""
    said = html.escape(citations.without(rule, store))
    trace = folded(
        "ae-without",
        f"The shortest way to break {ablation.violation.property}",
        explore_link(explore) + _trace(ablation.violation),
    )
    return _entry("Without it", f"{said}.{effect}"), trace


def copied(name: str, text: str, label: str) -> str:
    """Text with a button that copies it; `name` is the id of the text."""
    return (
        '<div class="ae-copied">'
        f'<button type="button" class="ae-copy" data-copy="#{name}">{label}</button>'
        f'<pre class="ae-trace" id="{name}">{html.escape(text)}</pre></div>'
    )


def _citation(rule: Rule, store: Store | None) -> str:
    text = copied(f"cite-{rule.id}", citations.cite(rule, store), "Copy")
    return folded("ae-cite", f"Cite {rule.id}", text)


def _near_link(address: str) -> str:
    return f'<a href="{html.escape(address)}">where the rule makes the difference</a>'


def rule_card(
    rule: Rule,
    store: Store | None = None,
    tests: tuple[tuple[str, str], ...] = (),
    near: str = "",
    explore: str = "",
) -> str:
    """The card of a rule.

    Args:
        rule: what the card is about.
        store: computed verdicts. Without it, as in a notebook, the card says that
            evidence is computed when the site is built, and offers nothing to copy.
        tests: litmus tests that exercise the rule: name and address.
        near: the address of the rule's near miss.
        explore: the address of its removal in the explorer.
    """
    links = ", ".join(
        f'<a href="{html.escape(url)}">{html.escape(name)}</a>' for name, url in tests
    )
    without, trace = _without(rule, store, explore)
    about = [
        _entry("Source", html.escape(rule.source)),
        _entry("Kernel", _codes(rule.kernel)) if rule.kernel else "",
        _entry("Asked of", _codes(rule.models)),
        _entry("Evidence", html.escape(citations.evidence(rule, store))),
        _entry("Tests", links) if links else "",
        without,
        _entry("Near miss", _near_link(near)) if near else "",
    ]
    return (
        f'<div class="ae-card"><p>{html.escape(rule.sentence)}</p>'
        f"<p>{badge(rule)} {rule.id} revision {rule.rev}, "
        f"checksum <code>{rule.checksum}</code></p>"
        f"<dl>{''.join(about)}</dl>{trace}"
        f"{_citation(rule, store) if store else ''}</div>"
    )
