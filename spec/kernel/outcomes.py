"""What a kernel that is some model would show: every outcome, as an observation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from spec.decisions import Model
from spec.kernel.compare import Candidate, has_bit, start
from spec.kernel.observe import Observation, Run
from spec.kernel.programs import sights
from spec.litmus.program import Test

Line = Observation | None


def outcomes(test: Test, model: Model, is_seen: Sequence[bool]) -> list[Run]:
    """All runs of `test` that `model` allows.

    Args:
        test: a test without races.
        model: any model; without a bit, the bit is clear everywhere.
        is_seen: for each line, whether one looks after it.

    >>> from spec.litmus.files import find
    >>> from spec.models import MODELS
    >>> [leak] = outcomes(find("vmsplice-leak"), MODELS["mapcount"], [True] * 5)
    >>> print(leak.lines[-1].facts()["r"])
    p1 = 2
    """
    found: dict[Hashable, tuple[Candidate, tuple[Line, ...]]] = {}
    found[()] = start(test, model), ()
    for operation, looks, sight in zip(
        test.operations, is_seen, sights(test), strict=True
    ):
        ends = [
            (after, (*lines, _visible(line, model)))
            for candidate, lines in found.values()
            for after, line in candidate.after(operation, sight, looks)
        ]
        found = {(_state(after), lines): (after, lines) for after, lines in ends}
    runs = (Run(lines, after.final_values()) for after, lines in found.values())
    return list(dict.fromkeys(runs))


def _visible(line: Line, model: Model) -> Line:
    return line if line is None or has_bit(model) else line.without_bit()


def _state(candidate: Candidate) -> Hashable:
    numbers = tuple(sorted(candidate.numbering.numbers.items()))
    return tuple(candidate.cells.values()), numbers


def nearest(predicted: Sequence[Run], shown: Run) -> Run:
    """The one of some outcomes that goes along with what was shown longest."""
    return max(predicted, key=lambda run: _along(run, shown))


def _along(run: Run, shown: Run) -> int:
    for number, (one, other) in enumerate(zip(run.lines, shown.lines, strict=True)):
        if one != other:
            return number
    return len(run.lines) + (run.final == shown.final)
