"""The command ``prove``."""

from __future__ import annotations

import json
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import click

from spec.ablating import ablation_dict, ablation_line, ablations
from spec.ablation import Ablation
from spec.cells import SpecificationError
from spec.decisions import Model
from spec.models import governs
from spec.options import ModelName, as_json, or_exit_2, removable
from spec.prover.proving import (
    LEFT,
    NORMATIVE,
    PROVED,
    REFUTED,
    WRITTEN_FOR,
    Obligation,
    Result,
    prove,
)
from spec.prover.removal import Removal
from spec.prover.scopes import LARGE
from spec.publish import records, refuted, worlds
from spec.releases import find_model
from spec.rules import Rule


@click.command("prove")
@click.option(
    "--model",
    type=ModelName(),
    default="sketch",
    show_default=True,
    help=f"{' or '.join(WRITTEN_FOR)}.",
)
@click.option("--without", multiple=True, metavar="RULE", help="Do not obey RULE.")
@click.option(
    "--large-folios", is_flag=True, help="Prove it of large folios instead; minutes."
)
@as_json
def prove_command(
    model: str, without: tuple[str, ...], large_folios: bool, as_json: bool
) -> None:
    """Prove the guarantees for any number of processes, pages, references and CPUs.

    Every atomic step of every operation is shown to keep the invariant: that of the
    sketch, or the weaker one of upstream. What the solver refutes or cannot decide is
    listed, and the exit status is 1. Without a rule, only steps are looked at that are
    new: the model with all rules has the others, too. If these keep the invariant,
    exploration has to say what the rule is for, and the proof of the model is looked at
    that breaks there. Of memory ordering and of stale translations all situations are
    listed that any number of CPUs can be in. What operations do with large folios is
    proved apart; without a rule it is looked at if all else keeps the invariant.
    """
    result, removal = or_exit_2(lambda: asked_for(model, without, large_folios))
    explored = list(ablations(result.without)) if result.proved else []
    others = list(of_other_models(explored, model))
    if as_json:
        found = as_dict(result, explored)
        found["others"] = [as_dict(each.result) for each in others]
        click.echo(json.dumps(found, indent=2))
    elif removal is None:
        print_result(result)
    else:
        print_removal(removal, explored)
        for each in others:
            print_removal(each)
    needed = any(each.violation and each.model == model for each in explored)
    kept = result.proved and all(each.result.proved for each in others)
    sys.exit(0 if kept and not needed else 1)


def of_other_models(explored: Iterable[Ablation], model: str) -> Iterator[Removal]:
    """What their proofs say of rules without which exploration breaks other models."""
    rules: dict[str, list[str]] = defaultdict(list)
    for each in explored:
        if each.violation and each.model != model and each.model in WRITTEN_FOR:
            rules[each.model].append(each.rule)
    for name, ids in rules.items():
        yield worlds.prove_without(find_model(name), ids, Counter())


def asked_for(
    name: str, without: tuple[str, ...], large_folios: bool = False
) -> tuple[Result, Removal | None]:
    """The proof of a model; and, if rules are removed, what that changes.

    Raises:
        SpecificationError: the model has no proof, or a rule is none of its rules, or
            what is asked for does not go together.
    """
    if large_folios and without:
        raise SpecificationError(
            "--large-folios is for a model that obeys all rules; leave it out, as "
            "--without looks at large folios where they are needed"
        )
    if name not in WRITTEN_FOR:
        raise SpecificationError(
            f"there is no proof for the model {name!r}, which does not keep the "
            f"guarantees or has them otherwise; give one of {', '.join(WRITTEN_FOR)}"
        )
    model = find_model(name)
    rules = [within(removable(id), model) for id in without]
    if large_folios:
        return prove(model, report=Counter(), scope=LARGE), None
    if not rules:
        return worlds.prove(model, report=Counter()), None
    found = worlds.prove_without(model, [rule.id for rule in rules], Counter())
    return found.result, found


def within(rule: Rule, model: Model) -> Rule:
    """The rule; raises if the model does not promise to keep it."""
    if not governs(rule, model):
        raise SpecificationError(
            f"{rule.id} is no rule of the model {model.name!r}; "
            f"it is one of {', '.join(rule.models)}"
        )
    return rule


class Counter:
    """A line on standard error that says how many questions are answered."""

    def __init__(self) -> None:
        self.is_seen = sys.stderr.isatty()

    def __call__(self, done: int, of: int) -> None:
        """Rewrite the line, if somebody can see it."""
        if self.is_seen:
            end = "\n" if done == of else ""
            click.echo(f"\r{done:,} of {of:,} questions", nl=False, err=True)
            click.echo(end, nl=False, err=True)


