"""What stands under a rule's short address, and the specification as plain files.

``r/AE-FORK-2/`` is a page with the rule and its citation, ``r/AE-FORK-2.txt`` the
citation alone; ``rules.json`` is for machines, and ``spec.txt`` for grep.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from spec.publish import cards, citations
from spec.publish.traces import WIDTH, ascii_text
from spec.rules import TOPICS, Rule

if TYPE_CHECKING:
    from spec.publish.pages import Site
    from spec.publish.verdicts import Store

FOLDER = "r"
RULES_JSON = "rules.json"
SPEC_TXT = "spec.txt"
HOVER = "assets/rules.js"


def page_uri(rule: Rule) -> str:
    """The source address of a rule's own page."""
    return f"{FOLDER}/{rule.id}.md"


def rule_page(site: Site, rule: Rule) -> str:
    """A rule's own page: what is cited of it, ready to be copied."""
    from spec.publish.pages import built_link, rule_link

    here = page_uri(rule)
    chapter = rule_link(rule, here)
    removed = f" It is withdrawn: {rule.withdrawn}" if rule.withdrawn else ""
    text, link = f"cite-{rule.id}", f"link-{rule.id}"
    rules = built_link("reference/rules.md", here)
    return "\n".join(
        [
            "---",
            f"title: {rule.id}",
            f"description: {json.dumps(rule.sentence)}",
            "search: {exclude: true}",
            "hide: [toc]",
            "---",
            "",
            f"# {rule.id}",
            "",
            '<div class="ae-card" markdown="0">',
            f"<p>{html.escape(rule.sentence)}</p>",
            f"<p>{cards.badge(rule)} revision {rule.rev}, checksum "
            f"<code>{rule.checksum}</code>.{html.escape(removed)}</p>",
            "</div>",
            "",
            f"{chapter} in its chapter has the operation that obeys it, its evidence, "
            "and what breaks without it. "
            f'<a href="{rules}">All rules</a> stand on one page.',
            "",
            "## Cite it {#cite}",
            "",
            cards.copied(text, citations.cite(rule, site.store), "Copy the citation"),
            "",
            cards.copied(link, citations.link_line(rule), "Copy the Link: line"),
            "",
            f"The same as plain text: [{rule.id}.txt]({rule.id}.txt). "
            f"For machines: [{RULES_JSON}](../{RULES_JSON}).",
            "",
        ]
    )


def entry(rule: Rule, store: Store | None) -> dict[str, Any]:
    """A rule for machines."""
    return {
        "id": rule.id,
        "rev": rule.rev,
        "checksum": rule.checksum,
        "status": "withdrawn" if rule.withdrawn else "in force",
        "withdrawn": rule.withdrawn,
        "modal": rule.modal,
        "topic": TOPICS[rule.topic],
        "sentence": rule.sentence,
        "source": rule.source,
        "kernel": list(rule.kernel),
        "models": list(rule.models),
        "chapter": rule.chapter,
        "evidence": citations.evidence(rule, store),
        "without": citations.without(rule, store),
        "link": citations.address(rule),
        "text": citations.text_address(rule),
    }


def rules_json(rules: Iterable[Rule], store: Store | None) -> str:
    """All rules for machines."""
    found = {
        "specification": "anon-exclusive",
        "version": citations.version(),
        "rules": [entry(rule, store) for rule in rules],
    }
    return json.dumps(found, indent=1, ensure_ascii=True) + "\n"


def spec_txt(rules: Iterable[Rule], store: Store | None) -> str:
    """The whole specification as one text: a citation of each rule, by topic.

    Each rule begins with its id in the first column, so that ``grep -A9 ^AE-FORK-2``
    shows it; ASCII, at most 72 columns, but for links.
    """
    every = list(rules)
    lines = [
        f"anon-exclusive {citations.version()}",
        "",
        *textwrap.wrap(
            "The exclusive anonymous page: every rule, guarantee and assumption of "
            f"{citations.SITE} in one file. A rule begins with its id.",
            WIDTH,
        ),
    ]
    for topic, about in TOPICS.items():
        members = sorted((r for r in every if r.topic == topic), key=lambda r: r.number)
        if members:
            title = ascii_text(about[:1].upper() + about[1:])
            lines += ["", title, "=" * len(title)]
        for rule in members:
            lines += ["", citations.cite(rule, store)]
    return "\n".join(lines) + "\n"


def hover_cards(rules: Iterable[Rule], glossary: Mapping[str, list[str]]) -> str:
    """What hover cards say, as a script: of each rule, and of each term.

    Args:
        rules: all rules.
        glossary: each term and what it means, as plain text, by the term's anchor.
    """
    said = {
        rule.id: [
            rule.sentence,
            f"revision {rule.rev}, checksum {rule.checksum}"
            + (", withdrawn" if rule.withdrawn else ""),
        ]
        for rule in rules
    }
    data = json.dumps([said, dict(glossary)], separators=(",", ":"))
    return f"aeCards(...{data});\n"


def files(site: Site, glossary: Mapping[str, list[str]]) -> dict[str, str]:
    """All plain files: address to content."""
    rules = list(site.registry.values())
    texts = {
        f"{FOLDER}/{rule.id}.txt": f"{citations.cite(rule, site.store)}\n"
        for rule in rules
    }
    return {
        **texts,
        RULES_JSON: rules_json(rules, site.store),
        SPEC_TXT: spec_txt(rules, site.store),
        HOVER: hover_cards(rules, glossary),
    }


def pages(site: Site) -> dict[str, str]:
    """The pages of all rules: source address to Markdown."""
    return {page_uri(rule): rule_page(site, rule) for rule in site.registry.values()}
