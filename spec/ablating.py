"""The command ``ablate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from spec.ablation import Ablation, ablate, checkable
from spec.cells import SpecificationError
from spec.options import Ticker, as_json, or_exit_2, removable
from spec.publish import records
from spec.publish.ablations import guarantees, verdict
from spec.publish.verdicts import Store
from spec.removals import Pair, Row, candidates, duties, pair, row
from spec.rules import Rule, find, load


@click.command("ablate")
@click.argument("rules", nargs=-1, metavar="[RULE]...")
@click.option(
    "--beyond",
    type=click.IntRange(min=1),
    metavar="N",
    help="Go on past a violation until N states of a section are stored.",
)
@click.option("--pairs", is_flag=True, help="Remove two rules at a time.")
@click.option("--record", is_flag=True, help="Keep what --beyond finds in the sources.")
@as_json
def ablate_command(
    rules: tuple[str, ...],
    beyond: int | None,
    pairs: bool,
    record: bool,
    as_json: bool,
) -> None:
    """Remove rules one at a time and say what breaks (by default all).

    With --beyond each section that asks for a rule is explored anew, for all
    guarantees. --pairs lists pairs of rules that fail only together, as recorded; with
    --beyond it looks for them among RULEs that were recorded alone.
    """
    known = or_exit_2(lambda: [removable(id).id for id in rules])
    if record and beyond is None:
        or_exit_2(lambda: refuse("--record needs --beyond N"))
    if pairs:
        print_pairs(pairs_of(known, beyond, record), as_json)
    elif beyond is not None:
        wanted = or_exit_2(lambda: [duty(id) for id in known]) or duties()
        print_rows(rows_of(wanted, beyond, record), as_json)
    else:
        print_ablations(known, as_json)


def duty(id: str) -> Rule:
    """The rule; raises if it is a permission, which is not removed."""
    rule = find(id)
    if rule.modal == "MAY":
        raise SpecificationError(f"{id} is a permission; permissions are not removed")
    return rule


def refuse(why: str) -> None:
    """Raise SpecificationError."""
    raise SpecificationError(why)


def print_ablations(known: list[str], as_json: bool) -> None:
    """Remove rules up to the first broken guarantee; more is said as recorded."""
    wanted = known or [r.id for r in load().values() if checkable(r)]
    results = []
    rows = records.rows()
    for result in ablations(wanted):
        results.append(result)
        if not as_json:
            click.echo(ablation_line(result))
    if as_json:
        found = [ablation_dict(r) | guarantees_dict(rows.get(r.rule)) for r in results]
        click.echo(json.dumps(found, indent=2))
    sys.exit(0 if all(r.as_documented for r in results) else 1)


def ablations(ids: Iterable[str]) -> Iterator[Ablation]:
    """What each removal shows: kept from a build of the site, or found now."""
    kept = Store()
    for id in ids:
        yield kept.ablated(id) or ablate(id, Ticker())


def guarantees_dict(kept: records.Recorded[Row] | None) -> dict[str, Any]:
    """What was recorded of each guarantee, for machines."""
    if kept is None:
        return {"guarantees": {}, "recorded": None}
    return {"guarantees": cells(kept.found), "recorded": kept.made}


def cells(row: Row) -> dict[str, int | str]:
    """The depth at which each guarantee breaks, or how far it is known to hold."""
    return {
        id: row.breaks[id].depth if id in row.breaks else verdict(row)
        for id in guarantees([row])
    }


def rows_of(wanted: list[Rule], beyond: int, record: bool) -> Iterator[Row]:
    """Remove rules one at a time and judge all guarantees."""
    for rule in wanted:
        found = row(rule, beyond, Ticker())
        if record:
            records.write(records.ROWS, [records.row_entry(found, beyond)])
        yield found


def print_rows(rows: Iterator[Row], as_json: bool) -> None:
    """One line for each rule, or JSON; exit status 1 if some removal breaks nothing."""
    done = []
    for each in rows:
        done.append(each)
        if not as_json:
            click.echo(row_line(each))
    if as_json:
        click.echo(json.dumps([row_dict(each) for each in done], indent=2))
    sys.exit(0 if all(each.breaks for each in done) else 1)


def row_line(row: Row) -> str:
    """One line for a terminal."""
    said = [
        f"{id} {f'in {cell} steps' if isinstance(cell, int) else cell}"
        for id, cell in cells(row).items()
    ]
    return f"{row.rule:10} {', '.join(said)} ({row.model}, {row.states:,} states)"


def row_dict(row: Row) -> dict[str, Any]:
    """The same for machines."""
    return {
        "rule": row.rule,
        "model": row.model,
        "sections": len(row.searched),
        "states": row.states,
        "complete": row.complete,
        "took_effect": row.effect.depth if row.effect else None,
        "guarantees": cells(row),
    }


def pairs_of(known: list[str], beyond: int | None, record: bool) -> Iterator[Pair]:
    """Recorded pairs, or a search for pairs among rules that were recorded alone."""
    if beyond is None:
        recorded = [each.found for each in records.pairs()]
        yield from (p for p in recorded if not known or set(known) & set(p.rules))
        return
    rows = [each.found for each in records.rows().values()]
    wanted = [each for each in rows if not known or each.rule in known]
    for one, other, where in candidates(wanted):
        found = pair(one, other, where, beyond, Ticker())
        if record:
            records.write(records.PAIRS, [records.pair_entry(found, beyond)])
        yield found
    if record and not known:
        records.forget_others(records.PAIRS)


def print_pairs(pairs: Iterator[Pair], as_json: bool) -> None:
    """The pairs that fail only together, and how many were searched."""
    done = []
    for each in pairs:
        done.append(each)
        if each.breaks and not as_json:
            click.echo(pair_line(each))
    failing = [each for each in done if each.breaks]
    if as_json:
        found = [pair_dict(each) for each in failing]
        click.echo(json.dumps({"searched": len(done), "pairs": found}, indent=2))
    else:
        click.echo(f"{len(failing)} of {len(done)} pairs fail only together.")


def pair_line(pair: Pair) -> str:
    """One line for a terminal."""
    broken = [f"{id} in {run.depth} steps" for id, run in pair.breaks.items()]
    return f"{' and '.join(pair.rules)}: {', '.join(broken)} ({pair.model})"


def pair_dict(pair: Pair) -> dict[str, Any]:
    """The same for machines."""
    depths = {id: run.depth for id, run in pair.breaks.items()}
    return {"rules": list(pair.rules), "model": pair.model, "guarantees": depths}


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
