"""`rules.lock`: the rules that another repository cites, as they were then."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from spec.cells import SpecificationError
from spec.desk.citing import citations
from spec.desk.flowing import flow
from spec.desk.mail import Reading
from spec.rules import Rule

NAME = "rules.lock"
FORMAT = 1
"""Of the file; a later format has a larger number."""


@dataclass(frozen=True)
class Locked:
    """A rule as it was when it was locked.

    Attributes:
        rev, checksum, chapter, sentence: as the rule had them.
        withdrawn: why it was withdrawn, if it was.
    """

    rev: int
    checksum: str
    chapter: str
    sentence: str
    withdrawn: str = ""


@dataclass(frozen=True)
class Place:
    """A citation in a file; line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Difference:
    """What became of a rule since it was locked.

    Attributes:
        id: the rule.
        kind: ``added``, ``removed``, ``changed`` or ``moved``, as `docs/stability.md`
            has them.
        message: one sentence; for a change with the old and the new one.
        affects: whether a text that cites the rule needs a look.
    """

    id: str
    kind: str
    message: str

    @property
    def affects(self) -> bool:
        """Whether a citing text needs a look."""
        return self.kind in ("removed", "changed")


def locked(rule: Rule) -> Locked:
    """A rule as it is now."""
    return Locked(rule.rev, rule.checksum, rule.chapter, rule.sentence, rule.withdrawn)


def cited(readings: Iterable[Reading]) -> dict[str, list[Place]]:
    """Every id that texts cite, with its places."""
    found: dict[str, list[Place]] = {}
    for reading in readings:
        for piece in reading.pieces:
            flowing = flow(piece.lines)
            for each in citations(flowing):
                place = Place(reading.name, *flowing.place(each.at))
                found.setdefault(each.id, []).append(place)
    return found


def write(path: Path, rules: Sequence[Rule], every: bool) -> None:
    """Write a lock, all or nothing.

    Args:
        path: of the file.
        rules: what is locked.
        every: these are all rules there are, so that later ones are *added*.

    Raises:
        SpecificationError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "every_rule": every,
        "rules": {rule.id: asdict(locked(rule)) for rule in rules},
    }
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise SpecificationError(
            f"cannot write {str(path)!r} ({error.strerror}); give a file that you may "
            f"write to"
        ) from None


def read(path: Path) -> tuple[dict[str, Locked], bool]:
    """The locked rules by id, and whether they were all there were.

    Raises:
        SpecificationError: there is no such file, or it is no lock of this format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise SpecificationError(
                f"{str(path)!r} has format {content['format']!r}, this program knows "
                f"{FORMAT}; write it anew with: anon-exclusive lock"
            )
        rules = {id: Locked(**each) for id, each in content["rules"].items()}
        return rules, bool(content["every_rule"])
    except OSError as error:
        raise SpecificationError(
            f"cannot read {str(path)!r} ({error.strerror}); write it with: "
            f"anon-exclusive lock"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SpecificationError(
            f"{str(path)!r} is no lock of rules; write it with: anon-exclusive lock"
        ) from None


def differences(
    was: dict[str, Locked], every: bool, now: dict[str, Rule]
) -> list[Difference]:
    """What differs between a lock and the rules, each in one class."""
    found = []
    for id, old in was.items():
        rule = now.get(id)
        if rule is None:
            message = f"there is no rule {id} in these rules; they may be older"
            found.append(Difference(id, "removed", message))
        elif rule.withdrawn and not old.withdrawn:
            message = f"it was withdrawn: {rule.withdrawn}"
            found.append(Difference(id, "removed", message))
        elif rule.checksum != old.checksum and not rule.withdrawn:
            found.append(Difference(id, "changed", _change(old, rule)))
        elif rule.chapter != old.chapter:
            message = f"from the chapter {old.chapter} to {rule.chapter}"
            found.append(Difference(id, "moved", message))
    if every:
        found += [
            Difference(id, "added", rule.sentence)
            for id, rule in now.items()
            if id not in was
        ]
    return found


def _change(old: Locked, rule: Rule) -> str:
    revisions = f"revision {old.rev} is {rule.rev} now, checksum {rule.checksum}"
    if old.sentence == rule.sentence:
        return f"{revisions}; the sentence is the same, its predicate is not"
    return f'{revisions}; it said "{old.sentence}"; it says "{rule.sentence}"'
