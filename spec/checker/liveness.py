"""Which local variables a suspended function will still read."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import cache
from types import CodeType


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
