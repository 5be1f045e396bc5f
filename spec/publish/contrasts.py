"""Near misses as text and as pictures: what a rule allows, and both ways on from there.

The steps that are the same with the rule and without it are drawn as any trace. Below
stand two columns: what the thread does that obeys, and what it does without the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from spec.checker.program import Trace
from spec.publish import drawings, traces
from spec.removals import PATIENCE, NearMiss

HALF = traces.WIDTH // 2


def contrast_text(found: NearMiss) -> str:
    """A near miss as plain ASCII text, at most 72 columns wide."""
    ways = (f"With {found.rule}", _ways(found, found.obeying, _ending(found)))
    others = (f"Without {found.rule}", _ways(found, found.breaking, ""))
    lines = [
        *([traces.text(found.before)] if found.before.steps else _start(found)),
        "",
        *_side_by_side(ways, others),
        "",
        *traces.paragraph("With it", traces.described(_last(found.obeying))),
        *traces.paragraph("Without", traces.described(_last(found.breaking))),
        "",
        *traces.verdict_lines(found.rule),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _start(found: NearMiss) -> list[str]:
    return traces.paragraph("At first", traces.described(found.before.initial))


def _last(trace: Trace) -> dict[str, object]:
    *_, last = trace.states()
    return last


def _ending(found: NearMiss) -> str:
    """What is to be said where the steps of the obeying thread end."""
    if found.waits:
        return "has to wait"
    return "..." if len(found.obeying.steps) == PATIENCE else ""


def _ways(found: NearMiss, way: Trace, ending: str) -> list[str]:
    """The lines of one column; CPUs are named where another one moves."""
    whole = Trace(found.before.initial, (*found.before.steps, *way.steps))
    lines: list[str] = []
    margin = " " * traces.GUTTER
    last = ""
    nested: dict[str, bool] = {}
    for step in traces.said(whole):
        under = nested.get(step.cpu, False) and not step.operation
        nested[step.cpu] = under or bool(step.function)
        if step.number > len(found.before.steps):
            if step.cpu != last:
                lines.append(f"{margin}{traces.title(step.cpu)}:")
            last = step.cpu
            lines += traces.group(step, traces.GUTTER, nested[step.cpu], HALF - 1)
    return [*lines, *([f"{margin}  {ending}"] if ending else [])]


def _side_by_side(
    left: tuple[str, list[str]], right: tuple[str, list[str]]
) -> Iterator[str]:
    margin = " " * traces.GUTTER
    columns = [
        [f"{margin}{title}", f"{margin}{'-' * len(title)}", *lines]
        for title, lines in (left, right)
    ]
    for one, other in zip_longest(*columns, fillvalue=""):
        yield f"{one:<{HALF}}{other}"


def draw_contrast(found: NearMiss) -> drawings.Drawing:
    """The state in which the rule makes the difference, and where both ways lead."""
    drawing = drawings.Drawing(
        f"Where {found.rule} makes the difference",
        contrast_text(found),
        "The state before the difference, with the rule and without it, as rows of "
        "boxes. The text beside the picture says the same.",
    )
    if not traces.is_machine(found.before.initial):
        return drawing
    rows = [("Before", found.obeying, 0)]
    rows += [(f"With {found.rule}", found.obeying, -1)]
    rows += [(f"Without {found.rule}", found.breaking, -1)]
    for caption, trace, which in rows:
        states = list(trace.states())
        before, after = states[0], states[which]
        changed = {key for key, value in after.items() if value != before[key]}
        drawing.caption(caption)
        drawing.row(drawings.boxes(traces.machine_of(after), changed))
    return drawing
