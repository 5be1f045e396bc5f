"""The glossary as data: anchors of its terms, and what they mean, for hover cards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from spec.publish.verdicts import ROOT

SOURCE = ROOT / "docs" / "glossary.md"
PAGE = "glossary.md"
MEANING = ":   "
_MARKUP = re.compile(r"[`*]")


def anchor(term: str) -> str:
    """The id of a term on the page.

    >>> anchor("`FOLL_GET`")
    'foll_get'
    >>> anchor("missed COW")
    'missed-cow'
    """
    return re.sub(r"[^a-z0-9_]+", "-", _MARKUP.sub("", term).lower()).strip("-")


def entries(text: str) -> Iterator[tuple[str, str]]:
    """Each term of a page in Markdown, with what it means as plain text.

    >>> list(entries("reuse\\n:   A fault maps\\n    the `old` page.\\n"))
    [('reuse', 'A fault maps the old page.')]
    """
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith(MEANING) and i:
            said = [line.removeprefix(MEANING)]
            for more in lines[i + 1 :]:
                if not more.startswith("    "):
                    break
                said.append(more.strip())
            yield _MARKUP.sub("", lines[i - 1]), _MARKUP.sub("", " ".join(said))


@cache
def terms(source: Path = SOURCE) -> dict[str, str]:
    """The anchor of each term of the glossary, by the term."""
    found = entries(source.read_text(encoding="utf-8"))
    return {term: anchor(term) for term, _ in found}


def meanings(source: Path = SOURCE) -> dict[str, list[str]]:
    """For each anchor the term and what it means."""
    found = entries(source.read_text(encoding="utf-8"))
    return {anchor(term): [term, said] for term, said in found}


def with_anchors(page: str) -> str:
    """The glossary as HTML, an id on each term."""

    def put(found: re.Match[str]) -> str:
        plain = re.sub(r"<[^>]+>", "", found[1])
        return f'<dt id="term-{anchor(plain)}">{found[1]}</dt>'

    return re.sub(r"<dt>(.*?)</dt>", put, page)


def linked(page: str, glossary: str) -> str:
    """A page as HTML where the first mention of each term leads to the glossary.

    Looked at are paragraphs and list items; what is code, a heading or a link stays.

    Args:
        page: the page.
        glossary: the address of the glossary from there.
    """
    left = dict(terms())
    if not left:
        return page
    # the longest first: "non-present PTE" before "PTE"
    words = "|".join(re.escape(term) for term in sorted(left, key=len, reverse=True))
    mention = re.compile(rf"(?<![\w-])({words})(?![\w-])")

    def link(found: re.Match[str]) -> str:
        term = found[1]
        if term not in left:
            return found[0]
        place = left.pop(term)
        return f'<a class="ae-term" href="{glossary}#term-{place}">{term}</a>'

    inside: list[str] = []
    done = []
    for piece in re.split(r"(<abbr\b[^>]*>[^<]*</abbr>|<[^>]+>)", page):
        tag = re.match(r"<(/?)(\w+)", piece)
        prose = inside and inside[-1] in _PROSE and not _SPOILED & set(inside)
        if tag and tag[2] in _CLOSED:
            inside = inside[:-1] if tag[1] else [*inside, tag[2]]
        if tag and tag[2] == "abbr" and prose:
            word = re.sub(r"<[^>]+>", "", piece)
            piece = mention.sub(link, word) if word in left else piece
        elif not tag and prose:
            piece = mention.sub(link, piece)
        done.append(piece)
    return "".join(done)


_PROSE = {"p", "li", "dd", "em", "strong"}
_SPOILED = {
    *("a", "button", "code", "details", "dt", "h1", "h2", "h3", "h4", "pre"),
    *("summary", "svg", "table"),
}
_CLOSED = {
    *(_PROSE | _SPOILED),
    *("blockquote", "div", "dl", "ol", "span", "td", "th", "ul"),
}
