"""The guarded commands of a finished exploration, for exports and for reductions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spec.checker.explore import Exploration


@dataclass(frozen=True)
class GuardedCommand:
    """One step of one thread, for every state that agrees on what it read.

    Attributes:
        thread: the thread's name.
        source: number of the location in which the thread stands before it.
        target: number of the location after it; 0 is the end of the thread.
        reads: the cells that it read and the values that it found: its guard.
        writes: the cells that it assigns and their new values.
        choices: the questions that it asked, and the answers taken here.
        functions: the functions that it passed through, outermost first.
        raised: the id of the guarantee that the step itself raised as broken, if any.
    """

    thread: str
    source: int
    target: int
    reads: Mapping[str, Any]
    writes: Mapping[str, Any]
    choices: tuple[tuple[str, Any], ...]
    functions: tuple[str, ...]
    raised: tuple[str, ...]


@dataclass(frozen=True)
class CommandSet:
    """All that an exploration met: enough to explore the same states again.

    Attributes:
        commands: in the order in which they were learned.
        start: number of the location in which each thread starts, by its name.
        resting: by thread, for each location whether the thread may stay there for
            ever; a state is a deadlock if no command is enabled in it and some thread
            stands where it may not stay.
        values: by cell, all values that it takes, in order of appearance.
    """

    commands: tuple[GuardedCommand, ...]
    start: Mapping[str, int]
    resting: Mapping[str, tuple[bool, ...]]
    values: Mapping[str, tuple[Any, ...]]


def guarded_commands(exploration: Exploration) -> CommandSet:
    """The guarded commands of an exploration that has run.

    Commands are complete for the states that were visited: run to the end first.
    """
    names = list(exploration.program.threads)
    return CommandSet(
        commands=tuple(
            GuardedCommand(
                thread=names[command.thread],
                source=command.source,
                target=command.location,
                reads=command.reads,
                writes=command.writes,
                choices=command.choices,
                functions=exploration.functions(command),
                raised=command.raised,
            )
            for command in exploration.commands
        ),
        start=dict.fromkeys(names, 1),
        resting={
            name: tuple(resting for _, resting in thread.histories)
            for name, thread in zip(names, exploration.threads, strict=True)
        },
        values={
            key: tuple(exploration.codes[key].values)
            for key in exploration.program.initial[0]
        },
    )
