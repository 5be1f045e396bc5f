"""Runs of litmus tests as plain text, at most 72 columns wide, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from spec.cells import PlainCells
from spec.counts import bit_of, page_folio, walk
from spec.litmus.program import VERDICTS, Operation
from spec.litmus.run import COPIES, Node, Outcome, Result, result_cell, trace
from spec.memory import Machine, Mm, Page, Pte
from spec.publish import traces

WIDTH = 72
SHOWN = 6
"""So many ways in which a line can end are printed; of more, the number."""
SHORT = {
    "fine": "fine",
    "unnecessary-copy": "unnec",
    "not-guaranteed": "n/g",
    "side-effect": "side",
    "lost": "LOST",
    "wrong-cow": "WRONG",
    "missed-cow": "MISSED",
}
WHO, PAGE = 20, 19
"""The width of the first two columns of a state."""
HEAD = (
    f"{'':<{WHO}}{'page':<{PAGE}}{'bit':>4}{'mapcount':>10}{'refcount':>10}{'value':>8}"
)
NAME_WIDTH = 26
COLUMN = 8
"""The width of the first column of a table of verdicts, and of the others."""


# -- one state ------------------------------------------------------------------------


def machine_at(result: Result, node: Node) -> Machine:
    """A machine to read a state of a run through."""
    return Machine(result.names, cells=PlainCells(dict(node.state)))


def rows(machine: Machine) -> Iterator[dict[str, Any]]:
    """What a state shows: each mapping of a live process, each held reference."""
    for mm in machine.mms.values():
        for va in machine.names.vas if mm.state == "live" else ():
            pte = walk(mm, va)
            yield {
                "who": mm.name if len(machine.names.vas) == 1 else f"{mm} at {va}",
                "page": _entry(mm, va, pte),
                **_facts(None if pte is None else pte.pfn, machine),
            }
    for ref in machine.refs.values():
        if ref.state == "live":
            yield {
                "who": f"{ref} ({traces.kind(ref)} of {ref.mm})",
                "page": ref.pfn,
                **_facts(ref.pfn, machine),
            }


def _entry(mm: Mm, va: str, pte: Pte | None) -> str:
    """What the page table holds for an address, in words."""
    if mm.pmd is not None:
        return "none" if pte is None else f"{pte} huge"
    entry = mm.pte[va]
    if entry is not None:
        return repr(entry)
    return "none" if mm.vma[va] else "unmapped"


def _facts(pfn: str | None, machine: Machine) -> dict[str, Any]:
    page: Page | None = machine.pages.get(str(pfn))
    if page is None:
        return {} if pfn is None else {"value": 0}
    return {
        "anon_exclusive": bit_of(page).anon_exclusive,
        "mapcount": page.mapcount + page_folio(page).entire_mapcount,
        "refcount": page_folio(page).refcount,
        "value": page.value,
    }


def _row(facts: dict[str, Any]) -> str:
    bit = facts.get("anon_exclusive")
    return (
        f"{_lead('   ' + facts['who'], WHO)}{facts['page']:<{PAGE}}"
        f"{'' if bit is None else int(bit):>4}"
        f"{facts.get('mapcount', ''):>10}{facts.get('refcount', ''):>10}"
        f"{facts.get('value', ''):>8}"
    ).rstrip()


def gave(operation: Operation, node: Node) -> str:
    """What an operation gave, if that is worth saying."""
    value = node.state[result_cell(operation)]
    match operation.word:
        case "read" | "write" if value is None and operation.by_reference:
            return f"{operation.actor} is void: no effect"
        case "read":
            return "SIGSEGV" if value is None else f"reads {value}"
        case "write" if value is False:
            return "SIGSEGV: no effect"
        case "force-write" if value is False:
            return "EIO: no effect"
        case "mprotect" if value is False:
            return "ENOMEM: nothing is mapped"
        case "gup" if not value:
            return f"{operation.reference} is void"
    return ""


def _after(result: Result, line: int, node: Node) -> tuple[str, ...]:
    """What is printed of a state after a line."""
    answers = [
        f"   {operation}: {said}" if result.test.lines[line].is_race else f"   {said}"
        for operation in result.test.lines[line].operations
        if (said := gave(operation, node))
    ]
    return (*answers, *map(_row, rows(machine_at(result, node))))


# -- a run ----------------------------------------------------------------------------


def run_text(result: Result) -> Iterator[str]:
    """The state after each line, the conditions, the verdict; line by line."""
    yield from _wrapped(f"litmus {result.test.name} on {result.model}")
    yield ""
    yield HEAD
    several = False
    for number, line in enumerate(result.test.lines):
        states = dict.fromkeys(
            _after(result, number, node) for node in result.after[number]
        )
        several = several or len(states) > 1 or line.is_race
        yield ""
        yield from _wrapped(f"{line.line:<3}{line}")
        for i, state in enumerate(list(states)[:SHOWN]):
            if len(states) > 1:
                yield f"   -- {'either' if i == 0 else 'or'} --"
            yield from state
        if len(states) > SHOWN:
            yield f"   -- and {len(states) - SHOWN} more --"
    yield ""
    yield from verdict_text(result)
    if several and result.verdict != "fine":
        yield ""
        yield from steps_text(result, result.worst)


def verdict_text(result: Result) -> Iterator[str]:
    """Which conditions hold, how many outcomes there are, and the verdict."""
    for condition in result.test.conditions:
        against = sum(not outcome.meets(condition) for outcome in result.outcomes)
        holds = f"fails in {against} of {_outcomes(result)}" if against else "holds"
        yield from _wrapped(f"{condition}: {holds}")
    for expected in [result.test.expected(result.model)]:
        stated = "" if expected in (None, result.verdict) else f", expected {expected}"
        yield f"verdict: {result.verdict}{stated} ({_outcomes(result)})"
    if happened := [each for each in VERDICTS if each in result.worst.wrongs]:
        broken = sorted(result.worst.wrongs - set(VERDICTS))
        yield from _wrapped(f"happened: {', '.join([*happened, *broken])}")


def _outcomes(result: Result) -> str:
    number = len(result.outcomes)
    return f"{number} outcome{'' if number == 1 else 's'}"


def steps_text(result: Result, outcome: Outcome) -> Iterator[str]:
    """One outcome: the state after each line, and the steps of each race."""
    title = f"An outcome that is {outcome.verdict}:"
    yield from (title, "", HEAD)
    nodes = outcome.node.path()
    for number, line in enumerate(result.test.lines):
        last = [node for node in nodes if node.line == number][-1]
        yield ""
        yield from _wrapped(f"{line.line:<3}{line}")
        if line.is_race:
            yield ""
            yield from traces.text(trace(outcome.node, number)).splitlines()
            yield ""
        yield from _after(result, number, last)
    yield ""
    for condition in outcome.failed:
        yield from _wrapped(f"{condition}: fails")
    yield from _wrapped(f"copies: {outcome.copies}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="   ", break_on_hyphens=False)


# -- a table of verdicts ---------------------------------------------------------------


def table_head(models: Sequence[str]) -> Iterator[str]:
    """The first lines of the table of verdicts: a long name takes several."""
    parts = [_parts(model) for model in models]
    for row in zip_longest(*parts, fillvalue=""):
        names = "".join(f" {part:<{COLUMN}}" for part in row)
        yield f"{'':<{NAME_WIDTH}}{names}".rstrip()


def _parts(model: str) -> list[str]:
    """The name of a model in pieces that fit the column, cut at its underscores."""
    return textwrap.wrap(model.replace("_", "_ ").replace("linux-", ""), COLUMN)


def table_row(name: str, results: Sequence[Result]) -> str:
    """One test: its verdict on each model, marked where another is expected."""
    cells = ""
    for result in results:
        mark = "" if result.as_expected else "!"
        cells += f" {SHORT[result.verdict] + mark:<{COLUMN}}"
    return f"{_lead(name, NAME_WIDTH)}{cells}".rstrip()


def _lead(name: str, width: int) -> str:
    """The first column; a name that is too long has a line of its own."""
    return f"{name:<{width}}" if len(name) <= width else f"{name}\n{'':<{width}}"


def legend(results: Sequence[Result]) -> Iterator[str]:
    """The short verdicts that occur and, where one is not expected, what is."""
    seen = {result.verdict for result in results} - {"fine"}
    if seen:
        meanings = (f"{SHORT[v]} = {v}" for v in VERDICTS if v in seen)
        yield from _wrapped(", ".join(meanings))
    for result in results:
        if not result.as_expected:
            yield from _wrapped(
                f"! {result.test.name} on {result.model}: {result.verdict}, "
                f"expected {result.test.expected(result.model)}"
            )


# -- for machines ----------------------------------------------------------------------


def as_dict(result: Result, *, states: bool = False) -> dict[str, Any]:
    """A result as JSON has it; with `states`, those after each line."""
    found: dict[str, Any] = {
        "test": result.test.name,
        "file": result.test.file,
        "model": result.model,
        "verdict": result.verdict,
        "expected": result.test.expected(result.model),
        "conditions": [
            {
                "condition": str(condition),
                "holds": all(o.meets(condition) for o in result.outcomes),
            }
            for condition in result.test.conditions
        ],
        "outcomes": [
            {
                "verdict": outcome.verdict,
                "values": outcome.values,
                "references": outcome.references,
                "copies": outcome.copies,
                "wrongs": sorted(outcome.wrongs),
                "failed": [str(condition) for condition in outcome.failed],
            }
            for outcome in result.outcomes
        ],
    }
    if states:
        found["lines"] = [
            {
                "line": line.line,
                "text": str(line),
                "states": [_state(result, number, node) for node in nodes],
            }
            for number, (line, nodes) in enumerate(
                zip(result.test.lines, result.after, strict=True)
            )
        ]
    return found


def _state(result: Result, number: int, node: Node) -> dict[str, Any]:
    return {
        "results": [
            node.state[result_cell(operation)]
            for operation in result.test.lines[number].operations
        ],
        "copies": node.state[COPIES],
        "state": list(rows(machine_at(result, node))),
    }
