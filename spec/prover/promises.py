"""What a model promises, as far as the invariant differs by it."""

from __future__ import annotations

from dataclasses import dataclass

from spec.decisions import Foll, Model
from spec.memory import Machine, Names
from spec.models import governs
from spec.rules import find


@dataclass(frozen=True)
class Promises:
    """What a model promises; by default what the sketch does.

    Attributes:
        remembers: swap and migration entries remember the bit.
        pins_only: the promise to a reference outlives fork for pins only.
        marks: the bit is set on every page that may be written (AE-SET-5).
        readers: a FOLL_GET reference that only reads is protected.
    """

    remembers: bool = False
    pins_only: bool = False
    marks: bool = False
    readers: bool = True


def promises_of(model: Model) -> Promises:
    """What a model promises, by its own answers and the rules that it keeps.

    >>> from spec.models import MODELS
    >>> promises_of(MODELS["sketch"]) == Promises()
    True
    """
    machine = Machine(Names(refs=("r",)), model)
    return Promises(
        remembers=model.entry_remembers(machine.pages["p1"]),
        pins_only=not model.protects_across_fork(machine.refs["r"]),
        marks=governs(find("AE-SET-5"), model),
        readers=model.protects(Foll()),
    )
