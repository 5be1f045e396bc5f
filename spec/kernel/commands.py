"""``anon-exclusive kernel``: what the running kernel shows, and whether that agrees."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any

import click

from spec.cells import SpecificationError
from spec.kernel.compare import AGREES, DIFFERS, NOT_EXPRESSIBLE, Comparison, compare
from spec.kernel.fuzzing import fuzz
from spec.kernel.guests.commands import witness_command
from spec.kernel.observe import (
    Kernel,
    KernelError,
    Observation,
    Run,
    place,
    this_machine,
)
from spec.kernel.options import cannot_be_driven, of_the_driver, of_the_model
from spec.kernel.pagemap import not_visible
from spec.kernel.programs import BY, NotExpressible
from spec.kernel.racing import race_command
from spec.litmus.files import catalogue, find
from spec.litmus.parser import LitmusError
from spec.litmus.program import Test
from spec.options import WrongUse, as_json
from spec.releases import find_model

WIDTH = 72
LEGEND = """pN page, E bit set, . bit clear, ? bit not to be seen, number: mapcount,
huge: mapped by a PMD, - nothing mapped"""


@click.group()
def kernel() -> None:
    """Drive the running Linux kernel, observe it, compare it with a model."""


def _arguments(command: Callable[..., None]) -> Callable[..., None]:
    named = click.argument("tests", metavar="[FILE|NAME]...", nargs=-1)
    by = click.option(
        "--by",
        type=click.Choice(BY),
        multiple=True,
        help="Prefer this to take a reference, use it and let go. Repeatable.",
    )
    return named(by(of_the_driver(as_json(command))))


@kernel.command()
@_arguments
def observe(
    tests: tuple[str, ...], by: tuple[str, ...], driver: list[str], as_json: bool
) -> None:
    """Run litmus tests on this kernel; show its pages after each line.

    Without an argument, the whole catalogue. Exit code 2 if nothing could be run.
    """
    runs = _each(tests, driver, lambda test, running: _observed(test, running, by))
    if as_json:
        found = [_run_as_json(test, run) for test, run in runs]
        _print_json({"tests": found})
    else:
        for test, run in runs:
            click.echo(f"litmus {test.name}")
            click.echo(run if isinstance(run, str) else table(test, run))
            click.echo()
        click.echo(f"{LEGEND}\n{this_machine()}")
        _say_what_is_hidden(driver)
    if all(isinstance(run, str) for _, run in runs):
        raise WrongUse("none of these tests can be run on this kernel")


@kernel.command(name="compare")
@_arguments
@of_the_model
def compare_command(
    tests: tuple[str, ...],
    by: tuple[str, ...],
    model: str,
    driver: list[str],
    as_json: bool,
) -> None:
    """Does this kernel do only what a model allows?

    Without an argument, the whole catalogue. Exit code 1 if some test differs, 2 if
    nothing could be compared.
    """
    judge = find_model(model)
    found = _each(tests, driver, lambda test, on: compare(test, judge, on, by))
    verdicts = [verdict for _, verdict in found]
    if as_json:
        _print_json({"model": model, "tests": [asdict(v) for v in verdicts]})
    else:
        width = max((len(v.test) for v in verdicts), default=0)
        for verdict in verdicts:
            click.echo(_verdict_line(verdict, width))
        click.echo(f"\n{_summary(verdicts, model)}\n{this_machine()}")
        _say_what_is_hidden(driver)
    seen = {verdict.verdict for verdict in verdicts}
    if DIFFERS in seen:
        raise SystemExit(1)
    if AGREES not in seen:
        raise WrongUse("nothing was compared: none of these tests can be run here")


def _say_what_is_hidden(driver: Sequence[str]) -> None:
    """Say so where only values were seen."""
    hidden = "--values-only" if "--values-only" in driver else not_visible()
    if hidden:
        click.echo(f"Values only: {hidden}.")


def _observed(test: Test, running: Kernel, by: Collection[str]) -> Run | str:
    try:
        return running.observe(test, by)
    except NotExpressible as reason:
        return f"  {NOT_EXPRESSIBLE}: {reason}"


def _each[T](
    names: Sequence[str], driver: Sequence[str], what: Callable[[Test, Kernel], T]
) -> list[tuple[Test, T]]:
    """What `what` says of each test, on one kernel."""
    tests = load(names)
    try:
        with Kernel(*driver) as running:
            return [(test, what(test, running)) for test in tests]
    except KernelError as error:
        raise cannot_be_driven(error) from None


def load(names: Sequence[str]) -> list[Test]:
    """The tests with these file names or catalogue names; by default all of them.

    Raises:
        WrongUse: there is no such test, or it cannot be read.
    """
    try:
        return [find(name) for name in names or catalogue()]
    except (LitmusError, SpecificationError) as mistake:
        raise WrongUse(str(mistake)) from None


kernel.add_command(fuzz)
kernel.add_command(witness_command)
kernel.add_command(race_command)


# -- output -----------------------------------------------------------------------


def table(test: Test, run: Run) -> str:
    """A row for each line, a column for each place; at most `WIDTH` wide.

    What does not fit is shown in further tables below the first.
    """
    outcomes = [
        f"  {shown.outcome}" if shown and shown.outcome != "succeeds" else ""
        for shown in run.lines
    ]
    rows = [f"{o}{out}" for o, out in zip(test.operations, outcomes, strict=True)]
    facts = [
        {place(*at): str(mapped) for at, mapped in shown.mapped}
        | {name: str(held) for name, held in shown.held}
        if shown
        else {}
        for shown in run.lines
    ]
    final = {place(*at): f"= {value}" for at, value in run.final}
    known = dict.fromkeys(name for row in facts for name in row)
    columns = sorted(known, key=lambda name: name in test.references)
    text = [["", *columns]]
    text += [
        [row, *(shown.get(name, "") for name in columns)]
        for row, shown in zip(rows, facts, strict=True)
    ]
    text += [["reads at the end", *(final.get(name, "") for name in columns)]]
    widths = [max(len(row[i]) for row in text) for i in range(len(columns) + 1)]
    return "\n\n".join(_block(text, widths, group) for group in _groups(widths))


def _groups(widths: list[int]) -> list[list[int]]:
    """The columns of each table: as many as fit beside the first."""
    groups: list[list[int]] = [[]]
    for column in range(1, len(widths)):
        used = 2 + widths[0] + sum(widths[i] + 2 for i in [*groups[-1], column])
        if used > WIDTH and groups[-1]:
            groups.append([])
        groups[-1].append(column)
    return groups


def _block(text: list[list[str]], widths: list[int], group: list[int]) -> str:
    rows = []
    for row in text:
        cells = "  ".join(row[i].ljust(widths[i]) for i in (0, *group))
        rows.append(f"  {cells}".rstrip())
    return "\n".join(rows)


def _verdict_line(verdict: Comparison, width: int) -> str:
    line = f"{verdict.test:{width}}  {verdict.verdict}"
    if not verdict.why:
        return line
    why = textwrap.fill(verdict.why, WIDTH, initial_indent="  ", subsequent_indent="  ")
    return f"{line}\n{why}"


def _summary(verdicts: list[Comparison], model: str) -> str:
    counts = Counter(verdict.verdict for verdict in verdicts)
    words = [f"{counts[v]} {v}" for v in (AGREES, DIFFERS, NOT_EXPRESSIBLE)]
    return f"Compared with {model}: {', '.join(words)}."


def _print_json(found: dict[str, Any]) -> None:
    click.echo(json.dumps({"machine": this_machine().json(), **found}, indent=2))


def _run_as_json(test: Test, run: Run | str) -> dict[str, Any]:
    if isinstance(run, str):
        return {"test": test.name, NOT_EXPRESSIBLE: run.partition(": ")[2]}
    return {
        "test": test.name,
        "lines": [
            {"line": operation.line, "operation": str(operation), **_shown_json(shown)}
            for operation, shown in zip(test.operations, run.lines, strict=True)
        ],
        "final": {place(*at): value for at, value in run.final},
    }


def _shown_json(shown: Observation | None) -> dict[str, Any]:
    if shown is None:
        return {"with the next line": True}
    return {
        "answer": shown.answer,
        "failed": shown.failed,
        "mapped": {place(*at): asdict(mapped) for at, mapped in shown.mapped},
        "held": {name: asdict(held) for name, held in shown.held},
    }
