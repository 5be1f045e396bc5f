"""``anon-exclusive kernel witness``: the catalogue on several kernels."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from spec.cells import SpecificationError, one_of
from spec.kernel.guests import packages, witness
from spec.kernel.guests.packages import SOURCES, Image, NotAvailable
from spec.kernel.guests.witness import RUNNING, Finding, Progress, Wanted, Witnessed
from spec.kernel.observe import KernelError
from spec.kernel.recorded import Record, write
from spec.kernel.verdicts import NOT_SEEN
from spec.litmus.files import catalogue, find
from spec.litmus.parser import LitmusError
from spec.litmus.program import Test
from spec.options import WrongUse, as_json

ITSELF = "anon-exclusive kernel witness"


@click.command("witness")
@click.argument("kernels", metavar="[KERNEL]...", nargs=-1)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Boot this bzImage instead.",
)
@click.option(
    "--modules",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where its modules are, if not all is built in, as /lib/modules/6.12.1.",
)
@click.option(
    "--test",
    "named",
    metavar="FILE|NAME",
    multiple=True,
    help="Only this test; repeatable. By default the whole catalogue.",
)
@click.option("--show", is_flag=True, help="Show what was seen, line by line.")
@click.option("--afresh", is_flag=True, help="Fetch kernels that were fetched before.")
@click.option("--record", is_flag=True, help="Keep what is shown in the sources.")
@click.option(
    "--programs",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Compare so many random programs as well, as kernel fuzz does.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of these.")
@as_json
def witness_command(
    kernels: tuple[str, ...],
    image: Path | None,
    modules: Path | None,
    named: tuple[str, ...],
    show: bool,
    afresh: bool,
    record: bool,
    programs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Run the catalogue on KERNELs; compare each with the model of its release.

    A KERNEL is a release that Debian serves (5.10, 6.1, 6.12, 7; by default each of
    them), which is fetched and booted in QEMU, or "running".

    Exit code 1 if a kernel does what the model of its release does not allow and that
    is not known, 2 if one did not run to its end or none could be had.
    """
    if programs and find_spec("hypothesis") is None:
        raise WrongUse("--programs needs Hypothesis: pip install hypothesis")
    if record and named:
        raise WrongUse("--record is for the whole catalogue, not for --test")
    if modules is not None and image is None:
        raise WrongUse("--modules is for --image")
    tests = _tests(named)
    done, failed = [], []
    for name in _names(kernels, image):
        wanted = Wanted(tests, f"{ITSELF} {name}", ticker(name), programs, seed)
        try:
            found = _observe(wanted, _booted(name, image, modules, afresh))
        except NotAvailable as reason:
            click.echo(f"{name}: skipped: {reason}", err=True)
            continue
        except KernelError as reason:
            click.echo(f"{name}: did not run: {reason}", err=True)
            failed.append(name)
            continue
        findings = judged(found.record, tests)
        done.append(_as_dict(found, findings))
        if not as_json:
            for line in (*report(found, findings), *(seen(findings) if show else ())):
                click.echo(line)
        if record:
            click.echo(f"recorded in {write(found.record)}", err=True)
    if as_json:
        click.echo(json.dumps(done, indent=2))
    if failed:
        raise WrongUse(f"could not be run to the end: {', '.join(failed)}")
    if not done:
        raise WrongUse("no kernel was run")
    sys.exit(any(each["differs"] or each["random"] for each in done))


def _names(kernels: tuple[str, ...], image: Path | None) -> list[str]:
    """What is to be run, by names.

    Raises:
        WrongUse: there is no such kernel.
    """
    if image is not None:
        if kernels:
            raise WrongUse("give either releases or --image")
        return [str(image)]
    known = [*SOURCES, RUNNING]
    try:
        return [one_of(name, known, "kernel") for name in kernels] or [*SOURCES]
    except SpecificationError as mistake:
        raise WrongUse(str(mistake)) from None


def _tests(named: tuple[str, ...]) -> list[Test]:
    """The tests of these names or files; by default the catalogue.

    Raises:
        WrongUse: there is no such test, or it cannot be read.
    """
    try:
        return [find(name) for name in named or catalogue()]
    except (LitmusError, SpecificationError) as mistake:
        raise WrongUse(str(mistake)) from None


