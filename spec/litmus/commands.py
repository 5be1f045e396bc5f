"""The commands ``run`` and ``litmus``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import click

from spec.cells import SpecificationError
from spec.litmus import show
from spec.litmus.files import catalogue, find
from spec.litmus.parser import LitmusError
from spec.litmus.program import Test
from spec.litmus.run import Result
from spec.litmus.run import run as explore
from spec.models import MODELS
from spec.options import ModelName, Release, WrongUse
from spec.releases import find_model

of_kernel = click.option(
    "--kernel",
    "kernels",
    type=Release(),
    multiple=True,
    metavar="RELEASE",
    help="The model of a release of Linux, for instance 5.10. Repeatable.",
)


def _found(name: str) -> Test:
    try:
        return find(name)
    except (LitmusError, SpecificationError) as error:
        raise WrongUse(str(error)) from None


@click.command()
@click.argument("file")
@click.option("--model", type=ModelName(), default="sketch", show_default=True)
@click.option(
    "--kernel",
    type=Release(),
    metavar="RELEASE",
    help="The model of a release of Linux, for instance 5.10, instead of --model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_context
def run(
    context: click.Context, file: str, model: str, kernel: str | None, as_json: bool
) -> None:
    """Run the litmus test FILE and print the state after each line.

    FILE may also be the name of a test of the catalogue. Where a line can end in
    several ways, each is printed. Exit code 1 if the verdict is not "fine".
    """
    result = explore(_found(file), find_model(kernel or model))
    if as_json:
        click.echo(json.dumps(show.as_dict(result, states=True), indent=2))
    else:
        for line in show.run_text(result):
            click.echo(line)
    context.exit(int(result.verdict != "fine"))


@click.command()
@click.argument("tests", nargs=-1, metavar="[FILE or NAME]...")
@click.option("--model", "models", type=ModelName(), multiple=True, help="Repeatable.")
@of_kernel
@click.option("-v", "--verbose", is_flag=True, help="Show an outcome that is not fine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_context
def litmus(
    context: click.Context,
    tests: Sequence[str],
    models: Sequence[str],
    kernels: Sequence[str],
    verbose: bool,
    as_json: bool,
) -> None:
    """Print the verdict of litmus tests, by default the catalogue, on each model.

    A verdict that is not the one that the file states is marked with "!". Exit code
    0 if there is none, and every verdict about which a file says nothing is "fine".
    """
    chosen = [_found(name) for name in tests or catalogue()]
    names = list(dict.fromkeys([*models, *kernels])) or list(MODELS)
    results: list[Result] = []
    if not as_json:
        click.echo("\n".join(show.table_head(names)))
    for test in chosen:
        row = [explore(test, find_model(name)) for name in names]
        results += row
        if not as_json:
            click.echo(show.table_row(test.name, row))
    if as_json:
        click.echo(json.dumps([show.as_dict(result) for result in results], indent=2))
    else:
        for line in _below(results, verbose):
            click.echo(line)
    context.exit(int(not all(map(_acceptable, results))))


def _acceptable(result: Result) -> bool:
    return result.verdict == (result.test.expected(result.model) or "fine")


def _below(results: Sequence[Result], verbose: bool) -> Iterator[str]:
    """What follows the table."""
    yield ""
    yield from show.legend(results)
    for result in results:
        if verbose and result.verdict != "fine":
            yield from ("", f"{result.test.name} on {result.model}", "")
            yield from show.verdict_text(result)
            yield ""
            yield from show.steps_text(result, result.worst)
