"""What changed between two versions of the specification, rule by rule.

A release leaves a list of its rules in ``spec/records/released``; the changelog page
compares neighbours, and the last list with the rules as they are now.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spec.publish import citations
from spec.publish.tables import table
from spec.publish.verdicts import SOURCES
from spec.rules import Rule, load

FOLDER = SOURCES / "records" / "released"
PAGE = "changelog.md"
CLASSES = {
    "added": "the id is new",
    "withdrawn": "the rule is no longer in force; its page says why",
    "changed": "the checksum differs",
    "moved": "only the chapter differs",
}
"""The classes of the stability policy, in the order in which they are listed."""


@dataclass(frozen=True)
class Listed:
    """What a list of rules says of one."""

    rev: int
    checksum: str
    chapter: str
    withdrawn: bool = False


Rules = Mapping[str, Listed]


def listed(rules: Iterable[Rule]) -> dict[str, Listed]:
    """The list of these rules."""
    return {
        rule.id: Listed(rule.rev, rule.checksum, rule.chapter, bool(rule.withdrawn))
        for rule in rules
    }


def difference(old: Rules, new: Rules) -> dict[str, list[str]]:
    """The ids in each class; a rule is in one at most.

    >>> first = {"AE-X-1": Listed(1, "aa", "bit"), "AE-X-2": Listed(1, "bb", "bit")}
    >>> then = {"AE-X-1": Listed(2, "cc", "bit"), "AE-X-3": Listed(1, "dd", "bit")}
    >>> difference(first, then)
    {'added': ['AE-X-3'], 'withdrawn': ['AE-X-2'], 'changed': ['AE-X-1'], 'moved': []}
    """
    found: dict[str, list[str]] = {kind: [] for kind in CLASSES}
    for id in (*new, *(id for id in old if id not in new)):
        if kind := _class(old.get(id), new.get(id)):
            found[kind].append(id)
    return found


def _class(old: Listed | None, new: Listed | None) -> str:
    if old is None:
        return "added"
    if new is None or (new.withdrawn and not old.withdrawn):
        return "withdrawn"
    if new.checksum != old.checksum:
        return "changed"
    return "moved" if new.chapter != old.chapter else ""


def silent(old: Rules, new: Rules) -> list[str]:
    """What must not happen between two versions, one clause each.

    >>> silent({"AE-X-1": Listed(1, "aa", "bit")}, {"AE-X-1": Listed(1, "cc", "bit")})
    ['AE-X-1 has changed and its revision has not grown']
    >>> silent({"AE-X-1": Listed(1, "aa", "bit")}, {})
    ['AE-X-1 is gone; withdraw it and keep its page']
    """
    return [
        *(
            f"{id} has changed and its revision has not grown"
            for id in difference(old, new)["changed"]
            if new[id].rev <= old[id].rev
        ),
        *(
            f"{id} is gone; withdraw it and keep its page"
            for id in old
            if id not in new
        ),
    ]


# -- the lists of releases -------------------------------------------------------------


def as_json(rules: Rules) -> str:
    """A list as it is kept: one rule a line."""
    lines = ",\n".join(
        f'"{id}": {json.dumps(list(_row(r)))}' for id, r in rules.items()
    )
    return f"{{\n{lines}\n}}\n"


def _row(rule: Listed) -> tuple[int, str, str, bool]:
    return rule.rev, rule.checksum, rule.chapter, rule.withdrawn


def released(folder: Path = FOLDER) -> dict[str, dict[str, Listed]]:
    """The list of each release, the oldest first."""
    files = sorted(folder.glob("*.json"), key=lambda path: _order(path.stem))
    return {
        path.stem: {
            id: Listed(*row)
            for id, row in json.loads(path.read_text(encoding="utf-8")).items()
        }
        for path in files
    }


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


# -- the page --------------------------------------------------------------------------


def changelog(rules: Iterable[Rule], version: str, folder: Path = FOLDER) -> str:
    """The changelog page: what each version added, withdrew, changed and moved.

    Args:
        rules: the rules as they are now.
        version: what the next release will be called, or the last one was.
        folder: the lists of the releases.
    """
    every = {**released(folder)}
    if version not in every:
        every[version] = listed(rules)
    lines = [
        "# Changelog",
        "",
        "What each version did to the rules, by the classes of "
        "[the stability policy](stability.md#what-changed-between-two-versions). "
        "An id leads to the rule as it is now.",
    ]
    versions = list(every)
    for older, newer in reversed(list(zip([None, *versions], versions, strict=False))):
        kept = newer in released(folder)
        lines += ["", f"## {newer}{'' if kept else ', not released yet'}", ""]
        lines += _section(every[older] if older else {}, every[newer])
    return "\n".join(lines) + "\n"


def _section(old: Rules, new: Rules) -> Iterator[str]:
    found = difference(old, new)
    rows = [
        (
            f"{kind}: {CLASSES[kind]}",
            len(ids),
            ", ".join(f"[{id}](r/{id}.md)" for id in ids),
        )
        for kind, ids in found.items()
        if ids
    ]
    yield f"{len(new)} rules, guarantees and assumptions."
    if rows:
        yield from ("", table(("Class", "Rules", "Ids"), rows, "ae-wrap"))
    else:
        yield from ("", "No rule differs from the version before.")


def main() -> int:
    """Keep the list of the present rules under the present version; 2 if it differs."""
    version, rules = citations.version(), listed(load().values())
    before = released()
    last = before.get(version) or next(reversed(before.values()), {})
    problems = silent(last, rules)
    if version in before and before[version] != rules:
        problems.append(f"{version} is released with other rules; raise the version")
    if problems:
        print(f"Error: {'; '.join(problems)}", file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{version}.json"
    path.write_text(as_json(rules), encoding="utf-8")
    print(f"{path.relative_to(SOURCES.parent)}: {len(rules)} rules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
