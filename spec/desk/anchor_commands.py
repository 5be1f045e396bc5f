"""The command ``kernel-anchors``: rules and kernel functions, checked in sources."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from spec.cells import SpecificationError
from spec.desk import trees
from spec.desk.anchors import anchored, places
from spec.desk.commands import complete_rules
from spec.desk.debian import SUITES, fetch
from spec.desk.forms import chosen
from spec.desk.operations import OPERATIONS
from spec.desk.symbols import Anchor, anchors
from spec.options import as_json, or_exit_2
from spec.rules import Rule, load

a_tree = click.Path(file_okay=False, path_type=Path)
of_release = click.option(
    "--release", default="", help="Of a tree without a Makefile, as 6.12."
)


@click.group("kernel-anchors", context_settings={"help_option_names": ["-h", "--help"]})
def kernel_anchors() -> None:
    """Name the kernel functions of rules and operations, and check them in sources."""


@kernel_anchors.command("list")
@click.argument("rules", nargs=-1, metavar="[RULE]...", shell_complete=complete_rules)
@click.option("--operations", is_flag=True, help="List operations instead of rules.")
@as_json
def list_command(rules: tuple[str, ...], operations: bool, as_json: bool) -> None:
    """List kernel functions with the releases for which they hold.

    A function in brackets is named by an atomic step, not by the rule itself.
    """
    chosen_rules = or_exit_2(lambda: chosen(rules)) if rules else list(load().values())
    rows = _of_operations() if operations else _of_rules(chosen_rules)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for name, found in rows.items():
        for each in found:
            where = (
                f"{each['file']}: {each['function']}, {each['first']}..{each['last']}"
            )
            steps = f"  [{', '.join(each['steps'])}]" if each.get("steps") else ""
            click.echo(f"{name:10} {where}{steps}")


def _row(anchor: Anchor) -> dict[str, Any]:
    known = asdict(anchor)
    del known["place"]
    return {"file": anchor.file, "function": anchor.function, **known}


def _of_rules(rules: list[Rule]) -> dict[str, list[dict[str, Any]]]:
    return {
        rule.id: [
            {**_row(found.anchor), "steps": list(found.steps)}
            for found in anchored(rule)
        ]
        for rule in rules
    }


def _of_operations() -> dict[str, list[dict[str, Any]]]:
    return {
        operation: [_row(anchor) for symbol in named for anchor in anchors(symbol)]
        for operation, named in OPERATIONS.items()
    }


@kernel_anchors.command("check")
@click.argument("tree", type=a_tree)
@click.argument("other", type=a_tree, required=False, metavar="[OTHER_TREE]")
@of_release
@as_json
def check_command(tree: Path, other: Path | None, release: str, as_json: bool) -> None:
    """Check that each function is where it should be in the sources TREE.

    With OTHER_TREE, say for each rule which of its functions moved, changed or vanished
    between the two. Comments and white space do not count.
    """
    old = or_exit_2(lambda: trees.open_tree(tree, release))
    lost = or_exit_2(lambda: trees.missing(old))
    if other is not None:
        new = or_exit_2(lambda: trees.open_tree(other))
        found = or_exit_2(lambda: list(trees.fates(old, new)))
        _print_fates(old, new, found, as_json)
        sys.exit(1 if lost or any(f.what == "vanished" for f in found) else 0)
    differ = or_exit_2(lambda: trees.differences(old))
    if as_json:
        content = {"release": old.release, "missing": lost, "differ": differ}
        click.echo(json.dumps(content, indent=2))
    else:
        _print_check(old, lost, differ)
    sys.exit(1 if lost else 0)


def _print_check(
    tree: trees.Tree, lost: dict[str, list[str]], differ: list[str]
) -> None:
    for symbol, instead in lost.items():
        hint = f"; there is {', '.join(instead)}" if instead else ""
        names = ", ".join(places(symbol))
        click.echo(f"missing: {symbol}, also known as {names}{hint}")
    wanted = len(trees.expected(tree.release))
    click.echo(f"Linux {tree.release}: {wanted - len(lost)} of {wanted} symbols found.")
    known = trees.recorded().get(tree.release)
    if known is None:
        click.echo("No digests are recorded for this release.")
        return
    for place in differ:
        click.echo(f"differs: {place}")
    click.echo(
        f"{len(differ)} functions differ from {known.package}, read on {known.read}."
    )


def _print_fates(
    old: trees.Tree, new: trees.Tree, found: list[trees.Fate], as_json: bool
) -> None:
    if as_json:
        rows = [
            {"rule": f.rule.id, "what": f.what, "old": f.old, "new": f.new}
            for f in found
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for fate in found:
        click.echo(f"{fate.rule.id:10} {fate.what}: {fate}")
    rules = len({fate.rule.id for fate in found})
    click.echo(
        f"{rules} rules have functions that differ, {old.release} to {new.release}."
    )


@kernel_anchors.command("fetch")
@click.argument("release", metavar="RELEASE")
@click.argument("folder", type=a_tree)
def fetch_command(release: str, folder: Path) -> None:
    """Fetch the sources of RELEASE that anchors name from Debian into FOLDER."""
    click.echo(or_exit_2(lambda: fetch(release, folder)))


@kernel_anchors.command("record")
@click.argument("folder", type=a_tree)
def record_command(folder: Path) -> None:
    """Fetch each release from Debian into FOLDER, check it and record its digests."""
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    for release in SUITES:
        click.echo(or_exit_2(partial(_record, release, folder / release, day)))


def _record(release: str, folder: Path, day: str) -> str:
    package = fetch(release, folder)
    tree = trees.open_tree(folder)
    if lost := trees.missing(tree):
        raise SpecificationError(f"{package} lacks {', '.join(lost)}")
    trees.record(tree, package, day)
    return f"{package}: {len(trees.expected(release))} symbols found"
