"""Citations of rules in a text: id, revision, checksum, quotation and link of each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from spec.desk.flowing import PARAGRAPH, Flowing, squeezed
from spec.publish.citations import SITE

_ID = re.compile(r"(?<![\w-])AE-[A-Z]+-[0-9]+(?![\w-])")
_RANGE_END = re.compile(r"\.\.(?:AE-[A-Z]+-)?([0-9]+)")
_REVISION = re.compile(r"\brev(?:ision|\.)?[\s>]+([0-9]{1,6})\b")
_CHECKSUM = re.compile(r"\b(?:checksum\s+`?)?([0-9a-f]{8})\b")
_GAP = r"[\s>,:]{0,9}"
_STATUS = re.compile(
    rf"(?:\]\([^)\s]{{0,200}}\))?{_GAP}\(?{_GAP}(?:rev(?:ision|\.)?{_GAP}[0-9]{{1,6}})?{_GAP}"
    rf"(?:\(?(?:checksum{_GAP}`?[0-9a-f]{{8}}`?|[0-9a-f]{{8}}(?=\)))|\(?withdrawn)?\)?"
)
_QUOTED = re.compile(
    rf"{_GAP}(?:(?:says|reads){_GAP})?[\"\u201c]([^\"\u201d]{{1,600}})[\"\u201d]"
)
_ENDS = re.compile(r"\s(?:Source|Kernel|Asked of|Evidence|Link|Without):\s")
_LINK = re.compile(re.escape(SITE) + r"[^\s<>()\"'\]]*")
_ELLIPSIS = re.compile(r"\[?\.\.\.\]?|\u2026")
SIMILAR = 0.6
"""From which likeness on a text that follows a citation is a quotation of the rule."""


@dataclass(frozen=True)
class Quotation:
    """What a text says that a rule says.

    Attributes:
        text: the words.
        at: where they begin in the flowing text.
        marked: in quotation marks, so that it may be a part of the sentence.
    """

    text: str
    at: int
    marked: bool


@dataclass(frozen=True)
class Citation:
    """A mention of a rule.

    Attributes:
        id: as it stands there.
        at: where, in the flowing text.
        revision, checksum: what the text says of them; empty if it does not.
    """

    id: str
    at: int
    end: int
    revision: str = ""
    checksum: str = ""


def citations(flowing: Flowing) -> Iterator[Citation]:
    """Every mention of an id, those in links too; of a range, both ends."""
    for found in _ID.finditer(flowing.text):
        status = _STATUS.match(flowing.text, found.end())
        said = status[0] if status else ""
        revision = _REVISION.search(said)
        checksum = _CHECKSUM.search(said)
        yield Citation(
            found[0],
            found.start(),
            found.end() + len(said),
            revision[1] if revision else "",
            checksum[1] if checksum else "",
        )
        if last := _RANGE_END.match(flowing.text, found.end()):
            topic = found[0].rpartition("-")[0]
            yield Citation(f"{topic}-{last[1]}", last.start(1), last.end())


def quotation(flowing: Flowing, cited: Citation, sentence: str) -> Quotation | None:
    """What is quoted of a rule after a citation, if anything is.

    In quotation marks, anything counts; otherwise the text that follows does, if it is
    like the sentence.
    """
    if marked := _QUOTED.match(flowing.text, cited.end):
        return Quotation(marked[1], marked.start(1), True)
    if not (cited.revision or cited.checksum):
        return None
    start = cited.end
    while start < len(flowing.text) and flowing.text[start] in f" {PARAGRAPH}:>,":
        start += 1
    text = _until_end(flowing.text, start, len(sentence))
    if squeezed(text).startswith(squeezed(sentence)):
        return Quotation(sentence, start, False)
    likeness = difflib.SequenceMatcher(None, text, sentence, autojunk=False).ratio()
    return Quotation(text, start, False) if likeness >= SIMILAR else None


def _until_end(text: str, start: int, length: int) -> str:
    """The text of a sentence: up to the next field of the citation or paragraph."""
    window = text[start : start + 2 * length + 80]
    if field := _ENDS.search(window):
        window = window[: field.start()]
    paragraph = window.find(PARAGRAPH)
    return (window[:paragraph] if paragraph >= 0 else window).strip()


def agrees(quoted: Quotation, sentence: str) -> bool:
    """Whether a quotation is what the rule says, or parts of it in their order.

    >>> agrees(Quotation("fork MUST ... the bit", 0, True), "fork MUST clear the bit")
    True
    """
    whole = squeezed(sentence)
    if not quoted.marked:
        return squeezed(quoted.text) == whole
    at = 0
    for part in _ELLIPSIS.split(quoted.text):
        piece = squeezed(part).removesuffix(".").removesuffix(",")
        found = whole.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def is_about(quoted: Quotation, sentence: str) -> bool:
    """Whether words in quotation marks mean to be those of the rule."""
    given, whole = squeezed(quoted.text), squeezed(sentence)
    match = difflib.SequenceMatcher(None, given, whole, autojunk=False)
    return match.ratio() >= SIMILAR


def links(flowing: Flowing) -> Iterator[tuple[str, int]]:
    """Each link to the site, and where it stands."""
    for found in _LINK.finditer(flowing.text):
        yield found[0].rstrip(".,;:"), found.start()
