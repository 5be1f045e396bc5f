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
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from spec.bounds import BOUNDS, check, find_bounds
from spec.cells import SpecificationError
from spec.checker.program import Options, Verdict, Violation
from spec.codename import LEARNED, forget_others
from spec.desk.exits import with_exits
from spec.guarantees import OBSERVABLE
from spec.models import MODELS, governs
from spec.options import ModelName, Release, Ticker, as_json, or_exit_2, removable
from spec.publish.traces import as_dict, violation_text
from spec.releases import find_model
from spec.rules import Rule, load

if TYPE_CHECKING:
    from spec.checker.connection import Cluster

ELSEWHERE = {
    "ablate": ("spec.ablating", "ablate_command"),
    "run": ("spec.litmus.commands", "run"),
    "litmus": ("spec.litmus.commands", "litmus"),
    "kernel": ("spec.kernel.commands", "kernel"),
    "prove": ("spec.proving", "prove_command"),
    "cite": ("spec.desk.commands", "cite_command"),
    "lint": ("spec.desk.commands", "lint_command"),
    "lock": ("spec.desk.commands", "lock_command"),
    "review": ("spec.desk.commands", "review_command"),
    "kernel-anchors": ("spec.desk.anchor_commands", "kernel_anchors"),
}
"""Commands that are imported when they are called, so that others start at once."""


class Commands(click.Group):
    """The commands of this module, and those that stand elsewhere."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return [*super().list_commands(ctx), *ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, if there is one."""
        if cmd_name in ELSEWHERE:
            module, name = ELSEWHERE[cmd_name]
            found: click.Command = getattr(importlib.import_module(module), name)
        elif (here := super().get_command(ctx, cmd_name)) is not None:
            found = here
        else:
            return None
        return with_exits(found, cmd_name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anon-exclusive")
def main() -> None:
    """The exclusive anonymous page, as a specification that can be run.

    Exit status: 0 all holds, 1 a violation was found, 2 wrong use.
    """


@main.command("check")
@click.option(
    "--model", type=ModelName(), default="sketch", show_default=True, help="Its name."
)
@click.option(
    "--kernel", type=Release(), metavar="RELEASE", help="The model of a Linux, as 5.10."
)
@click.option("--bounds", default="small", show_default=True, help=", ".join(BOUNDS))
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@click.option(
    "--engine",
    type=click.Choice(["numpy", "numba"]),
    help="By default what is faster and installed.",
)
@click.option(
    "--reduce",
    type=click.Choice(["none", "symmetry", "order", "all"]),
    default="none",
    show_default=True,
    help="symmetry: states that differ by names only are stored once; order: where a"
    " step leads that commutes with one before it is not looked up; all: both.",
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
    kernel: str | None,
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
    model = kernel or model
    cluster = None if address is None else or_exit_2(lambda: connected(address))
    workers = 1 if cluster is not None else os.cpu_count() or 1
    options = Options(
        engine=engine or "",
        memory=or_exit_2(lambda: size(memory)) // workers,
        folder=resume,
        learned=None if afresh else LEARNED,
        workers=workers,
        explore=None if cluster is None else cluster_explorer(cluster),
        symmetry=reduce in ("symmetry", "all"),
        order=reduce in ("order", "all"),
    )

    def explore() -> Verdict:
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
            if removed_rules(model, without) and r.id not in OBSERVABLE
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


def removed_rules(model: str, without: tuple[str, ...]) -> frozenset[str]:
    """The rules that operations do not obey: those taken away, those not known yet."""
    return find_model(model).without.union(without)


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
    elif verdict.complete and removed_rules(model, without):
        click.echo("Within these bounds no guarantee breaks that users can observe.")
    elif verdict.complete:
        click.echo("All guarantees hold; every explored step keeps the rules.")
    else:
        click.echo("Interrupted; nothing was violated so far.")


@main.command("cost")
@click.argument("workloads", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--model", "models", multiple=True, help="A model's name; repeatable.")
@as_json
def cost_command(
    workloads: tuple[str, ...], models: tuple[str, ...], as_json: bool
) -> None:
    """Count copies, faults, slow GUP and tests on workloads (by default all).

    "a..b" is the least and the most, as permissions are used or not.
    """
    from spec.cost import costs
    from spec.publish.costs import as_dict as cost_dict
    from spec.publish.costs import text as cost_text
    from spec.workloads import PAGES, WORKLOADS, find_workload

    chosen = or_exit_2(lambda: [find_workload(name) for name in workloads or WORKLOADS])
    judged = or_exit_2(lambda: [find_model(name) for name in models or MODELS])
    found = {
        made.name: {model.name: costs(made, model) for model in judged}
        for made in chosen
    }
    if as_json:
        rows = [cost_dict(w, m, found[w.name][m.name]) for w in chosen for m in judged]
        click.echo(json.dumps(rows, indent=2))
        return
    click.echo(f"Each workload on {PAGES} pages; what all have 0 of is left out.\n")
    for made in chosen:
        click.echo(cost_text(made, found[made.name]))


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


@main.command("export")
@click.option(
    "--to",
    "language",
    type=click.Choice(["c", "lkmm", "promela", "spin-tables", "tla"]),
    required=True,
    help="c: gcc; lkmm: the tests on memory ordering, for herd7; promela: Spin; "
    "spin-tables: Spin, for large models; tla: TLC.",
)
@click.option("--model", help="A model's name, by default sketch.")
@click.option("--bounds", help=f"By default small; {', '.join(BOUNDS)}.")
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@click.option("--rules", is_flag=True, help="Judge each step as well; much longer.")
@click.argument("folder", metavar="FOLDER|TEST", type=click.Path(path_type=Path))
def export_command(
    language: str,
    model: str | None,
    bounds: str | None,
    without: tuple[str, ...],
    rules: bool,
    folder: Path,
) -> None:
    """Write what is checked here into FOLDER, for other checkers.

    To c goes one litmus TEST, a file or a name of the catalogue: a program on standard
    output that carries it out. Its comment says how to compile it; its exit status is
    0 if all conditions hold, 1 if one does not, 4 if it cannot be carried out.

    Promela and TLA+ get a file for each section of the bounds. The comment at its top
    says what was counted here, and for Promela how to run Spin. Within larger bounds
    gcc takes long for what Spin makes of that; spin-tables has the same in two files,
    with the commands in tables in C.

    Run litmus tests in tools/memory-model of a kernel tree:
    herd7 -conf linux-kernel.cfg FILE.
    """

    options = any((model, bounds, without, rules))
    if language == "c":
        click.echo(or_exit_2(lambda: reproducer(str(folder), options)), nl=False)
        return

    def texts() -> dict[str, str]:
        if language != "lkmm":
            chosen = model or "sketch"
            for id in without:
                promised(removable(id), chosen)
            removed = [id.upper() for id in without]
            from spec.handover import handed_over, origins

            wanted = origins(bounds or "small", chosen, removed)
            return handed_over(language, wanted, rules, Ticker())
        if options:
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


def reproducer(name: str, options: bool) -> str:
    """The C program of a litmus test.

    Raises:
        SpecificationError: there is none, or further options were given.
    """
    from spec.export.c import c_program
    from spec.litmus.files import find as find_test
    from spec.litmus.parser import LitmusError

    if options:
        raise SpecificationError(
            "the program of a test is the same for every model; give --to and a test"
        )
    try:
        return c_program(find_test(name))
    except LitmusError as error:
        raise SpecificationError(str(error)) from None


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
