"""Text as a reader sees it: without quote marks and line breaks, but with places.

A citation is pasted, quoted with ``> ``, and wrapped anew. What stands in several lines
becomes one string here, and each of its characters knows its line and column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from spec.desk.mail import Line
from spec.publish.traces import ascii_text

_LEADER = re.compile(r"[ \t]*(?:[>|+][ \t]?)*[ \t]*(?:(?:/\*+|\*(?!/)|//|#+)[ \t]*)?")
_IGNORED = re.compile(r"[\s>|*`\\]+|\*/")
PARAGRAPH = "\n"
"""What stands between two paragraphs."""


@dataclass(frozen=True)
class Flowing:
    """A text in one string.

    Attributes:
        text: words with single blanks between them; `PARAGRAPH` between paragraphs.
        at: line and column of each character.
    """

    text: str
    at: tuple[tuple[int, int], ...]

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character, both from 1."""
        return self.at[min(offset, len(self.at) - 1)] if self.at else (1, 1)


def flow(lines: Iterable[Line]) -> Flowing:
    """The lines of a text as one.

    A word that a line break cut at a hyphen is put together again.

    >>> flow([Line("> AE-FORK-", 1), Line("> 2 is read-", 2), Line("> only.", 3)]).text
    'AE-FORK-2 is read-only.'
    """
    characters: list[str] = []
    at: list[tuple[int, int]] = []
    for line in lines:
        leader = _LEADER.match(line.text)
        column = leader.end() if leader else 0
        rest = line.text[column:]
        if not rest.strip(" \t>|*/"):
            _put(characters, at, PARAGRAPH, (line.number, 1))
            continue
        hyphen = len(characters) > 1 and characters[-1] == "-"
        if not (hyphen and characters[-2].isalnum() and rest[0].isalnum()):
            _put(characters, at, " ", (line.number, column + 1))
        for offset, character in enumerate(rest, column + 1):
            character = " " if character.isspace() else character
            _put(characters, at, character, (line.number, offset))
        if characters and characters[-1] == " ":
            characters.pop()
            at.pop()
    return Flowing("".join(characters), tuple(at))


def _put(
    characters: list[str],
    at: list[tuple[int, int]],
    character: str,
    place: tuple[int, int],
) -> None:
    """Add a character; of several blanks in a row the strongest stays."""
    last = characters[-1] if characters else PARAGRAPH
    if character == PARAGRAPH and last == " ":
        characters[-1] = PARAGRAPH
    elif not (character in (" ", PARAGRAPH) and last in (" ", PARAGRAPH)):
        characters.append(character)
        at.append(place)


def squeezed(text: str) -> str:
    """A text for comparison: no blanks, no marks of quotation or emphasis.

    >>> squeezed("fork **MUST** write-\\n> protect")
    'forkMUSTwrite-protect'
    """
    return _IGNORED.sub("", ascii_text(text))
