"""Run one atomic step of one thread, and note what it read, wrote and chose.

A generator cannot be copied, so a thread is brought to where it stands by running
it again from its start on the values that it read before (its *history*). Where it
stands is then described by its *location*: for each suspended function, the place
in its code and those local variables that it will still use. Two histories that
lead to one location are interchangeable, and the checker keeps the first. What the
same expression computed before a yield cannot be seen: no operation relies on any.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from sys import intern
from types import GeneratorType
from typing import Any, NamedTuple

from spec.cells import Broken, Record
from spec.checker.liveness import live_locals
from spec.checker.program import Thread, rest

Source = Callable[[str], Any]
"""Reads one cell of a state."""
Location = Hashable


class Past(NamedTuple):
    """A step that was taken: what it read, and the answers to what it asked."""

    reads: tuple[tuple[str, Any], ...]
    answers: tuple[Any, ...]


History = tuple[Past, ...]
DONE: Location = ("done",)
PLAIN = str, int, bool, type(None), frozenset
"""Types whose values describe themselves."""
MOST_SUSPENDED = 4
"""So many runs of a thread are kept at each location."""


class Blocked(Exception):
    """The step cannot be taken in this state: there is nothing to choose."""


class _Branch(Exception):
    """The step asks a question that its script does not answer."""

    def __init__(self, options: tuple[Any, ...]) -> None:
        super().__init__(options)
        self.options = options


@dataclass(frozen=True)
class Outcome:
    """One way in which a step can go.

    Attributes:
        writes: the assigned cells and their new values.
        choices: the questions that were asked and the answers that were taken.
        location, history, resting: where the thread stands after it.
        functions: the functions that it passed through, outermost first.
        raised: the id of the guarantee that the step itself raised as broken, if any.
        why: what it said.
    """

    writes: dict[str, Any]
    choices: tuple[tuple[str, Any], ...]
    location: Location
    history: History
    resting: bool
    functions: tuple[str, ...]
    raised: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class StepRun:
    """What a thread's next step does wherever `reads` is found.

    Attributes:
        outcome: what happens; `None` if the step is blocked or asks a question.
        options: the answers to the question that the step asks next, if any.
    """

    reads: dict[str, Any]
    outcome: Outcome | None = None
    options: tuple[Any, ...] = ()


class _Suspended(NamedTuple):
    """A run of a thread that stands somewhere, and what it waits for."""

    generator: Generator[Any, None, Any]
    wait: Any


class _Store:
    """The cells that a thread sees in one step, a past one or the next one."""

    def arm(self, source: Source, reads: dict[str, Any], script: Sequence[Any]) -> None:
        """Begin a step.

        Args:
            source: reads a cell of the state.
            reads: what was read already; what is read is added.
            script: the answers to the questions that the step asks.
        """
        self.source = source
        self.reads = reads
        self.written: dict[str, Any] = {}
        self.script = script
        self.choices: list[tuple[str, Any]] = []

    def read(self, key: str) -> Any:
        if key in self.written:
            return self.written[key]
        if key not in self.reads:
            # what is kept of many steps names the same few cells
            self.reads[intern(key)] = self.source(key)
        return self.reads[key]

    def write(self, key: str, value: Hashable) -> None:
        self.written[intern(key)] = value

    def choose(self, question: str, options: Sequence[Any]) -> Any:
        if not options:
            raise Blocked
        if len(self.choices) == len(self.script):
            raise _Branch(tuple(options))
        answer = self.script[len(self.choices)]
        self.choices.append((question, answer))
        return answer

    def past(self) -> Past:
        """What is needed to take the same step again."""
        answers = tuple(answer for _, answer in self.choices)
        return Past(tuple(self.reads.items()), answers)


class _AllAlternatives(_Store):
    """The same for a thread to which names make no difference."""

    def alternatives(self, options: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(options)


class Stepper:
    """Takes single steps of one thread.

    Args:
        thread: whose steps.
        names: whether outcomes tell the functions that they passed through.
        alternatives: whether to try all of several things that differ by name only.
    """

    def __init__(
        self, thread: Thread, names: bool = True, alternatives: bool = False
    ) -> None:
        self.thread = thread
        self.names = names
        self.store = _AllAlternatives() if alternatives else _Store()
        self.suspended: dict[Location, list[_Suspended]] = {}

    def start(self) -> Outcome:
        """Where the thread stands before its first step."""
        generator = self.thread(self.store)
        wait = next(generator)
        return Outcome({}, (), _location(generator), (), wait is rest, ())

    def step(
        self,
        history: History,
        source: Source,
        script: Sequence[Any] = (),
        location: Location = None,
    ) -> StepRun:
        """The next step in the state that `source` reads.

        Args:
            history: how the thread came to where it stands.
            source: reads a cell of the state.
            script: the answers to the questions that the step asks.
            location: where it stands; with it, a run that an earlier step left there
                may go on, so that nothing need be run again.
        """
        reads: dict[str, Any] = {}
        try:
            return StepRun(reads, self._run(history, source, reads, script, location))
        except _Branch as branch:
            return StepRun(reads, None, branch.options)

    def outcomes(
        self,
        history: History,
        source: Source,
        script: tuple[Any, ...] = (),
    ) -> Iterator[tuple[dict[str, Any], Outcome]]:
        """Every outcome of the next step, whatever is answered, with its reads."""
        run = self.step(history, source, script)
        if run.outcome is not None:
            yield run.reads, run.outcome
        for option in run.options:
            yield from self.outcomes(history, source, (*script, option))

    def _run(
        self,
        history: History,
        source: Source,
        reads: dict[str, Any],
        script: Sequence[Any],
        standing: Location,
    ) -> Outcome | None:
        store = self.store
        waiting = self.suspended.get(standing)
        run = waiting.pop() if waiting else self._brought_to(history, source)
        generator, wait = run
        store.arm(source, reads, script)
        location: Location = DONE
        resting = True
        functions: tuple[str, ...] = ()
        raised: tuple[str, ...] = ()
        why = ""
        try:
            if wait is not None and not wait():
                if standing is not None:
                    self._suspend(standing, run)
                return None
            functions = _functions(generator) if self.names else ()
            wait = next(generator)
            if self.names:
                functions = _merge(functions, _functions(generator))
            location = _location(generator)
            resting = wait is rest
            if standing is not None:
                self._suspend(location, _Suspended(generator, wait))
        except StopIteration:
            pass
        except Blocked:
            return None
        except Broken as broken:
            raised, why = (broken.guarantee,), str(broken)
        return Outcome(
            writes=dict(store.written),
            choices=tuple(store.choices),
            location=location,
            history=(*history, store.past()) if location != DONE else (),
            resting=resting,
            functions=functions,
            raised=raised,
            why=why,
        )

    def _brought_to(self, history: History, source: Source) -> _Suspended:
        """A run of the thread up to where it stands after `history`."""
        generator = self.thread(self.store)
        wait = next(generator)
        for past in history:
            self.store.arm(source, dict(past.reads), past.answers)
            if wait is not None:
                wait()
            wait = next(generator)
        return _Suspended(generator, wait)

    def _suspend(self, location: Location, run: _Suspended) -> None:
        """Keep a run for the next step from the same location."""
        waiting = self.suspended.setdefault(location, [])
        if len(waiting) < MOST_SUSPENDED:
            waiting.append(run)


def _chain(generator: Any) -> Iterator[GeneratorType[Any, Any, Any]]:
    while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
        yield generator
        generator = generator.gi_yieldfrom


def _functions(generator: Any) -> tuple[str, ...]:
    names: list[str] = []
    while isinstance(generator, GeneratorType) and generator.gi_frame is not None:
        names.append(generator.__name__)
        generator = generator.gi_yieldfrom or _begun(generator)
    return tuple(names)


def _begun(generator: GeneratorType[Any, Any, Any]) -> Any:
    """The operation that a client has begun and will go on with after this yield."""
    frame = generator.gi_frame
    assert frame is not None, "a suspended generator has a frame"
    alive = live_locals(frame.f_code, frame.f_lasti)
    found = (frame.f_locals.get(name) for name in alive)
    return next((each for each in found if isinstance(each, GeneratorType)), None)


def _merge(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[str, ...]:
    return after if len(after) >= len(before) else before


def _location(generator: Generator[Any, None, Any]) -> Location:
    parts = []
    for suspended in _chain(generator):
        frame = suspended.gi_frame
        assert frame is not None, "a suspended generator has a frame"
        alive = live_locals(frame.f_code, frame.f_lasti)
        # collected anew each time that they are asked for
        found = frame.f_locals
        values = tuple((name, freeze(found[name])) for name in alive if name in found)
        parts.append((suspended.__qualname__, frame.f_lasti, values))
    return tuple(parts)


def freeze(value: Any) -> Hashable:
    """A hashable description of a local variable.

    Records count by their names: what they hold is in the store. A generator that
    waits to be continued counts by its own location.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Record):
        return ("record", value.name)
    if isinstance(value, GeneratorType):
        return ("generator", _location(value))
    if is_dataclass(value) and not isinstance(value, type):
        return (
            type(value).__name__,
            *(freeze(getattr(value, f.name)) for f in fields(value)),
        )
    if isinstance(value, tuple | list):
        return tuple(freeze(item) for item in value)
    return (type(value).__qualname__,)
