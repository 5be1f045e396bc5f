"""``anon-exclusive kernel fuzz``: random programs, until kernel and model disagree."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spec.cells import SpecificationError
from spec.kernel.observe import Kernel, KernelError, this_machine
from spec.kernel.options import cannot_be_driven, of_the_driver, of_the_model
from spec.options import WrongUse, as_json, or_exit_2, removable
from spec.releases import find_model

if TYPE_CHECKING:
    from spec.kernel.fuzz import Disagreement, Report

PROGRAMS = 10_000
SEEDS = 1 << 32


@click.command()
@click.option(
    "--programs",
    type=click.IntRange(min=1),
    help=f"How many at most; by default {PROGRAMS:,}, unless --minutes is given.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="For how long at most.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="The same seed gives the same programs; by default a random one.",
)
@of_the_model
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@click.option(
    "--write",
    "file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the program on which they disagree into this file.",
)
@of_the_driver
@as_json
def fuzz(
    programs: int | None,
    minutes: float | None,
    seed: int | None,
    model: str,
    without: tuple[str, ...],
    file: Path | None,
    driver: list[str],
    as_json: bool,
) -> None:
    """Compare random programs with a model, until they disagree.

    Says how often each operation was exercised. A program on which kernel and model
    disagree is shrunk to the shortest that can be found. Exit code 1 if there is one.
    """
    if find_spec("hypothesis") is None:
        raise WrongUse("fuzz needs Hypothesis; install it with: pip install hypothesis")
    from spec.kernel.fuzz import fuzz as run

    removed = or_exit_2(lambda: frozenset(removable(id).id for id in without))
    chosen = random.randrange(SEEDS) if seed is None else seed
    try:
        with Kernel(*driver) as kernel:
            report = run(
                find_model(model),
                kernel,
                without=removed,
                most=programs or (None if minutes else PROGRAMS),
                seconds=None if minutes is None else minutes * 60,
                seed=chosen,
                progress=_ticker,
            )
    except KernelError as error:
        raise cannot_be_driven(error) from None
    if report.found and file is not None:
        shortest = str(report.found.program)
        or_exit_2(lambda: _write(file, shortest))
    name = " ".join([model, *(f"without {id}" for id in sorted(removed))])
    if as_json:
        click.echo(json.dumps(_as_dict(report, name, chosen), indent=2))
    else:
        _print(report, name, chosen)
    if report.found:
        sys.exit(1)
    if not report.programs:
        raise WrongUse("nothing was compared: no program could be run here")


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecificationError(
            f"cannot write to {str(file)!r} ({error.strerror})"
        ) from None


def _ticker(report: Report) -> None:
    if sys.stderr.isatty():
        rate = report.programs / report.seconds
        line = f"{report.programs:,} programs, {rate:.0f} a second"
        click.echo(f"\r{line:60}", nl=False, err=True)


def _print(report: Report, model: str, seed: int) -> None:
    rate = 60 * report.programs / report.seconds
    click.echo(
        f"{report.programs:,} programs, {report.seconds:.0f} s ({rate:,.0f} a minute),"
        f" seed {seed}, compared with {model}"
    )
    if report.interrupted:
        click.echo("Interrupted; this is what was done so far.")
    click.echo("\nOperations")
    click.echo(_table(report.operations))
    click.echo("\nSystem calls, where there is a choice")
    click.echo(_table(report.calls))
    for title, counts in (
        ("Known differences, passed over", report.known),
        ("Not compared", report.not_expressible),
    ):
        if counts:
            click.echo(f"\n{title}")
            for why, count in counts.most_common():
                click.echo(f"{count:8,}  {why}")
    click.echo("")
    if report.found is None:
        click.echo("Kernel and model agree.")
    else:
        click.echo(_disagreement(report.found))
    click.echo(this_machine())


def _table(counts: Counter[str]) -> str:
    """Two columns, of words with their counts."""
    cells = [f"{count:8,}  {word:24}" for word, count in sorted(counts.items())]
    half = (len(cells) + 1) // 2
    rows = zip(cells[:half], [*cells[half:], ""], strict=False)
    return "\n".join(f"{left}{right}".rstrip() for left, right in rows)


def _disagreement(found: Disagreement) -> str:
    lines = ["Kernel and model DISAGREE on", "", str(found.program).rstrip(), ""]
    lines.append(found.comparison.why)
    if not found.repeats:
        lines.append("It did not do so every time: more than the program decides.")
    return "\n".join(lines)


def _as_dict(report: Report, model: str, seed: int) -> dict[str, Any]:
    """For machines."""
    found = report.found
    return {
        "machine": this_machine().json(),
        "model": model,
        "seed": seed,
        "programs": report.programs,
        "seconds": round(report.seconds, 1),
        "interrupted": report.interrupted,
        "operations": dict(sorted(report.operations.items())),
        "calls": dict(sorted(report.calls.items())),
        "known": dict(report.known),
        "not_compared": dict(report.not_expressible),
        "disagreement": found
        and {
            "program": str(found.program),
            "by": found.program.by,
            "why": found.comparison.why,
            "repeats": found.repeats,
        },
    }
