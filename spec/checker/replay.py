"""Take recorded steps again, one at a time, on a program as it is now."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spec.cells import SpecificationError
from spec.checker.judgement import View, judge
from spec.checker.program import Program, Trace, TraceStep
from spec.checker.steps import DONE, Location, Outcome, Stepper


class Diverged(SpecificationError):
    """A program does not do what was recorded of it."""


@dataclass(frozen=True)
class Move:
    """Which thread takes a step, and what it answers to the questions of the step."""

    thread: str
    answers: tuple[Any, ...] = ()


def moves(trace: Trace) -> tuple[Move, ...]:
    """The schedule of a trace: what has to be known to take its steps again."""
    return tuple(
        Move(step.thread, tuple(answer for _, answer in step.choices))
        for step in trace.steps
    )


class Player:
    """A program in one of its states, moved by hand.

    Args:
        program: whose threads move, and by whose properties steps are judged.
        state: the cells to begin with.
    """

    def __init__(self, program: Program, state: dict[str, Hashable]) -> None:
        self.program = program
        self.state = dict(state)
        self.steppers = {name: Stepper(t) for name, t in program.threads.items()}
        self.at = {name: stepper.start() for name, stepper in self.steppers.items()}

    def stands(self) -> dict[str, Location]:
        """Where each thread stands in its code."""
        return {name: outcome.location for name, outcome in self.at.items()}

    def look(self, move: Move) -> tuple[dict[str, Any], Outcome | None]:
        """What the step would read and do; `None` if the thread cannot take it.

        Questions that `move` leaves open are answered by their first option.

        Raises:
            Diverged: an answer is not among the options, or is not asked for.
        """
        answers = list(move.answers)
        script: tuple[Any, ...] = ()
        if self.at[move.thread].location == DONE:
            return {}, None
        while True:
            run = self._run(move.thread, script)
            if not run.options:
                break
            answer = answers.pop(0) if answers else run.options[0]
            if answer not in run.options:
                raise Diverged(f"{move.thread} cannot choose {answer!r} here")
            script = (*script, answer)
        if answers and run.outcome is not None:
            raise Diverged(f"{move.thread} is not asked for {answers[0]!r} here")
        return run.reads, run.outcome

    def take(self, move: Move) -> TraceStep:
        """Take a step.

        Raises:
            Diverged: the thread cannot take it.
        """
        reads, outcome = self.look(move)
        if outcome is None:
            raise Diverged(f"{move.thread} has to wait here")
        judged = judge(self.program, self.state, outcome.writes)
        writes = tuple((k, self.state[k], v) for k, v in outcome.writes.items())
        self.state |= outcome.writes
        self.at[move.thread] = outcome
        return TraceStep(
            thread=move.thread,
            functions=outcome.functions,
            reads=tuple(reads.items()),
            writes=writes,
            choices=outcome.choices,
            broken=(*outcome.raised, *judged.broken),
        )

    def broken(self) -> Iterator[str]:
        """The properties of states that do not hold here, ``deadlock`` among them."""
        for p in self.program.states:
            if not p.holds(View(self.state.__getitem__, {})):
                yield p.id
        if any(not at.resting for at in self.at.values()) and self._stuck():
            yield "deadlock"

    def _run(self, thread: str, script: tuple[Any, ...]) -> Any:
        history = self.at[thread].history
        return self.steppers[thread].step(history, self.state.__getitem__, script)

    def _stuck(self) -> bool:
        return all(
            outcome is None
            for thread in self.at
            for _, outcome in [self.look(Move(thread))]
        )


def replay(
    program: Program, state: dict[str, Hashable], schedule: Sequence[Move]
) -> tuple[Trace, frozenset[str]]:
    """The trace of a schedule, and what its last step or its last state breaks.

    Raises:
        Diverged: the program cannot take one of the steps.
    """
    player = Player(program, state)
    steps = tuple(player.take(move) for move in schedule)
    last = steps[-1].broken if steps else ()
    return Trace(dict(state), steps), frozenset((*last, *player.broken()))
