"""Options that several commands about the running kernel have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from spec.kernel.abilities import release
from spec.kernel.observe import KernelError
from spec.kernel.pagemap import FIRST_WITH_BIT
from spec.models import MODELS
from spec.options import ModelName, Release, WrongUse
from spec.releases import LINUX

MODEL_HELP = f"By default upstream, before 5.19 the release's; {', '.join(MODELS)}."


def of_the_driver(command: Callable[..., None]) -> Callable[..., None]:
    """What the driver may do; adds ``driver``, its options."""
    values = click.option(
        "--values-only", is_flag=True, help="See no more than any user does."
    )
    own = click.option(
        "--own-machine",
        is_flag=True,
        help="Nobody else uses this machine: run ksmd, swapoff, soft offlining.",
    )

    @wraps(command)
    def with_driver(values_only: bool, own_machine: bool, **others: Any) -> None:
        chosen = {"--values-only": values_only, "--own-machine": own_machine}
        command(driver=[name for name, is_set in chosen.items() if is_set], **others)

    return values(own(with_driver))


def of_the_model(command: Callable[..., None]) -> Callable[..., None]:
    """Which model the kernel is compared with; adds ``model``."""
    named = click.option("--model", type=ModelName(), help=MODEL_HELP)
    release = click.option(
        "--kernel",
        "of_release",
        type=Release(),
        metavar="RELEASE",
        help="The model of a release of Linux, for instance 5.10, instead.",
    )

    @wraps(command)
    def with_model(model: str | None, of_release: str | None, **others: Any) -> None:
        command(model=of_release or model or default_model(), **others)

    return named(release(with_model))


def default_model() -> str:
    """What the running kernel should be: upstream, or what had no bit yet."""
    found = release()
    if found >= FIRST_WITH_BIT:
        return "upstream"
    return f"{LINUX}{found[0]}.{found[1]}"


def cannot_be_driven(error: KernelError) -> WrongUse:
    """The sentence for a user whose kernel cannot be driven."""
    return WrongUse(f"this kernel cannot be driven: {error}")
