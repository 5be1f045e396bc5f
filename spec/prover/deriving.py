"""What the solver is asked about, from the operations: places and symbolic steps.

Operations have nothing in common but their names, so each can be derived in a process
of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spec.decisions import Model
from spec.memory import Machine, Steps
from spec.prover.counting import contradictory, miscounted
from spec.prover.footprints import OVER, Command, Footprints, Operation, Place
from spec.prover.parallel import in_order
from spec.prover.steps import SymbolicStep, symbolic


@dataclass(frozen=True)
class Derived:
    """What there is to know of operations.

    Attributes:
        places: where they can stand; numbered from 0.
        steps: what they can do there.
        footprints: how many the steps were made from.
        miscounted: how many of those would leave a count wrong.
    """

    places: list[Place]
    steps: list[SymbolicStep]
    footprints: int
    miscounted: int


def derive(model: Model, without: frozenset[str], operation: Operation) -> Derived:
    """What there is to know of one operation.

    Args:
        model: who answers the decisions.
        without: ids of rules that are not obeyed.
        operation: the operation.
    """
    made = Footprints(model, without)
    made.add(operation)
    possible = [
        command
        for command in made.commands
        if not contradictory(command, made.places[command.source])
    ]
    judged = [_judged(command, made.places[command.source]) for command in possible]
    wrong = sum(
        now is not command for now, command in zip(judged, possible, strict=True)
    )
    steps = symbolic(judged, made.places, made.remembers)
    return Derived(made.places, steps, len(judged), wrong)


def _judged(command: Command, place: Place) -> Command:
    """A footprint that would leave a count wrong must not be taken at all."""
    if any(miscounted(command, place)):
        return replace(command, raised=("AE-INV-3",))
    return command


# -- several ---------------------------------------------------------------------------


def derive_all(
    model: Model,
    without: frozenset[str],
    operations: Sequence[Operation],
    workers: int = 1,
) -> Derived:
    """What there is to know of operations, in their order.

    Args:
        model: who answers the decisions.
        without: ids of rules that are not obeyed.
        operations: all of them.
        workers: how many processes to use.
    """

    def derived(number: int) -> Derived:
        operation = operations[number]
        # how an operation begins can't be sent between processes
        named = replace(operation, begin=_elsewhere)
        return _of(derive(model, without, operation), named)

    parts = in_order(derived, len(operations), workers)
    return _joined([_of(*pair) for pair in zip(parts, operations, strict=True)])


def _of(found: Derived, operation: Operation) -> Derived:
    """The same of an operation that is equal but for how it begins."""
    places = [replace(each, operation=operation) for each in found.places]
    return replace(found, places=places)


def _elsewhere(machine: Machine) -> Steps:
    """How an operation begins is known to the process that asked only."""
    raise NotImplementedError


def _joined(parts: Sequence[Derived]) -> Derived:
    """The parts as one, with places numbered on."""
    places: list[Place] = []
    steps: list[SymbolicStep] = []
    for part in parts:
        first = len(places)
        places += [replace(each, number=each.number + first) for each in part.places]
        steps += [_moved(step, first) for step in part.steps]
    footprints = sum(part.footprints for part in parts)
    return Derived(places, steps, footprints, sum(part.miscounted for part in parts))


def _moved(step: SymbolicStep, by: int) -> SymbolicStep:
    source, target = step.source + by, _on(step.target, by)
    shown = replace(step.shown, source=source, target=target)
    return replace(step, source=source, target=target, shown=shown)


def _on(target: int, by: int) -> int:
    return target if target == OVER else target + by
