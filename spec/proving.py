"""The command ``prove``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from spec.cells import SpecificationError
from spec.decisions import Model
from spec.models import governs
from spec.options import ModelName, as_json, or_exit_2, removable
from spec.prover.proving import MODELS, PROVED, Obligation, Result, prove
from spec.publish import records
from spec.releases import find_model
from spec.rules import Rule


@click.command("prove")
@click.option(
    "--model",
    type=ModelName(),
    default="sketch",
    show_default=True,
    help=f"{' or '.join(MODELS)}.",
)
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@as_json
def prove_command(model: str, without: tuple[str, ...], as_json: bool) -> None:
    """Prove the guarantees for any number of processes, pages and references.

    Every atomic step of every operation is shown to keep the invariant: that of the
    sketch, or the weaker one of upstream. What the solver refutes or cannot decide is
    listed, and the exit status is 1.
    """
    result = or_exit_2(lambda: asked_for(model, without))
    if as_json:
        click.echo(json.dumps(as_dict(result), indent=2))
    else:
        print_result(result)
    sys.exit(0 if result.proved else 1)


def asked_for(name: str, without: tuple[str, ...]) -> Result:
    """The proof of a model, some rules removed.

    Raises:
        SpecificationError: the model has no proof, or a rule is none of its rules.
    """
    if name not in MODELS:
        raise SpecificationError(
            f"there is no proof for the model {name!r}, which does not keep the "
            f"guarantees or has them otherwise; give one of {', '.join(MODELS)}"
        )
    model = find_model(name)
    rules = [within(removable(id), model) for id in without]
    return prove(model, [rule.id for rule in rules], Counter())


def within(rule: Rule, model: Model) -> Rule:
    """The rule; raises if the model does not promise to keep it."""
    if not governs(rule, model):
        raise SpecificationError(
            f"{rule.id} is no rule of the model {model.name!r}; "
            f"it is one of {', '.join(rule.models)}"
        )
    return rule


class Counter:
    """A line on standard error that says how many steps are done."""

    def __init__(self) -> None:
        self.is_seen = sys.stderr.isatty()

    def __call__(self, done: int, of: int) -> None:
        """Rewrite the line, if somebody can see it."""
        if self.is_seen:
            end = "\n" if done == of else ""
            click.echo(f"\r{done:,} of {of:,} steps", nl=False, err=True)
            click.echo(end, nl=False, err=True)


def as_dict(result: Result) -> dict[str, Any]:
    """A result for machines."""
    return {
        "model": result.model,
        "without": list(result.without),
        "proved": result.proved,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "reached": [reached(id) for id in result.without],
        "obligations": [
            {
                "name": each.name,
                "operation": each.operation,
                "function": each.function,
                "before": each.before,
                "rules": list(each.rules),
                "steps": each.steps,
                "found": each.found,
                "clauses": list(each.clauses),
                "drawn": each.drawn,
                "seconds": round(each.seconds, 3),
            }
            for each in result.obligations
        ],
    }


def print_result(result: Result) -> None:
    """A result for people: what is not proved, and how much is."""
    removed = f" without {', '.join(result.without)}" if result.without else ""
    click.echo(f"model {result.model}{removed}")
    steps = sum(each.steps for each in result.obligations)
    click.echo(
        f"{len(result.obligations):,} obligations, {steps:,} steps and sentences, "
        f"{result.seconds:.1f} s"
    )
    for each in result.failing:
        print_failing(each)
    for id in result.without:
        click.echo(reached(id))
    if result.interrupted:
        click.echo("Interrupted; what is not listed was proved or not looked at.")
    elif result.proved:
        click.echo("Proved, for any number of processes, pages and references.")


def print_failing(obligation: Obligation) -> None:
    """One obligation that is not discharged, and why."""
    assert obligation.found != PROVED, "what is proved needs no words"
    word = obligation.found.upper()
    click.echo(f"{word}: {obligation.name}")
    for clause in obligation.clauses:
        click.echo(f"  not kept: {clause}")
    if obligation.drawn:
        (functions,), before, after = obligation.drawn
        click.echo(f"  by a step of {functions}")
        for title, lines in (("before", before), ("after", after)):
            for line in lines:
                click.echo(f"    {title:7} {line}")
                title = ""


def reached(id: str) -> str:
    """Whether exploration reaches a state that the removal of a rule breaks."""
    known = records.rows().get(id)
    if known is None:
        return f"{id}: no search is recorded."
    found = known.found.breaks
    if not found:
        return f"{id}: exploration reaches no state that breaks a guarantee."
    broken, run = min(found.items(), key=lambda each: each[1].depth)
    return (
        f"{id}: exploration reaches a state that breaks {broken} after {run.depth} "
        f"steps; anon-exclusive ablate {id} shows it."
    )
