"""The generated pages on real kernels: what each showed, and what its model predicts.

All is worked out from the recorded observations on the present models; nothing is run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spec.history import parse as numbers
from spec.kernel.commands import table as observed_table
from spec.kernel.compare import has_bit
from spec.kernel.guests.witness import Finding, finding
from spec.kernel.observe import Observation, Run, place
from spec.kernel.outcomes import nearest, outcomes
from spec.kernel.recorded import Record, records
from spec.kernel.verdicts import NOT_SEEN
from spec.kernel.versions import backports, updated
from spec.litmus.files import catalogue
from spec.litmus.parser import read
from spec.litmus.program import VERDICTS, Test
from spec.litmus.run import run
from spec.litmus.show import SHORT
from spec.publish import litmus
from spec.publish.litmus import badge
from spec.publish.tables import code, table
from spec.releases import LINUX, RELEASES, Change

if TYPE_CHECKING:
    from spec.publish.pages import Site

PAGE = "reference/conformance.md"
HOW_TO = "../kernels.md"
LINE = re.compile(r"line \d+: |refused here: ")
LEGEND = (
    "`pN` is a page, numbered in the order in which pages come into sight. `E` says "
    "that its bit is set, `.` that it is clear, `?` that this cannot be seen; the "
    "number is its mapcount, `huge` says that a PMD maps it. `r: p1 = 2` says that the "
    "holder of `r` has page 1 and reads 2 there. Before 5.19 there is no bit."
)


@dataclass(frozen=True)
class Conformance:
    """One recorded kernel, judged.

    Attributes:
        record: what it showed.
        findings: by test, those whose recorded program is still the catalogue's.
        changed: tests that were changed since, or are new.
    """

    record: Record
    findings: dict[str, Finding]
    changed: tuple[str, ...]

    @property
    def ran(self) -> dict[str, Finding]:
        """What could be carried out."""
        return {name: each for name, each in self.findings.items() if each.ran}

    @property
    def differing(self) -> dict[str, Finding]:
        """What the model does not allow."""
        return {name: each for name, each in self.ran.items() if not each.agrees}


def judged(record: Record) -> Conformance:
    """A record beside the present models and the present catalogue."""
    findings: dict[str, Finding] = {}
    changed = []
    for name, path in catalogue().items():
        test = read(path)
        shown = record.shown.get(name)
        if shown is None or not shown.fits(test):
            changed.append(name)
        else:
            findings[name] = finding(test, shown, record.machine.release)
    return Conformance(record, findings, tuple(changed))


def column(release: str) -> str:
    """The column of the table of releases that a release falls into.

    >>> column("6.12")
    'linux-6.8'
    """
    below = [each for each in RELEASES if numbers(each) <= numbers(release)]
    return f"{LINUX}{below[-1]}"


def uri(record: Record) -> str:
    """The source address of the page on one kernel."""
    return f"conformance/linux-{record.name}.md"


def pages(site: Site) -> dict[str, str]:
    """The overview and the page on each recorded kernel."""
    found = [judged(record) for record in records()]
    return {
        PAGE: overview(site, found),
        **{uri(each.record): kernel_page(site, each) for each in found},
    }


# -- overview --------------------------------------------------------------------------


def overview(site: Site, found: Sequence[Conformance]) -> str:
    """All kernels, and the verdict that each showed on each test."""
    lines = [
        "# Real kernels",
        "",
        "Litmus tests run on real kernels, with real processes. After each line the "
        "kernel tells which page an address maps, its bit and its mapcount, and what "
        "each reference reads; the model of the release has to allow exactly that. "
        f"[Compare a kernel of your own]({HOW_TO}).",
        "",
        table(
            ("Kernel", "Recorded", "Agree", "Differ", "Cannot be run", "Changed since"),
            [_kernel_row(each) for each in found],
            "ae-wrap",
        ),
        "",
        "## Verdicts",
        "",
        "What a kernel showed, in the classes of the [litmus tests](litmus.md). The "
        "class is found in the observation; of the model only its promise is used, "
        "which references are protected. A cell is empty where the test cannot be run "
        "there. " + _exceptions_sentence(site, found),
        "",
        table(
            ("Test", *(each.record.name for each in found)),
            list(_matrix(found)),
            "ae-tight ae-matrix",
        ),
        "",
        *_exceptions(site, found),
    ]
    return "\n".join(lines) + "\n"


def _kernel_row(each: Conformance) -> tuple[object, ...]:
    record, differing = each.record, len(each.differing)
    return (
        f"[{record.machine.release}](../{uri(record)})",
        record.machine.date,
        len(each.ran) - differing,
        differing,
        len(each.findings) - len(each.ran),
        len(each.changed),
    )


def _matrix(found: Sequence[Conformance]) -> Iterator[tuple[str, ...]]:
    for name in catalogue():
        cells = [_cell(each, name) for each in found]
        if any(cells):
            yield (f"[{name}](../{litmus.uri(name)})", *cells)


def _cell(each: Conformance, test: str) -> str:
    shown = each.ran.get(test)
    if shown is None:
        return ""
    label = badge(shown.verdict, SHORT.get(shown.verdict, shown.verdict))
    return f"[{label}](../{uri(each.record)}#{test})"


def _unlike(
    site: Site, found: Sequence[Conformance]
) -> list[tuple[Conformance, str, str]]:
    """Kernel, test and the verdict of its release, where that is not what was shown."""
    stored = {
        name: litmus.verdicts(groups) for name, groups in site.store.litmus().items()
    }
    return [
        (each, name, stored[name][column(each.record.release)])
        for each in found
        for name, shown in each.ran.items()
        if shown.verdict != stored[name][column(each.record.release)]
    ]


def _exceptions_sentence(site: Site, found: Sequence[Conformance]) -> str:
    run = sum(len(each.ran) for each in found)
    unlike = len(_unlike(site, found))
    return (
        f"Of {run} runs, {run - unlike} show the verdict that the "
        f"[table of releases](releases.md) has; the other {unlike} are explained below."
    )


def _exceptions(site: Site, found: Sequence[Conformance]) -> list[str]:
    rows = [
        (
            f"[{name}](../{litmus.uri(name)})",
            each.record.name,
            badge(each.ran[name].verdict),
            badge(stated),
            _explained(each, name),
        )
        for each, name, stated in _unlike(site, found)
    ]
    if not rows:
        return []
    header = ("Test", "Kernel", "Shown", "Table of releases", "Why")
    return [
        "## Other verdicts than the table's",
        "",
        table(header, rows, "ae-wrap"),
        "",
    ]


def _explained(each: Conformance, test: str) -> str:
    shown, release = each.ran[test], each.record.release
    if not shown.agrees:
        return shown.known or "**Not explained: the model does not allow it.**"
    if shown.verdict == NOT_SEEN:
        return "A condition speaks of what the device sees before it writes."
    if shown.milder:
        return "The model allows both, the table has the worst."
    commits = ", ".join(
        code(c.commit) for c in decisive(read(catalogue()[test]), release)
    )
    return f"Stable updates of {release} have {commits}."


def decisive(test: Test, release: str) -> list[Change]:
    """The stable changes without one of which `test` has another verdict."""
    taken = backports(release)
    verdict = run(test, updated(release, taken)).verdict
    return [
        change
        for change in taken
        if run(test, updated(release, [c for c in taken if c != change])).verdict
        != verdict
    ]


# -- one kernel ------------------------------------------------------------------------


def kernel_page(site: Site, each: Conformance) -> str:
    """What one kernel got wrong, line by line; all that it ran; what it cannot run."""
    record = each.record
    lines = [
        f"# Linux {record.machine.release}",
        "",
        *_facts(each),
        "",
        LEGEND,
        "",
        *_differences(each),
        *_corruptions(each),
        *_all(each),
        *_not_expressible(each),
        *_changed(each),
    ]
    return "\n".join(lines) + "\n"


def _facts(each: Conformance) -> Iterator[str]:
    record = each.record
    yield f"- Kernel: {record.origin} ({record.machine.architecture})"
    yield f"- Recorded: {record.machine.date}, by {code(record.command)}"
    yield f"- Compared with: the model of Linux {record.release}"
    if taken := backports(record.release):
        said = ", ".join(f"{code(c.commit)} {c.subject}" for c in taken)
        yield f"- And with what stable updates of {record.release} have: {said}"
    yield (
        f"- Result: {len(each.ran) - len(each.differing)} agree, "
        f"{len(each.differing)} differ, "
        f"{len(each.findings) - len(each.ran)} cannot be run"
    )


def _differences(each: Conformance) -> Iterator[str]:
    if not each.differing:
        return
    yield from ("## Differences", "")
    yield "The model of the release does not allow what the kernel showed here."
    for name, found in each.differing.items():
        why = found.difference or f"shows {found.verdict}, predicted {found.predicted}"
        known = found.known or "**Not explained.**"
        yield from ("", f"- [{name}](../{litmus.uri(name)}): {known} {why}.")
    yield ""


def _is_wrong(found: Finding) -> bool:
    return found.verdict not in ("fine", NOT_SEEN)


def _severity(item: tuple[str, Finding]) -> int:
    return VERDICTS.index(item[1].verdict)


def _corruptions(each: Conformance) -> Iterator[str]:
    """Each test that went wrong, with prediction and observation side by side."""
    wrong = {name: found for name, found in each.ran.items() if _is_wrong(found)}
    wrong = dict(sorted(wrong.items(), key=_severity, reverse=True))
    if not wrong:
        return
    yield from ("## What goes wrong", "")
    yield (
        f"{len(wrong)} tests do not end well on this kernel, the worst first. Beside "
        "each line stands what the model predicts and what the kernel showed."
    )
    for name, found in wrong.items():
        test = read(catalogue()[name])
        yield from ("", f"### {name} {{#{name}}}", "")
        yield f"{badge(found.verdict)} shown, {badge(found.predicted)} predicted."
        yield from ("", _side_by_side(test, found, each.record))
    yield ""


def _side_by_side(test: Test, found: Finding, record: Record) -> str:
    shown = found.shown.run
    assert shown is not None
    looks = [line is not None for line in shown.lines]
    predicted = nearest(outcomes(test, record.model, looks), shown)
    rows = [
        (code(str(line)), _line(told, record), _line(seen, record))
        for line, told, seen in zip(
            test.lines, predicted.lines, shown.lines, strict=True
        )
    ]
    rows.append(("Read at the end", _final(predicted), _final(shown)))
    return table(("Line", "Predicted", "Shown"), rows, "ae-wrap")


def _line(line: Observation | None, record: Record) -> str:
    if line is None:
        return "with the next line"
    facts = (line if has_bit(record.model) else line.without_bit()).facts()
    call = facts.pop("the call")
    said = [f"{name}: {fact}" for name, fact in facts.items()]
    return code("; ".join([*([] if call == "succeeds" else [call]), *said]))


def _final(run: Run) -> str:
    values = [f"{place(*at)}: {value}" for at, value in run.final]
    return code("; ".join(values)) if values else ""


def _all(each: Conformance) -> Iterator[str]:
    yield from ("## All tests that were run", "")
    yield (
        "Shown and predicted verdict, and what the kernel showed line by line. Where "
        "nothing else is said, the model allows exactly that."
    )
    for name, found in each.ran.items():
        shown = found.shown.run
        assert shown is not None
        text = html.escape(observed_table(read(catalogue()[name]), shown))
        anchor = "" if _is_wrong(found) else f' id="{name}"'
        said = "" if found.agrees else " **differs**"
        yield from ("", f"<span{anchor}></span>[{name}](../{litmus.uri(name)}): ")
        yield f"{badge(found.verdict)} shown, {badge(found.predicted)} predicted{said}"
        yield ""
        yield (
            "<details data-search-exclude><summary>Line by line</summary>"
            f'<pre class="ae-trace">{text}</pre></details>'
        )
    yield ""


def _not_expressible(each: Conformance) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for name, found in each.findings.items():
        if not found.ran:
            reasons.setdefault(LINE.sub("", found.shown.why), []).append(name)
    if not reasons:
        return
    yield from ("## What cannot be run here", "")
    rows = [(reason, _links(names)) for reason, names in reasons.items()]
    yield table(("Why", "Tests"), rows, "ae-wrap")
    yield ""


def _changed(each: Conformance) -> Iterator[str]:
    if each.changed:
        yield from ("## Changed since it was recorded", "")
        yield f"These tests have other lines now, or are new: {_links(each.changed)}."


def _links(names: Iterable[str]) -> str:
    return ", ".join(f"[{name}](../{litmus.uri(name)})" for name in names)
