"""The reference search: breadth first, one Python step at a time, nothing clever.

It shares with the fast engine only the single step (`steps`). It exists to be
read at a sitting and to check the fast engine's counts.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from spec.checker.judgement import View, judge
from spec.checker.program import Program, Trace, TraceStep, Verdict, Violation
from spec.checker.steps import DONE, History, Location, Stepper

Node = tuple[tuple[Any, ...], tuple[Location, ...]]


def search(program: Program) -> Verdict:
    """Visit every reachable state of `program`; counts states, steps and depth.

    It ends with the level in which something breaks: a deadlock there is shorter than
    what a step from another state of the level breaks.

    Raises:
        MemoryError: the program runs out of what its bounds provide.
    """
    steppers = [Stepper(thread) for thread in program.threads.values()]
    names = list(program.threads)
    keys = list(program.initial[0])
    starts = [stepper.start() for stepper in steppers]
    histories: list[dict[Location, tuple[History, bool]]] = [
        {start.location: (start.history, start.resting)} for start in starts
    ]
    parents: dict[Node, tuple[Node, TraceStep] | None] = {}
    depths: dict[Node, int] = {}
    queue: deque[Node] = deque()
    transitions = 0
    found: list[Violation] = []
    witnesses: dict[str, int] = {}
    watched: dict[str, int] = {}

    def visit(node: Node, parent: tuple[Node, TraceStep] | None) -> None:
        if node in parents:
            return
        parents[node] = parent
        depths[node] = depths[parent[0]] + 1 if parent else 0
        queue.append(node)
        state = dict(zip(keys, node[0], strict=True))
        for p in program.states:
            if not p.holds(View(state.__getitem__, {})):
                found.append(Violation(p.id, "", _trace(keys, parents, node)))

    for state in program.initial:
        visit(
            (tuple(state[k] for k in keys), tuple(start.location for start in starts)),
            None,
        )
    level = -1
    while queue and not (found and depths[queue[0]] > level):
        node = queue.popleft()
        level = depths[node]
        values, locations = node
        state = dict(zip(keys, values, strict=True))
        moved = stuck = False
        for i, location in enumerate(locations):
            if location == DONE:
                continue
            history, resting = histories[i][location]
            stuck = stuck or not resting
            for reads, outcome in steppers[i].outcomes(history, state.__getitem__):
                moved = True
                transitions += 1
                histories[i].setdefault(
                    outcome.location, (outcome.history, outcome.resting)
                )
                after = {**state, **outcome.writes}
                judgement = judge(program, state, outcome.writes)
                broken = (*outcome.raised, *judgement.broken)
                step = TraceStep(
                    names[i],
                    outcome.functions,
                    tuple(reads.items()),
                    tuple((k, state[k], v) for k, v in outcome.writes.items()),
                    outcome.choices,
                    broken,
                )
                for name in judgement.witnesses:
                    witnesses.setdefault(name, depths[node] + 1)
                for name in judgement.watched:
                    watched.setdefault(name, depths[node] + 1)
                target: Node = (
                    tuple(after[k] for k in keys),
                    (*locations[:i], outcome.location, *locations[i + 1 :]),
                )
                if broken:
                    before = _trace(keys, parents, node)
                    trace = Trace(before.initial, (*before.steps, step))
                    found += [Violation(b, outcome.why, trace) for b in broken]
                visit(target, (node, step))
        if stuck and not moved:
            found.append(Violation("deadlock", "", _trace(keys, parents, node)))
    return Verdict(
        states=len(parents),
        transitions=transitions,
        depth=max(depths.values()),
        complete=not queue,
        violations=tuple(sorted(found, key=lambda violation: violation.depth)),
        watched=watched,
        witnesses=witnesses,
    )


def _trace(
    keys: list[str], parents: dict[Node, tuple[Node, TraceStep] | None], node: Node
) -> Trace:
    steps: list[TraceStep] = []
    while (link := parents[node]) is not None:
        node, step = link
        steps.append(step)
    return Trace(dict(zip(keys, node[0], strict=True)), tuple(reversed(steps)))
