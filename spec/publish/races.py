"""The generated page on races: outcomes that a kernel showed, and those allowed."""

from __future__ import annotations

from collections.abc import Iterator

from spec.kernel.race import Race
from spec.kernel.races import FILE, Record, RecordedRace, read
from spec.litmus.files import catalogue, find
from spec.litmus.program import Test
from spec.publish import litmus
from spec.publish.tables import code, number, table
from spec.releases import find_model

PAGE = "reference/races.md"
INTRODUCTION = (
    "A litmus test with `||` is made into a C program that has the operations of the "
    "race begin almost together, each on its own CPU. Here it was run many times on a "
    "real kernel. What was seen must be among what the model allows: that is judged "
    "when this page is built. An outcome that is allowed and was not seen needs a "
    "window that was not hit, or is a permission that this kernel does not use."
)


def races_page() -> str:
    """What was seen of each race, and how often."""
    if not FILE.exists():
        return "# Races on a real kernel\n\nNothing is recorded yet.\n"
    record = read()
    lines = ["# Races on a real kernel", "", INTRODUCTION, "", *_made(record)]
    stale = []
    for name in catalogue():
        test = find(name)
        if not any(line.is_race for line in test.lines):
            continue
        recorded = record.races.get(name)
        if recorded is None or not recorded.fits(test):
            stale.append(name)
        else:
            lines += ["", *_race(test, recorded, record)]
    if stale:
        lines += ["", "## Not recorded", "", *_not_recorded(stale)]
    return "\n".join([*lines, ""])


def _made(record: Record) -> Iterator[str]:
    yield (
        f"Recorded on {record.machine.date} on Linux {record.machine.release} "
        f"({record.machine.architecture}) by `{record.command}`, and compared with "
        f"{code(record.model)}. The programs are those of `anon-exclusive export --to "
        "c`; `anon-exclusive kernel race` runs them on your kernel."
    )


def _race(test: Test, recorded: RecordedRace, record: Record) -> Iterator[str]:
    """One table, as litmus7 prints it: how often, what, and whether it may be."""
    race = recorded.judged(test, find_model(record.model))
    yield f"## [{test.name}](../{litmus.uri(test.name)}) {{#{test.name}}}"
    yield ""
    yield from ("```text", *(str(line) for line in test.lines), "```", "")
    yield table(("Seen", "Outcome", "Allowed"), rows(race))


def rows(race: Race) -> Iterator[tuple[str, str, str]]:
    """The outcomes that were seen, the most frequent first, and then the others."""
    for values, times in race.seen.items():
        allowed = "yes" if race.allows(values) else "**no**"
        yield number(times), code(race.text(values)), allowed
    for values in race.unseen:
        yield number(0), code(race.text(values)), "yes"


def _not_recorded(names: list[str]) -> Iterator[str]:
    links = ", ".join(f"[{name}](../{litmus.uri(name)})" for name in names)
    yield (
        f"{links}: no system call does what they need, the recorded machine had none "
        "of it (swap, for instance), or the test was changed since."
    )
