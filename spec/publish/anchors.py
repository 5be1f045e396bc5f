"""The generated page on kernel functions: rules and operations, release by release."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

from spec.desk.anchors import Anchored, anchored, obeyed_since
from spec.desk.operations import OPERATIONS
from spec.desk.symbols import Anchor, anchors
from spec.desk.trees import recorded
from spec.publish.tables import code, table

if TYPE_CHECKING:
    from spec.publish.pages import Site

ANCHORS_PAGE = "reference/anchors.md"


def anchors_page(site: Site) -> str:
    """Which functions obey a rule, in which releases, and how that was checked."""
    rules = [
        (
            site.link(rule.id, ANCHORS_PAGE),
            _functions(found.anchor for found in anchored(rule) if not found.steps),
            _steps([found for found in anchored(rule) if found.steps]),
            obeyed_since(rule.id) or "none",
        )
        for rule in site.registry.values()
        if anchored(rule)
    ]
    operations = [
        (
            code(name),
            _functions(anchor for symbol in named for anchor in anchors(symbol)),
        )
        for name, named in OPERATIONS.items()
    ]
    read = [
        (release, code(record.package), record.read, len(record.functions))
        for release, record in recorded().items()
    ]
    return "\n".join(
        [
            "# Kernel functions",
            "",
            "A rule is *anchored* at the functions of Linux that obey it. "
            "`6.9..` is a function in which the rule is obeyed since 6.9, "
            "`5.19..6.8` one that it left. Where nothing between two releases was "
            "read, the range ends with the last that was.",
            "",
            "`anon-exclusive review` goes from a patch to these rules, and "
            "`anon-exclusive kernel-anchors check TREE` looks for the functions in a "
            "tree.",
            "",
            "## Rules",
            "",
            "*Through steps*: the rule speaks of an [atomic step](steps.md) that the "
            "function takes. *Obeyed since*: the first release whose model promises "
            "the rule and obeys it; what is obeyed since before 5.10 is anchored from "
            "5.10 on, the oldest release that was read.",
            "",
            table(
                ("Rule", "Functions", "Through steps", "Obeyed since"), rules, "ae-wrap"
            ),
            "",
            "## Operations",
            "",
            table(("Operation", "Functions"), operations, "ae-wrap ae-names"),
            "",
            "## Sources that were read",
            "",
            "Every function was found by a parser of C in the sources of these "
            "packages. A digest of each is recorded: comments, white space and the "
            "name of the function are out of it.",
            "",
            table(("Linux", "Package of Debian", "Read on", "Functions"), read),
            "",
        ]
    )


def _functions(found: Iterable[Anchor]) -> str:
    """Functions with their releases, one in a line."""
    return "<br>".join(map(_function, found))


def _function(anchor: Anchor) -> str:
    name = html.escape(f"{anchor.file}: {anchor.function}")
    why = f' title="{html.escape(anchor.source)}"' if anchor.source else ""
    return f"<code{why}>{name}</code>, {anchor.first}..{anchor.last}"


def _steps(found: list[Anchored]) -> str:
    return "<br>".join(
        f"{_function(each.anchor)} ({', '.join(each.steps)})" for each in found
    )
