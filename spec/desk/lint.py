"""Citations against the rules as they are: what is wrong with each, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from spec.desk.citing import (
    Citation,
    agrees,
    citations,
    is_about,
    links,
    quotation,
)
from spec.desk.flowing import Flowing, flow
from spec.desk.mail import Line, Piece, Reading, shown
from spec.publish.changes import released
from spec.publish.citations import SITE, address, version
from spec.rules import CHAPTERS, MOVED, Rule

NOT_WRONG = ("moved",)
"""Kinds of problems that leave a citation right."""
REACH = 40
"""Lines after a mention in which its quotation may end."""
_MARKS = ("AE-", SITE.partition("-")[0])
VERSIONS = "v"
"""The folder of the site that has a tree for each version."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something about a citation.

    Attributes:
        file, line, column: where; line and column from 1.
        kind: ``unknown``, ``removed``, ``changed``, ``added``, ``moved``, ``quotation``
            or ``link``.
        message: one sentence, perhaps with old and new.
    """

    file: str
    line: int
    column: int
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.kind}: {self.message}"


def lint(reading: Reading, rules: dict[str, Rule]) -> list[Problem]:
    """What is wrong with the citations of a text, in its order."""
    found: set[Problem] = set()
    for piece in reading.pieces:
        flowing = flow(_standing(piece))
        for cited in citations(flowing):
            for kind, at, message in _about(flowing, cited, rules):
                place = flowing.place(at)
                found.add(Problem(reading.name, *place, kind, message))
        for link, at in links(flowing):
            if wrong := _link(link, rules):
                found.add(Problem(reading.name, *flowing.place(at), *wrong))
    return sorted(found)


def _standing(piece: Piece) -> Iterator[Line]:
    """The lines at and after a mention; those that a diff takes out do not count."""
    in_hunk = False
    left = 0
    for line in piece.lines:
        in_hunk = in_hunk or line.text.startswith("@@ -")
        if in_hunk and line.text.startswith("-"):
            continue
        if any(mark in line.text for mark in _MARKS):
            left = REACH
        if left:
            left -= 1
            yield line


# -- one citation ----------------------------------------------------------------------

_Said = tuple[str, int, str]


def _about(
    flowing: Flowing, cited: Citation, rules: dict[str, Rule]
) -> Iterator[_Said]:
    rule = rules.get(cited.id)
    if rule is None:
        near = difflib.get_close_matches(cited.id, rules, n=1, cutoff=0.0)
        yield (
            "unknown",
            cited.at,
            f"no rule has the id {cited.id}; the nearest is {near[0]}",
        )
        return
    if rule.withdrawn:
        yield "removed", cited.at, f"{rule.id} was withdrawn: {rule.withdrawn}"
        return
    yield from _status(cited, rule)
    quoted = quotation(flowing, cited, rule.sentence)
    if quoted is None or agrees(quoted, rule.sentence):
        return
    if not quoted.marked or is_about(quoted, rule.sentence):
        yield (
            "quotation",
            quoted.at,
            f'{rule.id} does not say "{shown(" ".join(quoted.text.split()))}"; '
            f'it says "{rule.sentence}"',
        )


def _status(cited: Citation, rule: Rule) -> Iterator[_Said]:
    """What the revision and the checksum of a citation say about the rule."""
    now = f"revision {rule.rev}, checksum {rule.checksum}"
    given = int(cited.revision or rule.rev)
    stale = bool(cited.checksum) and cited.checksum != rule.checksum
    if given > rule.rev:
        message = (
            f"{rule.id} revision {given} is newer than the rules at hand, which have "
            f"{now}"
        )
        yield "added", cited.at, message
    elif given < rule.rev:
        yield "changed", cited.at, f"{rule.id} was changed since: it is {now}"
    elif stale:
        yield (
            "changed",
            cited.at,
            f"{rule.id} has not the checksum {cited.checksum}: it is {now}",
        )


# -- one link --------------------------------------------------------------------------


def _link(link: str, rules: dict[str, Rule]) -> tuple[str, str] | None:
    """What is wrong with a link to the site; nothing with one to another page."""
    path, _, anchor = link.removeprefix(SITE).partition("#")
    parts = [part for part in path.split("/") if part]
    rule = rules.get(anchor)
    kept = parts[:1] == [VERSIONS]
    if kept or (parts and _is_version(parts[0])):
        wanted = (parts[1:2] or [""])[0] if kept else parts[0]
        if kept and wanted in versions():
            return None
        instead = address(rule) if rule else SITE
        return (
            "link",
            f"there is no version {shown(wanted)!r} of the site; see {instead}",
        )
    if rule is None or rule.withdrawn:
        return None
    if parts == ["spec", rule.chapter]:
        return None
    old = len(parts) == 2 and parts[0] == "spec" and rule.id in MOVED.get(parts[1], ())
    if old:
        return (
            "moved",
            f"{rule.id} is in the chapter {rule.chapter} now; the link leads there",
        )
    if parts[:1] == ["spec"] and (len(parts) < 2 or parts[1] not in CHAPTERS):
        return "link", f"there is no such page; {rule.id} is at {address(rule)}"
    return "link", f"{rule.id} is not on this page; it is at {address(rule)}"


def versions() -> set[str]:
    """The versions that were released, and the one at hand."""
    return {*released(), version()}


def _is_version(part: str) -> bool:
    """Whether a folder is named like a version.

    >>> _is_version("v0.2"), _is_version("1.0.3"), _is_version("spec")
    (True, True, False)
    """
    numbers = part.removeprefix("v").split(".")
    return all(number.isdecimal() for number in numbers)
