"""From a patch to the rules that it touches, what to ask, and what to run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from spec.desk.anchors import Anchored, known_files, obeyed_since, rules_at
from spec.desk.diffs import hunks
from spec.desk.exercised import tests_of
from spec.desk.mail import Reading
from spec.desk.questions import QUESTIONS
from spec.desk.touched import Touched, touched
from spec.desk.trees import Tree
from spec.publish.citations import address
from spec.publish.traces import WIDTH, ascii_text
from spec.rules import Rule, load

TESTS = 4
"""How many litmus tests are named for a rule."""
PASTED = 5
"""How many rules the paragraph to paste asks about."""


@dataclass
class Concern:
    """A rule that a patch touches.

    Attributes:
        rule: the rule.
        places: the touched functions where it is anchored, and how.
        cues: identifiers of the rule that the changed lines name.
    """

    rule: Rule
    places: list[tuple[Touched, Anchored]] = field(default_factory=list)
    cues: list[str] = field(default_factory=list)

    @property
    def question(self) -> str:
        """What to ask."""
        return QUESTIONS[self.rule.id].text

    @property
    def promised(self) -> str:
        """The first release that obeys the rule; empty if none does."""
        return obeyed_since(self.rule.id)

    @property
    def rank(self) -> tuple[bool, bool, bool, int, int]:
        """Smaller is more relevant.

        Named by the rule before through a step, obeyed by Linux before the sketch
        alone, with its own identifiers in the changed lines before others, many
        identifiers and changed lines before few.
        """
        changed = sum(place.changed for place, _ in self.places)
        direct = any(not anchored.steps for _, anchored in self.places)
        return (
            not direct,
            not self.promised,
            not self.cues,
            -len(self.cues),
            -changed,
        )

    def reasons(self) -> Iterator[str]:
        """Why the rule is listed, one reason for each function."""
        for place, anchored in self.places:
            how = f" (step {', '.join(anchored.steps)})" if anchored.steps else ""
            was = anchored.anchor
            since = f", its name in {was.first}..{was.last}" if was.last else ""
            yield f"changes {place.function} in {place.file}{how}{since}"
        if self.cues:
            yield f"the changed lines name {', '.join(self.cues)}"


@dataclass
class Review:
    """What a patch touches.

    Attributes:
        functions: touched functions with anchors, in the order of the patch.
        concerns: the rules, most relevant first.
        notes: what could not be read or judged.
        hunks: how many hunks were read.
        files: the known files among those that the patch changes.
    """

    functions: list[Touched]
    concerns: list[Concern]
    notes: list[str]
    hunks: int
    files: list[str]


def review(
    readings: Sequence[Reading], tree: Tree | None = None, release: str = ""
) -> Review:
    """Judge what was read.

    Args:
        readings: a patch or a mailbox, or the files of a series in their order.
        tree: the tree that it applies to; its release is then that of the tree.
        release: of the kernel that it is for, if there is no tree.
    """
    found = [hunk for reading in readings for hunk in hunks(reading)]
    known = known_files()
    named = {file for hunk in found for file in (hunk.old, hunk.new)}
    places, notes = touched(found, known, tree)
    concerns: dict[str, Concern] = {}
    functions = []
    for place in places:
        here = rules_at(place.place, tree.release if tree else release)
        if here:
            functions.append(place)
        for anchored in here:
            id = anchored.rule.id
            concern = concerns.setdefault(id, Concern(anchored.rule))
            concern.places.append((place, anchored))
    order = list(load())
    for concern in concerns.values():
        concern.cues = _cues(concern)
    ranked = sorted(concerns.values(), key=lambda c: (c.rank, order.index(c.rule.id)))
    said = [note for reading in readings for note in reading.notes]
    return Review(functions, ranked, [*said, *notes], len(found), sorted(known & named))


def _cues(concern: Concern) -> list[str]:
    """The identifiers of a rule that changed lines name."""
    text = "\n".join(line for place, _ in concern.places for line in place.lines)
    return [cue for cue in QUESTIONS[concern.rule.id].cues if cue in text]


# -- as text ---------------------------------------------------------------------------


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        ascii_text(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )


def text(found: Review) -> Iterator[str]:
    """The review as lines of at most 72 columns, names of files and tests aside."""
    if not found.concerns:
        yield _nothing(found)
        return
    for place in found.functions:
        mail = f"  {'; '.join(place.titles)}" if place.titles else ""
        yield f"{place.file}: {place.function}  +{place.added} -{place.removed}{mail}"
    for concern in found.concerns:
        yield ""
        yield from _concern(concern)
    yield ""
    yield "To paste:"
    yield ""
    yield from paragraph(found)


def _nothing(found: Review) -> str:
    if found.files:
        return (
            f"No rule is anchored at the functions changed in {', '.join(found.files)}."
        )
    return "No rule is anchored in the files that this changes."


def _concern(concern: Concern) -> Iterator[str]:
    yield from _wrapped(f"{concern.rule.id}: {concern.rule.sentence}", "", "  ")
    for reason in concern.reasons():
        yield from _wrapped(reason, "  why  ", "       ")
    if not concern.promised:
        yield "  note the sketch's rule; no release of Linux promises it"
    yield from _wrapped(concern.question, "  ask  ", "       ")
    if tests := tests_of(concern.rule.id):
        shown = " ".join(tests[:TESTS])
        more = f"  (and {len(tests) - TESTS} more)" if len(tests) > TESTS else ""
        yield f"  run  anon-exclusive litmus {shown}{more}"


def paragraph(found: Review) -> Iterator[str]:
    """What to put into a reply: questions of the most relevant rules, and links."""
    names = list(dict.fromkeys(f"{place.function}()" for place in found.functions))
    asked = found.concerns[:PASTED]
    said = f"This changes {_listed(names)}, where rules on PG_anon_exclusive apply:"
    yield from _wrapped(said, "", "")
    yield ""
    for concern in asked:
        yield from _wrapped(f"{concern.rule.id}: {concern.question}", "- ", "  ")
    yield ""
    for concern in asked:
        yield f"Link: {address(concern.rule)}"


def _listed(names: list[str]) -> str:
    """Names as a sentence has them.

    >>> _listed(["a()", "b()", "c()"])
    'a(), b() and c()'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


# -- for machines ----------------------------------------------------------------------


def as_dict(found: Review) -> dict[str, Any]:
    """The review for machines."""
    return {
        "functions": [
            {
                "file": place.file,
                "function": place.function,
                "added": place.added,
                "removed": place.removed,
                "subjects": place.titles,
            }
            for place in found.functions
        ],
        "rules": [
            {
                "id": concern.rule.id,
                "sentence": concern.rule.sentence,
                "functions": [place.place for place, _ in concern.places],
                "direct": any(not a.steps for _, a in concern.places),
                "obeyed_since": concern.promised or None,
                "why": list(concern.reasons()),
                "ask": concern.question,
                "litmus": list(tests_of(concern.rule.id)),
                "link": address(concern.rule),
            }
            for concern in found.concerns
        ],
        "paragraph": "\n".join(paragraph(found)) if found.concerns else "",
        "notes": found.notes,
    }