def as_dict(result: Result, explored: Iterable[Ablation] = ()) -> dict[str, Any]:
    """A result for machines; with what exploration found without a rule."""
    return {
        "model": result.model,
        "without": list(result.without),
        "proved": result.proved,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "reached": [searched(id, result.model) for id in result.without],
        "explored": [ablation_dict(each) for each in explored],
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
                "example": example_dict(each),
                "seconds": round(each.seconds, 3),
            }
            for each in result.obligations
        ],
    }


def example_dict(obligation: Obligation) -> dict[str, Any] | None:
    """The counterexample to an obligation for machines."""
    found = obligation.example
    if found is None:
        return None
    return {
        "clause": found.clause,
        "says": found.says,
        "of": found.of,
        "functions": found.functions,
        **dict(found.text()),
    }


def print_result(result: Result) -> None:
    """A result for people: what is not proved, and how much is."""
    click.echo(f"model {result.model}")
    steps = sum(each.steps for each in result.obligations)
    click.echo(
        f"{len(result.obligations):,} obligations, {steps:,} steps, sentences and "
        f"situations, {result.seconds:.1f} s"
    )
    print_failures(result)
    if result.proved:
        click.echo("Proved, for any number of processes, pages, references and CPUs.")


def print_removal(found: Removal, explored: Iterable[Ablation] = ()) -> None:
    """What the removal of rules changes: the new steps, and those that fail."""
    result = found.result
    click.echo(f"model {result.model} without {', '.join(result.without)}")
    if found.asking or not worlds.elsewhere(result.without):
        click.echo(
            f"{found.new:,} new steps of {len(found.asking)} operations, "
            f"{result.seconds:.1f} s; {found.alike:,} are steps of {result.model} as "
            f"well"
        )
    print_failures(result)
    for id in result.without:
        click.echo(f"{id}: {searched(id, result.model)}")
    if result.proved:
        click.echo(
            f"The proof of {result.model} does not rest on it: the invariant is kept "
            f"without."
        )
    for each in explored:
        click.echo(f"Exploration: {' '.join(ablation_line(each).split())}")


def print_failures(result: Result) -> None:
    """What is not discharged, and whether all was looked at."""
    left = 0
    for each in result.failing:
        if each.clauses == (LEFT,):
            left += 1
        else:
            print_failing(each)
    if result.interrupted:
        click.echo(f"Interrupted; of {left} obligations not all was asked.")


def print_failing(obligation: Obligation) -> None:
    """One obligation that is not discharged, and why."""
    assert obligation.found != PROVED, "what is proved needs no words"
    word = obligation.found.upper()
    click.echo(f"{word}: {obligation.name}")
    example = obligation.example
    if example is None:
        why = "not kept" if obligation.found == REFUTED else "reason"
        for clause in obligation.clauses:
            click.echo(f"  {why}: {clause}")
        return
    of = f", of {example.instance}" if example.of else ""
    click.echo(f'  not kept: "{example.clause}"{of}')
    if example.says:
        click.echo(textwrap.fill(example.says, 70, **SAID))
    click.echo(f"  by a step of {example.functions}")
    for title, lines in example.text():
        for line in lines:
            click.echo(f"    {title:7} {line}")
            title = ""


SAID: dict[str, Any] = {"initial_indent": "    ", "subsequent_indent": "    "}


def searched(id: str, model: str) -> str:
    """Whether exploration reaches the counterexample; or why there is none.

    Counterexamples are looked for on the normative model. Of another one it is known
    which guarantee the removal breaks, if the rule is removed from that model; so it is
    of a rule of another world.
    """
    if model != NORMATIVE or worlds.elsewhere([id]):
        return broken(id, model)
    known = refuted.read().get(id)
    if known is None:
        return "nothing is recorded of the proof without it."
    said = refuted.said(known)
    if not known.current:
        said += f" (recorded on {known.made}, of other code)"
    return said


def broken(id: str, model: str) -> str:
    """The guarantee that exploration sees break on a model without a rule."""
    known = records.rows().get(id)
    if known is None or known.found.model != model:
        return f"no search of {model} is recorded."
    if not known.found.breaks:
        return "exploration reaches no state that breaks a guarantee."
    property, run = known.found.shallowest
    return (
        f"exploration reaches a state that breaks {property} after {run.depth} steps; "
        f"anon-exclusive ablate {id} shows it."
    )
