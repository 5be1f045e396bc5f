"""The command line: ``anon-exclusive`` and ``python -m spec``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spec.ablation import Ablation, ablate, checkable
from spec.bounds import BOUNDS, check, find_bounds, find_model
from spec.cells import SpecificationError
from spec.checker.program import Options, Progress, Verdict, Violation
from spec.codename import forget_others
from spec.guarantees import OBSERVABLE
from spec.models import governs
from spec.publish.traces import as_dict, violation_text
from spec.publish.verdicts import FOLDER, Store
from spec.rules import Rule, find, load

if TYPE_CHECKING:
    from spec.checker.connection import Cluster

LEARNED = FOLDER.with_name("learned")
ELSEWHERE = {
    "run": "spec.litmus.commands",
    "litmus": "spec.litmus.commands",
    "kernel": "spec.kernel.commands",
}
"""Commands that are imported when they are called, so that others start at once."""


class Commands(click.Group):
    """The commands of this module, and those that stand elsewhere."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), *ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(ELSEWHERE[cmd_name])
        found: click.Command = getattr(module, cmd_name)
        return found


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anon-exclusive")
def main() -> None:
    """The exclusive anonymous page, as a specification that can be run.

    Exit status: 0 all holds, 1 a violation was found, 2 wrong use.
    """


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


@main.command("check")
@click.option("--model", default="sketch", show_default=True, help="A model's name.")
@click.option("--bounds", default="small", show_default=True, help=", ".join(BOUNDS))
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@click.option(
    "--engine",
    type=click.Choice(["numpy", "numba"]),
    help="By default what is faster and installed.",
)
@click.option(
    "--reduce",
    type=click.Choice(["none", "symmetry"]),
    default="none",
    show_default=True,
    help="symmetry: states that differ by names only are stored once.",
)
@click.option("--memory", metavar="SIZE", help="States beyond 500M, 8G, go to disk.")
@click.option(
    "--resume",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Keep all levels in FOLDER, and go on from those that are there.",
)
@click.option(
    "--cluster",
    "address",
    metavar="ADDRESS",
    help="Explore on the Dask cluster of the scheduler at ADDRESS.",
)
@click.option("--afresh", is_flag=True, help="Do not use what was learned before.")
@as_json
def check_command(
    model: str,
    bounds: str,
    without: tuple[str, ...],
    engine: str | None,
    reduce: str,
    memory: str | None,
    resume: Path | None,
    address: str | None,
    afresh: bool,
    as_json: bool,
) -> None:
    """Explore every interleaving and judge rules and guarantees."""
    cluster = None if address is None else or_exit_2(lambda: connected(address))
    workers = 1 if cluster is not None else os.cpu_count() or 1
    options = Options(
        engine=engine or "",
        memory=or_exit_2(lambda: size(memory)) // workers,
        folder=resume,
        learned=None if afresh else LEARNED,
        workers=workers,
        explore=None if cluster is None else cluster_explorer(cluster),
        symmetry=reduce == "symmetry",
    )

    def explore() -> Verdict:
        find_model(model)
        find_bounds(bounds)
        for id in without:
            promised(removable(id), model)
        removed = [id.upper() for id in without]
        try:
            return check(bounds, model, removed, Ticker(), options)
        except OSError as error:
            raise SpecificationError(
                f"states cannot be kept in {error.filename!r} ({error.strerror}); give "
                f"a folder that you may write to and that has room"
            ) from None

    forget_others(LEARNED)
    verdict = or_exit_2(explore)
    if as_json:
        found = verdict_dict(verdict, model, bounds, without)
        used = {} if cluster is None else {"cluster": cluster.cost.as_dict()}
        click.echo(json.dumps(found | used, indent=2))
    else:
        print_verdict(verdict, model, bounds, without)
        if cluster is not None:
            click.echo(cluster.cost.line())
    if cluster is not None:
        cluster.close()
    sys.exit(0 if verdict.holds else 1)


