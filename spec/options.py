"""What several commands have: types of arguments, progress, one-sentence errors."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from spec.ablation import checkable
from spec.cells import SpecificationError
from spec.checker.program import Progress
from spec.models import MODELS
from spec.releases import LINUX, RELEASES, find_model
from spec.rules import Rule, find


class WrongUse(click.ClickException):
    """A mistake in what was asked for: one sentence, exit code 2."""

    exit_code = 2


class ModelName(click.ParamType[str]):
    """The name of a model; a name that is none is refused with the nearest one."""

    name = "model"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The name, if it is one."""
        try:
            return find_model(value).name
        except SpecificationError as error:
            raise WrongUse(str(error)) from None

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that begin as what was typed."""
        return [CompletionItem(n) for n in self.names() if n.startswith(incomplete)]

    def names(self) -> list[str]:
        """What is offered for completion."""
        return list(MODELS)


class Release(ModelName):
    """A release of Linux; gives the name of its model."""

    name = "release"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The name of the release's model, as ``linux-5.10``."""
        return super().convert(f"{LINUX}{value.removeprefix(LINUX)}", param, ctx)

    def names(self) -> list[str]:
        """Releases, one of each kind."""
        return list(RELEASES)


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Ticker:
    """A line on standard error that says how far an exploration is."""

    def __init__(self) -> None:
        self.is_seen = sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        """Rewrite the line, if somebody can see it."""
        if self.is_seen:
            click.echo(f"\r{progress.line():99}", nl=False, err=True)


def or_exit_2[T](call: Callable[[], T]) -> T:
    """The result of `call`; a user's mistake ends the program with one sentence."""
    try:
        return call()
    except SpecificationError as mistake:
        click.echo(f"Error: {mistake}", err=True)
        sys.exit(2)


def removable(id: str) -> Rule:
    """The rule; raises if it is none that operations obey."""
    rule = find(id.upper())
    if not checkable(rule):
        raise SpecificationError(
            f"{rule.id} is no rule that operations obey; give the id of a rule, "
            f"for instance AE-FORK-2"
        )
    return rule
