"""Citations in the forms that kernel developers use, and ranges of ids."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from spec.cells import SpecificationError
from spec.publish.citations import address, cite, link_line
from spec.publish.traces import WIDTH, ascii_text
from spec.publish.verdicts import Store
from spec.rules import Rule, find, load

_RANGE = re.compile(r"(AE-([A-Z]+))-([0-9]+)\.\.(?:AE-\2-)?([0-9]+)")


def chosen(words: Sequence[str]) -> list[Rule]:
    """The rules that ids and ranges name, each once, in the order of the words.

    >>> [rule.id for rule in chosen(["AE-FAST-2", "ae-fork-1..3"])]
    ['AE-FAST-2', 'AE-FORK-1', 'AE-FORK-2', 'AE-FORK-3']

    Raises:
        SpecificationError: there is no such rule, or a range is empty.
    """
    found: dict[str, Rule] = {}
    for word in words:
        for rule in _named(word.strip().rstrip(",").upper()):
            found.setdefault(rule.id, rule)
    return list(found.values())


def _named(word: str) -> list[Rule]:
    if ".." not in word:
        return [find(word)]
    match = _RANGE.fullmatch(word)
    if match is None:
        raise SpecificationError(
            f"{word!r} is no range of ids; write the first id and the last number, as "
            f"in AE-FORK-1..4"
        )
    first, last = find(f"{match[1]}-{match[3]}"), find(f"{match[1]}-{match[4]}")
    if first.number > last.number:
        raise SpecificationError(
            f"{word} has no rule in it; the smaller number comes first, as in "
            f"{match[1]}-{last.number}..{first.number}"
        )
    inside = [
        rule
        for rule in load().values()
        if rule.topic == match[2] and first.number <= rule.number <= last.number
    ]
    return sorted(inside, key=lambda rule: rule.number)


def status(rule: Rule) -> str:
    """Revision and checksum; a withdrawn rule has none to compare with."""
    known = "withdrawn" if rule.withdrawn else f"checksum {rule.checksum}"
    return f"revision {rule.rev}, {known}"


def _wrap(text: str, first: str = "", rest: str = "") -> str:
    return textwrap.fill(
        ascii_text(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


@cache
def _store() -> Store:
    """The computed verdicts: to find out whether they are of this code takes time."""
    return Store()


def _full(rules: Sequence[Rule]) -> str:
    return "\n\n".join(cite(rule, _store()) for rule in rules)


def _reply(rules: Sequence[Rule]) -> str:
    said = [_wrap(f'{rule.id} ({status(rule)}): "{rule.sentence}"') for rule in rules]
    links = [address(rule) for rule in rules]
    return "\n\n".join([*said, "\n".join(links)])


def _links(rules: Sequence[Rule]) -> str:
    return "\n".join(map(link_line, rules))


def _footnotes(rules: Sequence[Rule]) -> str:
    return "\n".join(
        f"[{number}] {rule.id} ({status(rule)})\n    {address(rule)}"
        for number, rule in enumerate(rules, 1)
    )


def _markdown(rules: Sequence[Rule]) -> str:
    return "\n\n".join(
        f"[{rule.id}]({address(rule)}) ({status(rule)}):\n"
        + _wrap(rule.sentence, "> ", "> ")
        for rule in rules
    )


FORMS: dict[str, Callable[[Sequence[Rule]], str]] = {
    "full": _full,
    "reply": _reply,
    "link": _links,
    "footnote": _footnotes,
    "markdown": _markdown,
}
"""Each form: rules to text of at most 72 columns, but for the links of Markdown."""


def as_dict(rule: Rule) -> dict[str, Any]:
    """A citation for machines."""
    return {
        "id": rule.id,
        "revision": rule.rev,
        "checksum": rule.checksum,
        "withdrawn": rule.withdrawn or None,
        "sentence": rule.sentence,
        "source": rule.source,
        "kernel": list(rule.kernel),
        "link": address(rule),
    }