def _booted(
    name: str, image: Path | None, modules: Path | None, afresh: bool
) -> Image | None:
    """What is to be booted; ``None`` for the kernel that is running.

    Raises:
        NotAvailable: it cannot be had.
    """
    if name == RUNNING:
        return None
    if image is not None:
        return packages.own(image, modules)
    return packages.fetch(SOURCES[name], afresh=afresh)


def _observe(wanted: Wanted, image: Image | None) -> Witnessed:
    """What one kernel shows.

    Raises:
        KernelError: it cannot be booted, or did not come to its end.
    """
    if image is None:
        return witness.observe_running(wanted)
    return witness.boot_and_observe(image, wanted)


def ticker(name: str) -> Progress:
    """Rewrites a line on standard error, if somebody can see it."""

    def tick(done: int, of: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == of else ""
            click.echo(f"\r{name}: {done} of {of} tests{end}", nl=False, err=True)

    return tick


def judged(record: Record, tests: list[Test]) -> list[Finding]:
    """What is to be said of each test."""
    return [
        witness.finding(test, record.shown[test.name], record.machine.release)
        for test in tests
    ]


# -- output ----------------------------------------------------------------------------


def report(found: Witnessed, findings: list[Finding]) -> Iterator[str]:
    """A few lines on one kernel: how many agree, what it got wrong, what differs."""
    record = found.record
    ran = [each for each in findings if each.ran]
    agreeing = [each for each in ran if each.agrees]
    yield f"{record.machine}"
    yield f"  {record.origin}"
    yield f"  compared with the model of {record.release}:"
    yield (
        f"  {len(agreeing)} agree, {len(ran) - len(agreeing)} differ, "
        f"{len(findings) - len(ran)} cannot be expressed"
    )
    counts = Counter(each.verdict for each in agreeing if each.verdict != "fine")
    for said, count in sorted(counts.items()):
        yield f"  {said}{'' if said == NOT_SEEN else ', as predicted'}: {count}"
    for each in ran:
        if not each.agrees:
            yield f"  {each.shown.test} differs: {each.known or _why(each)}"
    if found.random is not None:
        known = found.random.known.total()
        yield (
            f"  {found.random.programs} random programs, {known} with a known "
            f"difference"
        )
    if disagreement := _disagreement(found):
        yield f"  and one differs:\n{disagreement}"


def seen(findings: list[Finding]) -> Iterator[str]:
    """What was seen of each test, or why it could not be run."""
    from spec.kernel.commands import LEGEND, table

    for each in findings:
        run = each.shown.run
        yield f"\nlitmus {each.shown.test}"
        if run is None:
            yield f"  not expressible: {each.shown.why}"
        else:
            yield table(each.shown.program(), run)
            yield f"  {each.verdict} shown, {each.predicted} predicted"
    yield f"\n{LEGEND}"


def _disagreement(found: Witnessed) -> str:
    """The random program on which kernel and model disagree, and how."""
    if found.random is None or found.random.found is None:
        return ""
    return f"{found.random.found.program}{found.random.found.comparison.why}"


def _why(found: Finding) -> str:
    if found.difference is not None:
        return str(found.difference)
    return f"shows {found.verdict}, predicted {' or '.join(sorted(found.outcomes))}"


def _as_dict(found: Witnessed, findings: list[Finding]) -> dict[str, Any]:
    record = found.record
    return {
        "kernel": asdict(record.machine),
        "origin": record.origin,
        "release": record.release,
        "differs": [each.shown.test for each in findings if each.unexpected],
        "random": _disagreement(found),
        "tests": [_finding_dict(each) for each in findings],
    }


def _finding_dict(found: Finding) -> dict[str, Any]:
    if not found.ran:
        return {"test": found.shown.test, "not expressible": found.shown.why}
    return {
        "test": found.shown.test,
        "agrees": found.agrees,
        "known": found.known,
        "why": "" if found.agrees else _why(found),
        "shown": found.verdict,
        "predicted": found.predicted,
    }
