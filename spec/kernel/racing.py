"""``anon-exclusive kernel race``: outcomes of races, seen and allowed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from spec.cells import SpecificationError
from spec.kernel import races
from spec.kernel.observe import KernelError, this_machine
from spec.kernel.options import of_the_model
from spec.kernel.programs import NotExpressible
from spec.kernel.race import Race, race
from spec.litmus.files import catalogue, find
from spec.litmus.parser import LitmusError
from spec.litmus.program import Test
from spec.options import WrongUse, as_json
from spec.releases import find_model

RUNS = 10_000


@click.command(name="race")
@click.argument("tests", metavar="[FILE|NAME]...", nargs=-1)
@click.option(
    "--runs", type=click.IntRange(min=1), default=RUNS, show_default=True, help="Each."
)
@of_the_model
@click.option("--record", is_flag=True, help="Keep what was seen in spec/records.")
@as_json
def race_command(
    tests: tuple[str, ...], runs: int, model: str, record: bool, as_json: bool
) -> None:
    """Run races many times; is each outcome that is seen allowed by a model?

    Without an argument, all tests of the catalogue that have a race and are C programs.
    Exit code 1 if something was seen that the model does not allow.
    """
    if record and tests:
        raise WrongUse("--record keeps all races together; give no test beside it")
    ran: list[tuple[Test, Race]] = []
    passed: dict[str, str] = {}
    try:
        for test in _racing(tests):
            try:
                found = race(test, find_model(model), runs)
            except (NotExpressible, SpecificationError) as why:
                passed[test.name] = str(why)
                continue
            ran.append((test, found))
            if not as_json:
                click.echo("\n".join([*text(found), ""]))
    except KernelError as error:
        raise WrongUse(str(error)) from None
    except KeyboardInterrupt:
        click.echo("Interrupted; this is what was done so far.", err=True)
    _end([found for _, found in ran], passed, model, as_json)
    if not ran:
        raise WrongUse("nothing was run: none of these races can be run here")
    if record:
        click.echo(races.write(ran, this_machine(), runs))
    if any(found.forbidden for _, found in ran):
        sys.exit(1)


def _racing(names: Sequence[str]) -> Iterator[Test]:
    """The tests with these names; by default those of the catalogue with a race."""
    try:
        tests = [find(name) for name in names or catalogue()]
    except (LitmusError, SpecificationError) as mistake:
        raise WrongUse(str(mistake)) from None
    for test in tests:
        if names or any(line.is_race for line in test.lines):
            yield test


def text(found: Race) -> Iterator[str]:
    """The table of one race: what was seen, and what only the model allows.

    >>> seen = {(2, 3): 9, (1, 3): 1}
    >>> found = Race("t", "upstream", ("x", "y"), seen, frozenset({(2, 3), (2, 1)}))
    >>> print("\\n".join(text(found)))
    t  10 runs
            9  x = 2, y = 3
            1  x = 1, y = 3  FORBIDDEN by upstream
            0  x = 2, y = 1
    """
    yield f"{found.test}  {found.runs:,} runs"
    for values, times in found.seen.items():
        verdict = "" if found.allows(values) else f"  FORBIDDEN by {found.model}"
        yield f"{times:9,}  {found.text(values)}{verdict}"
    for values in found.unseen:
        yield f"{0:9,}  {found.text(values)}"


def _end(
    found: Sequence[Race], passed: dict[str, str], model: str, as_json: bool
) -> None:
    forbidden = sum(bool(each.forbidden) for each in found)
    if as_json:
        machine = this_machine().json()
        rows = [_as_dict(each) for each in found]
        made = {"machine": machine, "model": model, "races": rows, "not_run": passed}
        click.echo(json.dumps(made, indent=2))
        return
    for name, why in passed.items():
        click.echo(f"{name}  not run: {why}")
    click.echo(
        f"\nCompared with {model}: {len(found) - forbidden} within what is allowed, "
        f"{forbidden} not, {len(passed)} not run."
    )
    click.echo(this_machine())


def _as_dict(found: Race) -> dict[str, Any]:
    """For machines."""

    def outcome(values: tuple[int | None, ...]) -> dict[str, int | None]:
        return dict(zip(found.names, values, strict=True))

    return {
        "test": found.test,
        "runs": found.runs,
        "seen": [
            {"outcome": outcome(v), "times": times, "allowed": found.allows(v)}
            for v, times in found.seen.items()
        ],
        "unseen": [outcome(values) for values in found.unseen],
    }