def connected(address: str) -> Cluster:
    """A connection to the Dask cluster of the scheduler at `address`."""
    if find_spec("distributed") is None:
        raise SpecificationError(
            "--cluster needs Dask; install it with: pip install distributed"
        )
    from spec.checker.connection import Cluster

    return Cluster(address)


def cluster_explorer(cluster: Cluster) -> Callable[..., Verdict]:
    """Explores on a cluster."""
    from spec.checker.cluster import explore_on

    return partial(explore_on, cluster)


UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size(text: str | None) -> int:
    """Bytes, from a number with a unit; 0 for none.

    >>> size("1.5G")
    1500000000
    """
    if text is None:
        return 0
    number, unit = text[:-1], text[-1:].upper()
    try:
        bytes_ = int(float(number) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        bytes_ = 0
    if bytes_ <= 0:
        raise SpecificationError(
            f"{text!r} is no size of memory; give a number and one of "
            f"{', '.join(UNITS)}, for instance 8G"
        )
    return bytes_


def removable(id: str) -> Rule:
    """The rule; raises if it is none that operations obey."""
    rule = find(id.upper())
    if not checkable(rule):
        raise SpecificationError(
            f"{rule.id} is no rule that operations obey; give the id of a rule, "
            f"for instance AE-FORK-2"
        )
    return rule


def promised(rule: Rule, model: str) -> None:
    """Raise unless `model` promises to keep `rule`."""
    if not governs(rule, find_model(model)):
        raise SpecificationError(
            f"{rule.id} is no rule of the model {model!r}; "
            f"it is one of {', '.join(rule.models)}"
        )


def verdict_dict(
    verdict: Verdict, model: str, bounds: str, without: tuple[str, ...]
) -> dict[str, Any]:
    """A verdict for machines."""
    broken = {violation.property for violation in verdict.violations}
    judged = [
        r
        for r in load().values()
        if governs(r, find_model(model)) and r.over != "assumption"
    ]
    return {
        "model": model,
        "bounds": bounds,
        "without": list(without),
        "holds": verdict.holds,
        "complete": verdict.complete,
        "interrupted": verdict.interrupted,
        "reduced": verdict.reduced,
        "states": verdict.states,
        "transitions": verdict.transitions,
        "depth": verdict.depth,
        "seconds": round(verdict.seconds, 3),
        "guarantees": {
            r.id: "not checked"
            if without and r.id not in OBSERVABLE
            else "violated"
            if r.id in broken
            else "holds"
            if verdict.complete
            else "not decided"
            for r in judged
            if r.topic == "INV"
        },
        "took_effect": dict(verdict.watched),
        "violations": [
            {
                "property": v.property,
                "why": v.why,
                "depth": v.depth,
                "trace": as_dict(v),
            }
            for v in first_of_each(verdict)
        ],
    }


def first_of_each(verdict: Verdict) -> list[Violation]:
    """One violation of each property that was violated."""
    return list({v.property: v for v in reversed(verdict.violations)}.values())


def print_verdict(
    verdict: Verdict, model: str, bounds: str, without: tuple[str, ...]
) -> None:
    """A verdict for people: the counts, and the shortest trace if there is one."""
    removed = f" without {', '.join(without)}" if without else ""
    named = " up to names" if verdict.reduced else ""
    click.echo(f"model {model}, bounds {bounds}{removed}")
    click.echo(
        f"{verdict.states:,} states{named}, {verdict.transitions:,} transitions, "
        f"depth {verdict.depth}, {verdict.seconds:.1f} s"
    )
    for id in without:
        depth = verdict.watched.get(id.upper())
        effect = f"takes effect at step {depth}" if depth else "took no effect"
        click.echo(f"the removal of {id.upper()} {effect}")
    if verdict.violations:
        shortest = min(verdict.violations, key=lambda v: v.depth)
        click.echo(f"VIOLATED: {shortest.property}, after {shortest.depth} steps\n")
        click.echo(violation_text(shortest))
    elif verdict.complete and without:
        click.echo("Within these bounds no guarantee breaks that users can observe.")
    elif verdict.complete:
        click.echo("All guarantees hold; every explored step keeps the rules.")
    else:
        click.echo("Interrupted; nothing was violated so far.")


@main.command("ablate")
@click.argument("rules", nargs=-1, metavar="[RULE]...")
@as_json
def ablate_command(rules: tuple[str, ...], as_json: bool) -> None:
    """Remove rules one at a time and say what breaks (by default all)."""
    known = or_exit_2(lambda: [removable(id).id for id in rules])
    wanted = known or [r.id for r in load().values() if checkable(r)]
    results = []
    kept = Store()
    for id in wanted:
        result = kept.ablated(id) or ablate(id, Ticker())
        results.append(result)
        if not as_json:
            click.echo(ablation_line(result))
    if as_json:
        click.echo(json.dumps([ablation_dict(r) for r in results], indent=2))
    sys.exit(0 if all(r.as_documented for r in results) else 1)


def ablation_line(result: Ablation) -> str:
    """One line for a terminal."""
    rule = find(result.rule)
    where = f"{result.model}, {result.bounds}"
    if result.witnesses:
        seen = ", ".join(
            f"{k} at step {v}" for k, v in sorted(result.witnesses.items())
        )
        return f"{result.rule:10} {rule.modal:8} {seen} ({where})"
    if result.violation is not None:
        return (
            f"{result.rule:10} {rule.modal:8} breaks {result.violation.property} "
            f"in {result.violation.depth} steps ({where})"
        )
    why = result.reason or "no reason is documented"
    return f"{result.rule:10} {rule.modal:8} breaks nothing: {why}"


def ablation_dict(result: Ablation) -> dict[str, Any]:
    """The same for machines."""
    return {
        "rule": result.rule,
        "model": result.model,
        "bounds": result.bounds,
        "took_effect": result.took_effect,
        "breaks": result.violation.property if result.violation else None,
        "depth": result.violation.depth if result.violation else None,
        "witnesses": dict(result.witnesses),
        "reason": result.reason,
        "as_documented": result.as_documented,
    }


@main.command("rules")
@as_json
def rules_command(as_json: bool) -> None:
    """List all rules, guarantees and assumptions."""
    rules = list(load().values())
    if as_json:
        fields = ("id", "rev", "checksum", "modal", "sentence", "source", "chapter")
        click.echo(
            json.dumps(
                [
                    {f: getattr(r, f) for f in fields}
                    | {"kernel": r.kernel, "models": r.models}
                    for r in rules
                ],
                indent=2,
            )
        )
        return
    for rule in rules:
        click.echo(f"{rule.id:10} {rule.sentence}")


@main.command("cite")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@as_json
def cite_command(ids: tuple[str, ...], as_json: bool) -> None:
    """Print rules as text for an e-mail."""
    from spec.publish.citations import cite as citation

    rules = or_exit_2(lambda: [find(id) for id in ids])
    texts = {rule.id: citation(rule, Store()) for rule in rules}
    click.echo(json.dumps(texts, indent=2) if as_json else "\n\n".join(texts.values()))


@main.command("export")
@click.option(
    "--to",
    "language",
    type=click.Choice(["lkmm"]),
    required=True,
    help="lkmm: litmus tests for herd7 and the kernel's memory model.",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export_command(language: str, folder: Path) -> None:
    """Write the tests on memory ordering into FOLDER, for other checkers.

    Run them in tools/memory-model of a kernel tree: herd7 -conf linux-kernel.cfg FILE.
    """
    from spec.lkmm import litmus_tests

    tests = litmus_tests()
    or_exit_2(lambda: write_all(folder, tests))
    for file in tests:
        click.echo(folder / file)


def write_all(folder: Path, texts: dict[str, str]) -> None:
    """Write files; raises SpecificationError where the folder can't be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecificationError(
            f"cannot write to {str(folder)!r} ({error.strerror}); "
            f"give a folder that you may write to"
        ) from None
