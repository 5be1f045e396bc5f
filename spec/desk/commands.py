"""The commands ``review``, ``lint``, ``lock`` and ``cite``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from spec.cells import SpecificationError
from spec.desk import forms, lock
from spec.desk.lint import NOT_WRONG, Problem, lint
from spec.desk.mail import Reading, load_file
from spec.options import Release, as_json, or_exit_2
from spec.releases import LINUX
from spec.rules import load

STDIN = "-"


def complete_rules(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids that begin as what was typed; their sentences as help."""
    return [
        CompletionItem(rule.id, help=rule.sentence)
        for rule in load().values()
        if rule.id.startswith(incomplete.upper())
    ]


def opened(name: str) -> Reading:
    """What a file holds, or standard input.

    Raises:
        SpecificationError: it cannot be read or is too large.
    """
    if name == STDIN:
        return load_file("standard input", sys.stdin.buffer.read())
    return load_file(name)


of_files = click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path()
)


@click.command("review")
@click.argument("files", nargs=-1, required=True, metavar="PATCH...", type=click.Path())
@click.option(
    "--tree",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The kernel tree that it applies to, or has it; functions are then exact.",
)
@click.option(
    "--kernel",
    type=Release(),
    metavar="RELEASE",
    help="The release of that tree, as 6.1; by default its Makefile's, or the newest.",
)
@click.option(
    "--top", type=click.IntRange(1), metavar="N", help="Show N rules at most."
)
@as_json
def review_command(
    files: tuple[str, ...],
    tree: Path | None,
    kernel: str | None,
    top: int | None,
    as_json: bool,
) -> None:
    """List the rules that a patch touches, what to ask, and what to run.

    PATCH is a unified diff, a mail or a mailbox, or - for standard input; several are
    read as one series. Without --tree a function is known by the diff alone: by what
    its hunks name, and by the lines in them. What cannot be judged is said on standard
    error.
    """
    from spec.desk import review
    from spec.desk.trees import open_tree

    release = kernel.removeprefix(LINUX) if kernel else ""

    def judged() -> review.Review:
        readings = [opened(name) for name in files]
        at = open_tree(tree, release) if tree else None
        found = review.review(readings, at, release)
        if not found.hunks and not found.notes:
            raise SpecificationError(
                f"there is no unified diff in {', '.join(r.name for r in readings)}; "
                f"give a patch, a mail with one, or a mailbox"
            )
        found.concerns = found.concerns[:top]
        return found

    found = or_exit_2(judged)
    if as_json:
        click.echo(json.dumps(review.as_dict(found), indent=2))
    else:
        for line in review.text(found):
            click.echo(line)
    for note in found.notes:
        click.echo(note, err=True)
    sys.exit(1 if found.notes else 0)


@click.command("lint")
@of_files
@as_json
def lint_command(files: tuple[str, ...], as_json: bool) -> None:
    """Check the citations in mails, patches and other texts.

    Says, as file:line:column, which ids are unknown or withdrawn, which revisions,
    checksums and quotations are not those of the rules at hand, and which links lead
    nowhere. A rule that only moved to another chapter is mentioned and is no mistake.
    FILE may be - for standard input.
    """
    rules = load()
    readings = or_exit_2(lambda: [opened(name) for name in files])
    found = [problem for reading in readings for problem in lint(reading, rules)]
    if as_json:
        click.echo(json.dumps([asdict(problem) for problem in found], indent=2))
    else:
        for problem in found:
            click.echo(problem)
    for reading in readings:
        for note in reading.notes:
            click.echo(note, err=True)
    sys.exit(1 if any(map(_is_wrong, found)) else 0)


def _is_wrong(problem: Problem) -> bool:
    return problem.kind not in NOT_WRONG


@click.command("lock")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@click.option("--check", is_flag=True, help="Compare the lock with the rules at hand.")
@click.option(
    "--lock",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=lock.NAME,
    show_default=True,
    help="The file of the lock.",
)
@as_json
def lock_command(
    files: tuple[str, ...], check: bool, path: Path, as_json: bool
) -> None:
    """Write down the rules that FILEs cite, by default all; or check what changed.

    --check tells which rules were added, removed, changed or moved since, and where
    FILEs cite those that need a look.
    """
    found = or_exit_2(lambda: lock.cited(opened(name) for name in files))
    if not check:
        or_exit_2(lambda: _write(path, files, found))
        click.echo(path)
        return
    was, every = or_exit_2(lambda: lock.read(path))
    differ = lock.differences(was, every, load())
    if as_json:
        rows = [
            asdict(each)
            | {"affects": each.affects, "cited": list(map(str, found.get(each.id, ())))}
            for each in differ
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        _print_differences(differ, found, len(was))
    sys.exit(1 if any(each.affects for each in differ) else 0)


def _write(
    path: Path, files: Sequence[str], found: dict[str, list[lock.Place]]
) -> None:
    rules = load()
    for id, places in found.items():
        if id not in rules:
            raise SpecificationError(f"{places[0]}: no rule has the id {id}; see: lint")
    chosen = [rule for rule in rules.values() if rule.id in found or not files]
    if not chosen:
        raise SpecificationError(
            f"no rule is cited in {', '.join(files)}; give the files that cite some"
        )
    lock.write(path, chosen, every=not files)


def _print_differences(
    differ: Sequence[lock.Difference], found: dict[str, list[lock.Place]], size: int
) -> None:
    for each in differ:
        click.echo(f"{each.id:10} {each.kind}: {each.message}")
        for place in found.get(each.id, ()) if each.affects else ():
            click.echo(f"{place}: cites {each.id}")
    affected = sum(each.affects for each in differ)
    click.echo(f"{affected} of {size} locked rules need a look.")


@click.command("cite")
@click.argument(
    "ids", nargs=-1, required=True, metavar="ID...", shell_complete=complete_rules
)
@click.option(
    "--form",
    type=click.Choice([*forms.FORMS, "json"]),
    default="full",
    show_default=True,
    help="full, a sentence for a reply, a Link: line, footnotes, Markdown, or JSON.",
)
@as_json
def cite_command(ids: tuple[str, ...], form: str, as_json: bool) -> None:
    """Print rules as text for an e-mail; AE-FORK-1..4 is a range of rules."""
    rules = or_exit_2(lambda: forms.chosen(ids))
    if form == "json":
        click.echo(json.dumps([forms.as_dict(rule) for rule in rules], indent=2))
    elif as_json:
        texts = {rule.id: forms.FORMS[form]([rule]) for rule in rules}
        click.echo(json.dumps(texts, indent=2))
    else:
        click.echo(forms.FORMS[form](rules))
