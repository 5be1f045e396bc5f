"""Citations as plain text for e-mail: ASCII, at most 72 columns."""

from __future__ import annotations

import textwrap
from importlib import metadata
from typing import TYPE_CHECKING

from spec.publish.traces import WIDTH, ascii_text
from spec.rules import Rule

if TYPE_CHECKING:
    from spec.checker.program import Verdict
    from spec.publish.verdicts import Store

SITE = "https://anon-exclusive.example/"
"""Where the site is published; mkdocs.yml says the same."""

UNKNOWN = "computed when the site is built, or by: anon-exclusive check"


def version() -> str:
    """The version of the specification that is installed."""
    return metadata.version("anon-exclusive")


def address(rule: Rule) -> str:
    """The permanent link of a rule, whatever chapter it stands in."""
    return f"{SITE}r/{rule.id}/"


def text_address(rule: Rule) -> str:
    """The permanent link of its citation as plain text."""
    return f"{SITE}r/{rule.id}.txt"


def link_line(rule: Rule) -> str:
    """The rule as the trailer of a commit message."""
    return f"Link: {address(rule)}"


def _explored(bounds: str, verdict: Verdict) -> str:
    end = ""
    if verdict.violations:
        end = f", until {verdict.violations[0].property} broke"
    elif not verdict.complete:
        end = ", interrupted"
    return f"{bounds} ({verdict.states:,} states{end})"


def checks(rule: Rule, store: Store | None) -> list[tuple[str, str, Verdict]]:
    """Bounds, model and verdict of each check of the rule that was computed."""
    if store is None or rule.over == "assumption":
        return []
    from spec.bounds import BOUNDS

    return [
        (bounds, model, verdict)
        for model in rule.models
        for bounds in BOUNDS
        if (verdict := store.checked(bounds, model)) is not None
    ]


def evidence(rule: Rule, store: Store | None = None) -> str:
    """What the rule rests on, in one line; of exploration, only what was computed."""
    if rule.withdrawn:
        return f"none, withdrawn: {rule.withdrawn}"
    if rule.over == "assumption":
        return "none, this is an assumption of the model"
    found = checks(rule, store)
    if not found:
        return UNKNOWN
    by_model: dict[str, list[str]] = {}
    for bounds, model, verdict in found:
        by_model.setdefault(model, []).append(_explored(bounds, verdict))
    every = [f"{model}: {', '.join(said)}" for model, said in by_model.items()]
    return f"every interleaving explored; {'; '.join(every)}"


def without(rule: Rule, store: Store | None = None) -> str:
    """What the removal of the rule does, in one line; empty if that is not known."""
    ablation = store.ablated(rule.id) if store else None
    if ablation is None:
        return ""
    if ablation.violation is not None:
        broken, depth = ablation.violation.property, ablation.violation.depth
        return f"{broken} breaks in {depth} steps ({ablation.model}, {ablation.bounds})"
    if ablation.witnesses:
        seen = [f"{name} in step {depth}" for name, depth in ablation.witnesses.items()]
        return f"a permission; {', '.join(seen)}"
    return ablation.reason or rule.survives


def _field(name: str, text: str) -> list[str]:
    return textwrap.wrap(
        ascii_text(text),
        WIDTH,
        initial_indent=f"{name + ':':<10}",
        subsequent_indent=" " * 10,
        break_on_hyphens=False,
        break_long_words=False,
    )


def cite(rule: Rule, store: Store | None = None) -> str:
    """The rule as it is quoted in an e-mail.

    Args:
        rule: what to cite.
        store: computed verdicts; without it the evidence is said to be open.
    """
    status = "withdrawn" if rule.withdrawn else f"checksum {rule.checksum}"
    sentence = textwrap.wrap(
        ascii_text(rule.sentence),
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
    removed = without(rule, store)
    lines = [
        f"{rule.id} revision {rule.rev} ({status})",
        "",
        *sentence,
        "",
        *_field("Source", rule.source),
        *(_field("Kernel", ", ".join(rule.kernel)) if rule.kernel else []),
        *_field("Asked of", ", ".join(rule.models)),
        *_field("Evidence", evidence(rule, store)),
        *(_field("Without", removed) if removed else []),
        *_field("Version", f"anon-exclusive {version()}"),
        link_line(rule),
    ]
    return "\n".join(lines)
