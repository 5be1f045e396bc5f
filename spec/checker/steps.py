"""Run one atomic step of one thread, and note what it read, wrote and chose.

A generator cannot be copied, so a thread is brought to where it stands by running
it again from its start on the values that it read before (its *history*). Where it
stands is then described by its *location*: for each suspended function, the place
in its code and those local variables that it will still use. Two histories that
lead to one location are interchangeable, and the checker keeps the first. What the
same expression computed before a yield cannot be seen: no operation relies on any.
"""

from __future__ import annotations

import dis
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import CodeType, GeneratorType
from typing import Any

from spec.cells import Broken, Record
from spec.checker.program import Thread, rest

Source = Callable[[str], Any]
"""Reads one cell of a state."""
Reads = tuple[Any, ...]
History = tuple[Reads, ...]
Location = Hashable
DONE: Location = ("done",)


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


class _Store:
    """The cells that a thread sees: first its history, then the real state."""

    def __init__(self) -> None:
        self.replay: Iterator[Any] = iter(())
        self.live = False

    def arm(
        self,
        history: History,
        source: Source,
        reads: dict[str, Any],
        script: Sequence[Any],
    ) -> None:
        self.replay = (value for step in history for value in step)
        self.live = False
        self.source = source
        self.reads = reads
        self.written: dict[str, Any] = {}
        self.log: list[Any] = []
        self.script = script
        self.choices: list[tuple[str, Any]] = []

    def read(self, key: str) -> Any:
        if not self.live:
            return next(self.replay)
        if key in self.written:
            value = self.written[key]
        else:
            if key not in self.reads:
                self.reads[key] = self.source(key)
            value = self.reads[key]
        self.log.append(value)
        return value

    def write(self, key: str, value: Hashable) -> None:
        if self.live:
            self.written[key] = value

    def choose(self, question: str, options: Sequence[Any]) -> Any:
        if not self.live:
            return next(self.replay)
        if not options:
            raise Blocked
        if len(self.choices) == len(self.script):
            raise _Branch(tuple(options))
        answer = self.script[len(self.choices)]
        self.choices.append((question, answer))
        self.log.append(answer)
        return answer


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
    ) -> StepRun:
        """The next step in the state that `source` reads.

        Args:
            history: how the thread came to where it stands.
            source: reads a cell of the state.
            script: the answers to the questions that the step asks.
        """
        reads: dict[str, Any] = {}
        try:
            return StepRun(reads, self._run(history, source, reads, script))
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
    ) -> Outcome | None:
        store = self.store
        store.arm(history, source, reads, script)
        generator = self.thread(store)
        wait = next(generator)
        for _ in history:
            if wait is not None:
                wait()
            wait = next(generator)
        store.live = True
        location: Location = DONE
        resting = True
        functions: tuple[str, ...] = ()
        raised: tuple[str, ...] = ()
        why = ""
        try:
            if wait is not None and not wait():
                return None
            functions = _functions(generator) if self.names else ()
            wait = next(generator)
            if self.names:
                functions = _merge(functions, _functions(generator))
            location = _location(generator)
            resting = wait is rest
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
            history=(*history, tuple(store.log)) if location != DONE else (),
            resting=resting,
            functions=functions,
            raised=raised,
            why=why,
        )


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
        parts.append(
            (
                suspended.__qualname__,
                frame.f_lasti,
                tuple(
                    (name, freeze(frame.f_locals[name]))
                    for name in alive
                    if name in frame.f_locals
                ),
            )
        )
    return tuple(parts)


def freeze(value: Any) -> Hashable:
    """A hashable description of a local variable.

    Records count by their names: what they hold is in the store. A generator that
    waits to be continued counts by its own location.
    """
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
    if isinstance(value, str | int | bool | None | frozenset):
        return value
    return (type(value).__qualname__,)


@cache
def live_locals(code: CodeType, lasti: int) -> tuple[str, ...]:
    """Local variables whose value may still be read after the yield at `lasti`.

    Without this, two executions that differ only in what they have finished with
    would count as two states. The usual backward data flow over the bytecode.
    """
    instructions = list(dis.get_instructions(code))
    index = {instruction.offset: i for i, instruction in enumerate(instructions)}
    handlers = [
        (index.get(e.start, 0), index.get(e.end, len(instructions)), index[e.target])
        for e in dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
    ]
    alive: list[frozenset[str]] = [frozenset()] * len(instructions)
    changed = True
    while changed:
        changed = False
        for i in range(len(instructions) - 1, -1, -1):
            after = frozenset[str]().union(
                *(alive[j] for j in _successors(instructions, index, handlers, i))
            )
            loaded, stored = _locals_used(instructions[i])
            now = (after - stored) | loaded
            if now != alive[i]:
                alive[i] = now
                changed = True
    here = index[lasti]
    after_yield = frozenset[str]().union(
        *(alive[j] for j in _successors(instructions, index, [], here))
    )
    return tuple(sorted(after_yield | _loop_variables(instructions, index, here)))


def _loop_variables(
    instructions: list[dis.Instruction], index: dict[int, int], here: int
) -> frozenset[str]:
    """Variables of the ``for`` loops around an instruction.

    How far a loop has come is kept in its iterator, which cannot be seen. Its
    variable stands for it: the items of a loop that yields have to differ.
    """
    names: set[str] = set()
    for i, instruction in enumerate(instructions):
        if instruction.opname == "FOR_ITER" and i < here < index[instruction.argval]:
            for following in instructions[i + 1 :]:
                if not following.opname.startswith(("STORE_FAST", "UNPACK_SEQUENCE")):
                    break
                names |= _locals_used(following)[1]
    return frozenset(names)


def _successors(
    instructions: list[dis.Instruction],
    index: dict[int, int],
    handlers: list[tuple[int, int, int]],
    i: int,
) -> Iterator[int]:
    instruction = instructions[i]
    name = instruction.opname
    if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
        yield index[instruction.argval]
    ends = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE")
    jumps_away = name.startswith(("JUMP_FORWARD", "JUMP_BACKWARD"))
    if name not in ends and not jumps_away and i + 1 < len(instructions):
        yield i + 1
    for start, end, target in handlers:
        if start <= i < end:
            yield target


def _locals_used(instruction: dis.Instruction) -> tuple[frozenset[str], frozenset[str]]:
    name, value = instruction.opname, instruction.argval
    names = value if isinstance(value, tuple) else (value,)
    if name == "STORE_FAST_LOAD_FAST":
        return frozenset(names[1:]) - frozenset(names[:1]), frozenset(names[:1])
    if name.startswith("LOAD_FAST") or name in ("LOAD_DEREF", "LOAD_CLOSURE"):
        return frozenset(names), frozenset()
    if name.startswith(("STORE_FAST", "DELETE_FAST")):
        return frozenset(), frozenset(names)
    return frozenset(), frozenset()
