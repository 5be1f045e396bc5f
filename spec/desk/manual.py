"""The man page, made of the same texts as ``--help``.

``python -m spec.desk.manual FILE`` writes it; `make man` does that.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

from spec.desk.exits import OF_ALL
from spec.desk.lock import NAME
from spec.publish.citations import SITE
from spec.publish.traces import ascii_text

PROGRAM = "anon-exclusive"


def page() -> str:
    """The man page as roff."""
    from spec.cli import main

    context = click.Context(main, info_name=PROGRAM, **main.context_settings)
    lines = [
        f'.TH ANON-EXCLUSIVE 1 "" "{PROGRAM} {version(PROGRAM)}"',
        ".SH NAME",
        f"{_text(PROGRAM)} \\- {_text(_first_sentence(main))}",
        ".SH SYNOPSIS",
        f".B {_text(PROGRAM)}",
        r"\fICOMMAND\fR [\fIOPTION\fR]... [\fIARGUMENT\fR]...",
        ".SH DESCRIPTION",
        *_prose(main.help or ""),
        ".SH COMMANDS",
    ]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if command is not None and not command.hidden:
            lines += _command(command, context, name)
    lines += [
        ".SH EXIT STATUS",
        *_prose(f"In general: {OF_ALL}. Each command says above what it means there."),
        ".SH FILES",
        ".TP",
        f".I {_text(NAME)}",
        *_prose("The rules that a repository cites, written and checked by lock."),
        ".SH SEE ALSO",
        _text(SITE),
    ]
    return "\n".join(lines) + "\n"


def _first_sentence(command: click.Command) -> str:
    help = inspect.cleandoc(command.help or "")
    return help.partition(".")[0]


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    """A command, and after it those below it."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS {_text(context.command_path.removeprefix(PROGRAM).strip())}"
    yield f".B {_text(context.command_path)}"
    yield _text(usage) or "[OPTIONS]"
    yield ".PP"
    yield from _prose(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1]:
            yield ".TP"
            yield f".B {_text(record[0])}"
            yield from _prose(record[1])
    if command.epilog:
        yield ".PP"
        yield from _prose(command.epilog)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            below = command.get_command(context, inner)
            if below is not None and not below.hidden:
                yield from _command(below, context, inner)


def _prose(text: str) -> Iterator[str]:
    """Paragraphs, one line each; roff fills them."""
    parts = [" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n")]
    for number, part in enumerate(filter(None, parts)):
        if number:
            yield ".PP"
        yield _text(part)


def _text(text: str) -> str:
    """A text in which nothing is a request of roff.

    >>> _text(".x --json")
    '\\\\&.x \\\\-\\\\-json'
    """
    plain = ascii_text(text).replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


def write(path: Path) -> None:
    """Write the page into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), encoding="ascii")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
