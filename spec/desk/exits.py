"""Exit statuses of the commands: one place for ``--help`` and the man page."""

from __future__ import annotations

import click

OF_ALL = "0 all holds, 1 a violation was found, 2 wrong use"
"""What all commands have in common; those below say what it means for them."""

EXITS = {
    "ablate": "0 each removal does what the rules say, 1 one does not, 2 wrong use",
    "check": OF_ALL,
    "cite": "0 printed, 2 wrong use",
    "cost": "0 counted, 2 wrong use",
    "export": "0 written, 2 wrong use",
    "kernel": OF_ALL,
    "kernel compare": "0 all agree, 1 some test differs, 2 nothing could be run",
    "kernel observe": "0 run, 2 nothing could be run, or wrong use",
    "kernel-anchors": "0 all is where it should be, 1 something is not, 2 wrong use",
    "kernel-anchors check": "0 found, 1 a function is missing, 2 wrong use",
    "kernel-anchors fetch": "0 fetched, 2 it could not be, or wrong use",
    "kernel-anchors list": "0 listed, 2 wrong use",
    "kernel-anchors record": "0 recorded, 2 a release could not be fetched",
    "lint": "0 every citation is right, 1 one is not, 2 wrong use",
    "litmus": "0 each verdict is as expected, 1 one is not, 2 wrong use",
    "lock": "0 no cited rule needs a look, 1 one does, 2 wrong use",
    "review": "0 all was judged, 1 a part could not be, 2 wrong use or no diff",
    "rules": "0 listed, 2 wrong use",
    "run": '0 the verdict is "fine", 1 it is not, 2 wrong use',
}
"""By the words of the command."""


def with_exits(command: click.Command, words: str) -> click.Command:
    """The command, and those below it, with their exit statuses below the help."""
    if command.epilog is None:
        command.epilog = f"Exit status: {EXITS.get(words, OF_ALL)}."
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            with_exits(inner, f"{words} {name}")
    return command
