"""Types of command-line arguments that several commands have."""

from __future__ import annotations

import click

from spec.cells import SpecificationError
from spec.releases import LINUX, find_model


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


class Release(ModelName):
    """A release of Linux; gives the name of its model."""

    name = "release"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The name of the release's model, as ``linux-5.10``."""
        return super().convert(f"{LINUX}{value.removeprefix(LINUX)}", param, ctx)
