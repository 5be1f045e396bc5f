"""The command line: ``anon-exclusive`` and ``python -m spec``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
            click.echo(f"\r{progress.line():79}", nl=False, err=True)


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
@click.option("--afresh", is_flag=True, help="Do not use what was learned before.")
@as_json
def check_command(
    model: str,
    bounds: str,
    without: tuple[str, ...],
    engine: str | None,
    afresh: bool,
    as_json: bool,
) -> None:
    """Explore every interleaving and judge rules and guarantees."""
    options = Options(
        engine=engine or "",
        learned=None if afresh else LEARNED,
        workers=os.cpu_count() or 1,
    )

    def explore() -> Verdict:
        find_model(model)
        find_bounds(bounds)
        for id in without:
            promised(removable(id), model)
        removed = [id.upper() for id in without]
        return check(bounds, model, removed, Ticker(), options)

    forget_others(LEARNED)
    verdict = or_exit_2(explore)
    if as_json:
        click.echo(json.dumps(verdict_dict(verdict, model, bounds, without), indent=2))
    else:
        print_verdict(verdict, model, bounds, without)
    sys.exit(0 if verdict.holds else 1)


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
    click.echo(f"model {model}, bounds {bounds}{removed}")
    click.echo(
        f"{verdict.states:,} states, {verdict.transitions:,} transitions, "
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
    type=click.Choice(["lkmm", "promela", "tla"]),
    required=True,
    help="lkmm: the tests on memory ordering, for herd7; promela: Spin; tla: TLC.",
)
@click.option("--model", help="A model's name, by default sketch.")
@click.option("--bounds", help=f"By default small; {', '.join(BOUNDS)}.")
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@click.option("--rules", is_flag=True, help="Judge each step as well; much longer.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def export_command(
    language: str,
    model: str | None,
    bounds: str | None,
    without: tuple[str, ...],
    rules: bool,
    folder: Path,
) -> None:
    """Write what is checked here into FOLDER, for other checkers.

    Promela and TLA+ get a file for each section of the bounds. The comment at its top
    says what was counted here, and for Promela how to run Spin.

    Run litmus tests in tools/memory-model of a kernel tree:
    herd7 -conf linux-kernel.cfg FILE.
    """

    def texts() -> dict[str, str]:
        if language != "lkmm":
            chosen = model or "sketch"
            for id in without:
                promised(removable(id), chosen)
            removed = [id.upper() for id in without]
            from spec.handover import handed_over, origins

            wanted = origins(bounds or "small", chosen, removed)
            return handed_over(language, wanted, rules, Ticker())
        if model or bounds or without or rules:
            raise SpecificationError(
                "the tests for lkmm are always the same; give --to and a folder only"
            )
        from spec.lkmm import litmus_tests

        return litmus_tests()

    def written() -> dict[str, str]:
        may_write(folder)
        files = texts()
        write_all(folder, files)
        return files

    for file in or_exit_2(written):
        click.echo(folder / file)


def may_write(folder: Path) -> None:
    """Make the folder; raises SpecificationError where it can't be written to."""
    write_all(folder, {})


def write_all(folder: Path, texts: dict[str, str]) -> None:
    """Write all files or none.

    Raises:
        SpecificationError: the folder can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as aside:
            for name, text in texts.items():
                (Path(aside) / name).write_text(text, encoding="utf-8")
            for name in texts:
                (Path(aside) / name).replace(folder / name)
    except OSError as error:
        raise SpecificationError(
            f"cannot write to {str(folder)!r} ({error.strerror}); "
            f"give a folder that you may write to"
        ) from None
