"""The part of the page on cow.c about recorded runs on real kernels."""

from __future__ import annotations

from collections.abc import Iterator

from spec.kernel.selftests import (
    FAIL,
    NAMES,
    PASS,
    SKIP,
    XFAIL,
    Compared,
    SelftestRun,
    compared,
    runs,
)
from spec.publish.litmus import badge
from spec.publish.tables import table


def section() -> list[str]:
    """What cow.c came to on each kernel, and whether the models predict that."""
    found = {each.kernel: (each, list(compared(each))) for each in runs()}
    header = ("Kernel", "Recorded", PASS, FAIL, XFAIL, SKIP, "Compared", "As predicted")
    return [
        "## On real kernels {#real-kernels}",
        "",
        "cow.c itself was run on these kernels. *Compared* are the programs above that "
        "were not skipped: a case on memory of one kind, all sizes of folios together. "
        "A program is *as predicted* if it fails just where the model of the release "
        "says that something goes wrong.",
        "",
        table(header, [_row(*each) for each in found.values()], "ae-wrap"),
        "",
        *dict.fromkeys(f"Run as: {each.how}." for each, _ in found.values()),
        "",
        *_failures(found),
    ]


def _row(each: SelftestRun, done: list[Compared]) -> tuple[object, ...]:
    totals = each.totals()
    counts = [totals[result] for result in (PASS, FAIL, XFAIL, SKIP)]
    agreeing = sum(program.agrees for program in done)
    return (each.kernel, each.made, *counts, len(done), agreeing)


def _failures(found: dict[str, tuple[SelftestRun, list[Compared]]]) -> Iterator[str]:
    """Each program that failed or was predicted to, on any kernel."""
    rows = [
        (
            each.release,
            f"{program.case}, {NAMES[program.case]}",
            program.kind,
            badge(program.verdict),
            ", ".join(f"{n} {result}" for result, n in program.results.items()),
            "as predicted" if program.agrees else program.why or "**not explained**",
        )
        for each, done in found.values()
        for program in done
        if program.verdict != "fine" or set(program.results) != {PASS}
    ]
    yield "### What failed, or was predicted to"
    yield ""
    header = ("Linux", "Case", "Memory", "Predicted", "Recorded", "")
    yield table(header, rows, "ae-wrap")
    yield ""
