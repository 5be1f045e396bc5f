"""A trace as text, the way commit messages draw a race: one column per CPU.

Each step says what happens in the kernel's words: the operation that begins, the
function that runs, the cells that change; of a step that only looks, what it saw.
Locks are folded into short phrases; ghost state is left out.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spec.cells import PlainCells
from spec.checker.program import Trace, TraceStep, Violation
from spec.memory import (
    Entry,
    HugePmd,
    Machine,
    Mm,
    Names,
    NonPresent,
    Page,
    Pte,
    Reference,
    Slot,
)
from spec.rules import ID, load

WIDTH = 72
GUTTER = 4
_NARROWEST = 28
_TYPOGRAPHIC = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "--", "…": "..."}
)


def ascii_text(text: str) -> str:
    """The text in ASCII, as an e-mail or a commit message wants it.

    >>> ascii_text("Torvalds’ “bit” – naïve…")
    'Torvalds\\' "bit" - naive...'
    """
    plain = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHIC))
    return "".join(
        letter if letter.isascii() else "?"
        for letter in plain
        if not unicodedata.combining(letter)
    )


def machine_of(state: Mapping[str, Any]) -> Machine:
    """A machine to read the cells of `state` through; its names are found there."""

    def owners(field: str) -> tuple[str, ...]:
        return tuple(key[: -len(field)] for key in state if key.endswith(field))

    vas = [key.partition("[")[2][:-1] for key in state if ".pte[" in key]
    names = Names(
        mms=owners(".mmap_lock"),
        pages=owners(".refcount"),
        refs=owners(".protected"),
        cpus=owners(".hold"),
        vas=tuple(dict.fromkeys(vas)),
        slots=owners(".count"),
    )
    return Machine(names, cells=PlainCells(dict(state)), cpu=names.cpus[0])


def is_machine(state: Mapping[str, Any]) -> bool:
    """Whether the cells are those of a machine; the worlds of a few chapters differ."""
    return any(key.endswith(".mmap_lock") for key in state)


def cells_of(state: Mapping[str, Any]) -> list[str]:
    """Each cell with what it holds, where nothing better can be said."""
    return [
        f"{key} = {re.sub(r'\bNone\b', 'none', repr(value))}"
        for key, value in state.items()
        if value not in ((), "")
    ]


def described(state: Mapping[str, Any]) -> list[str]:
    """A state of a machine or of another world, line by line."""
    return describe(machine_of(state)) if is_machine(state) else cells_of(state)


def kind(ref: Reference) -> str:
    """How a reference was taken, as litmus tests write it: ``ro get``."""
    return f"{'rw' if ref.write else 'ro'} {'pin' if ref.pin else 'get'}"


def pte_name(machine: Machine, mm: str, va: str) -> str:
    """``pte(A)``, with the address if the machine has more than one."""
    return f"pte({mm})" if len(machine.names.vas) == 1 else f"pte({mm}, {va})"


def entry(pte: Entry | HugePmd) -> str:
    """What a page table entry holds: ``p1 R/O`` or ``none``."""
    return "none" if pte is None else repr(pte)


def alive(machine: Machine) -> list[Mm]:
    """The processes with something to show: living, or with a page table to come."""
    return [
        mm
        for mm in machine.mms.values()
        if mm.state == "live"
        or (mm.state == "forking" and any(mm.pte[va] for va in machine.names.vas))
    ]


def describe(machine: Machine) -> list[str]:
    """The state of a machine, one line for each entry, page, slot and reference."""
    lines = [line for mm in alive(machine) for line in page_table(machine, mm)]
    lines += [page_line(page) for page in machine.pages.values() if in_use(page)]
    lines += [slot_line(slot) for slot in machine.slots.values() if slot_in_use(slot)]
    for ref in machine.refs.values():
        if ref.state != "free":
            pending = ", not returned yet" if ref.state == "pending" else ""
            lines.append(f"{ref}: {kind(ref)} of {ref.pfn} through {ref.mm}{pending}")
    return lines


def page_table(machine: Machine, mm: Mm) -> list[str]:
    """What a process maps: its huge PMD, or its PTEs."""
    if mm.pmd is not None:
        return [f"pmd({mm}) = {entry(mm.pmd)}"]
    return [
        f"{pte_name(machine, mm.name, va)} = {entry(mm.pte[va])}"
        for va in machine.names.vas
    ]


def in_use(page: Page) -> bool:
    """Whether somebody has the page, or the large folio that it is part of."""
    return page.refcount > 0 or page.head is not None


def page_line(page: Page) -> str:
    """A page in use: its counts, its bit, and which flags it has."""
    tail = page.head not in (None, page.name)
    counts = [
        *([f"part of {page.head}"] if tail else [f"refcount {page.refcount}"]),
        f"mapcount {page.mapcount}",
        *([f"entire_mapcount {page.entire_mapcount}"] if page.entire_mapcount else []),
        *([f"pincount {page.pincount}"] if page.pincount else []),
        f"anon_exclusive {page.anon_exclusive:d}",
        *flags(page),
    ]
    return f"{page}: {', '.join(counts)}"


def flags(page: Page) -> list[str]:
    """The flags of a page that are not as on a fresh page."""
    return [
        *([f"swap cache of {page.swap}"] if page.swap is not None else []),
        *(["writeback"] if page.writeback else []),
        *(["clean"] if not page.dirty else []),
        *(["lazyfree"] if not page.swapbacked else []),
        *(["KSM"] if page.ksm else []),
    ]


def slot_in_use(slot: Slot) -> bool:
    """Whether a swap entry names the slot or the swap cache has a folio for it."""
    return slot.count > 0 or slot.folio is not None


def slot_line(slot: Slot) -> str:
    """A slot in use: how many entries name it and what it holds."""
    return f"{slot}: {slot.count} swap entries, value {slot.value}"


# -- one step --------------------------------------------------------------------------


def call(choice: Any) -> str:
    """The operation that a client chose, as a call.

    >>> call(("fork", "A", "B"))
    'fork(A -> B)'
    >>> call(("gup ro get fast-only", "A", "r"))
    'r = gup_fast_only(A, ro get)'
    """
    if not isinstance(choice, tuple):
        return str(choice)
    words, *arguments = map(str, choice)
    name, *how = words.split()
    match name, arguments:
        case "fork", [parent, child]:
            return f"fork({parent} -> {child})"
        case "gup", [mm, ref]:
            how_called = "_".join(["gup", *how[2:]]).replace("-", "_")
            return f"{ref} = {how_called}({mm}, {' '.join(how[:2])})"
    return f"{name}({', '.join([*arguments, *how])})"


def operation(step: TraceStep) -> str | None:
    """The operation that begins with this step; `None` if an earlier one goes on."""
    chosen = [answer for asked, answer in step.choices if not ID.fullmatch(asked)]
    return call(chosen[0]) if chosen else None


def function(step: TraceStep) -> str:
    """The innermost function that the step runs; empty if that is the client's."""
    innermost = step.functions[-1] if step.functions else ""
    return "" if innermost == "client" else innermost


@dataclass(frozen=True)
class _Words:
    """What one step does, sorted by where in its line group it is said."""

    takes: list[str]
    does: list[str]
    drops: list[str]


_SILENT = (
    *("asked_gup", "hold", "target", "parent", "expected", "folio"),
    *("tracked", "va", "mm", "pfn", "pin", "write", "longterm"),
)
_COUNTS = ("refcount", "mapcount", "pincount", "entire_mapcount")
_FLAGS = {
    ("dirty", False): "is clean",
    ("dirty", True): "is dirty",
    ("swapbacked", False): "is lazyfree",
    ("swapbacked", True): "is no longer lazyfree",
    ("writeback", True): "is under writeback",
    ("writeback", False): "is written",
    ("ksm", True): "is a KSM page",
}
"""A flag of a page and its new value, in words."""


def _lock(field: str, record: str, old: Any, new: Any) -> tuple[bool, str]:
    """Whether a lock is taken, and how the lock is called."""
    if field == "mmap_lock":
        if new == -1:
            return True, f"mmap_lock({record}) for write"
        return new > old != -1, f"mmap_lock({record})"
    return bool(new), f"PTL({record})" if field == "ptl" else f"folio lock of {record}"


def _reference(record: str, old: str, new: str, after: Machine) -> str:
    ref = after.refs[record]
    if new == "pending":
        return f"grabs {record} = {ref.pfn}"
    if new == "live":
        return f"returns {record} = {ref.pfn} ({kind(ref)})"
    return f"puts {record}" if old == "live" else f"backs off, drops {record}"


def _counts(record: str, changed: list[tuple[str, Any, Any]]) -> str:
    counts = [
        f"{key.partition('.')[2]} {old} -> {new}"
        for key, old, new in changed
        if key.startswith(f"{record}.") and key.partition(".")[2] in _COUNTS
    ]
    freed = any(key == f"{record}.refcount" and new == 0 for key, _, new in changed)
    return f"{record}.{', '.join(counts)}{', freed' if freed else ''}"


def _words(step: TraceStep, before: Machine, after: Machine) -> _Words:
    """What the step changes, without what it leaves as it was."""
    words = _Words([], [], [])
    changed = [write for write in step.writes if write[1] != write[2]]
    for key, old, new in changed:
        record, _, rest = key.partition(".")
        field, _, va = rest.rstrip("]").partition("[")
        if field in ("mmap_lock", "ptl", "locked"):
            taken, name = _lock(field, record, old, new)
            (words.takes if taken else words.drops).append(name)
        elif field in _COUNTS:
            counts = _counts(record, changed)
            if counts not in words.does:
                words.does.append(counts)
        elif field == "pte":
            words.does.append(f"{pte_name(after, record, va)} = {entry(new)}")
        elif field == "pmd":
            words.does.append(f"pmd({record}) = {entry(new)}")
        elif field == "anon_exclusive":
            words.does.append(f"{key} = {new:d}")
        elif (field, new) in _FLAGS and after.pages[record].refcount:
            words.does.append(f"{record} {_FLAGS[field, new]}")
        elif field == "swap":
            said = f"is in the swap cache for {new}" if new else "leaves the swap cache"
            words.does.append(f"{record} {said}")
        elif field == "head":
            if new is not None:
                words.does.append(f"{record} is part of {new}")
        elif field == "write_protect_seq":
            words.does.append(f"{field}({record}) = {new}")
        elif field == "vma":
            if before.mms[record].state == "live":
                words.does.append(f"vma({record}) = {new or 'none'}")
        elif field == "state":
            if record in after.refs:
                words.does.append(_reference(record, old, new, after))
            elif new != "forking":
                words.does.append(f"{record} is {new}")
        elif field == "protected":
            if old and after.refs[record].state != "free":
                words.does.append(f"{record} is no longer protected")
        elif field and field not in (*_SILENT, *(name for name, _ in _FLAGS)):
            words.does.append(f"{key} {old} -> {new}")
    return words


def _seen(step: TraceStep, machine: Machine) -> str:
    """What a step that only looks has looked at."""
    seen = []
    for key, value in step.reads:
        record, _, rest = key.partition(".")
        field, _, va = rest.rstrip("]").partition("[")
        if field == "pte":
            seen.append(f"{pte_name(machine, record, va)} = {entry(value)}")
        elif field == "write_protect_seq":
            seen.append(f"{field}({record}) = {value}")
        elif field == "pmd":
            if value is not None:
                seen.append(f"pmd({record}) = {entry(value)}")
        elif field in ("anon_exclusive", "refcount", "mapcount"):
            seen.append(f"{key} = {value:d}")
    return f"sees {', '.join(seen)}" if seen else ""


def sayings(step: TraceStep, before: Machine, after: Machine) -> list[str]:
    """What the step does or sees, phrase by phrase; empty if nothing worth saying.

    Args:
        step: the step.
        before: the machine before it.
        after: the machine after it.
    """
    words = _words(step, before, after)
    answers = [
        f"{'uses' if answer else 'does not use'} {asked}"
        for asked, answer in step.choices
        if ID.fullmatch(asked)
    ]
    looks = [] if words.does else [_seen(step, before)]
    return [
        *([f"takes {', '.join(words.takes)}"] if words.takes else []),
        *filter(None, looks),
        *answers,
        *words.does,
        *([f"drops {', '.join(words.drops)}"] if words.drops else []),
    ]


# -- the whole trace -------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """One step in words.

    Attributes:
        number: 1 for the first step.
        cpu: the thread that takes it.
        operation: what begins with it, if anything.
        function: the function that runs, if it is not the one said before.
        phrases: what changes, or what is seen.
    """

    number: int
    cpu: str
    operation: str | None
    function: str
    phrases: list[str]


def said(trace: Trace) -> Iterator[Said]:
    """Each step of a trace in words."""
    machines = is_machine(trace.initial)
    states = [machine_of(state) for state in trace.states()] if machines else []
    running: dict[str, str] = {}
    last: dict[str, str] = {}
    for i, step in enumerate(trace.steps):
        began, where = operation(step), function(step)
        if began:
            running[step.thread] = began.partition("(")[0].rpartition(" ")[2]
            last[step.thread] = ""
        known = (running.get(step.thread), last.get(step.thread))
        shown = "" if where in known else where
        last[step.thread] = where
        phrases = (
            sayings(step, states[i], states[i + 1])
            if machines
            else cells_of({key: new for key, old, new in step.writes if old != new})
        )
        yield Said(i + 1, step.thread, began, shown, phrases)


def _columns(cpus: list[str]) -> dict[str, int]:
    """Where the column of each CPU begins; the last one is wide enough to read."""
    gaps = max(len(cpus) - 1, 1)
    stride = min(34, (WIDTH - GUTTER - _NARROWEST) // gaps)
    return {cpu: GUTTER + i * stride for i, cpu in enumerate(cpus)}


def _wrapped(text: str, column: int, indent: int, number: str, width: int) -> list[str]:
    lead = " " * (column + indent)
    # An assignment and a change of a count are not torn apart.
    whole = re.sub(r"(\w+) (\d+) -> ", "\\1\x00\\2 -> ", ascii_text(text))
    whole = re.sub(r" (=|->) ", "\x00\\1\x00", whole)
    lines = textwrap.wrap(
        whole,
        width,
        initial_indent=f"{number:<{GUTTER}}{lead[GUTTER:]}",
        subsequent_indent=f"{lead}  ",
        break_on_hyphens=False,
    )
    return [line.replace("\x00", " ") for line in lines]


def group(step: Said, column: int, nested: bool, width: int = WIDTH) -> list[str]:
    """The lines of one step; its number stands before the first.

    `nested` tells whether phrases stand below a function rather than an operation.
    """
    lines = [(0, step.operation)] if step.operation else []
    if step.function:
        lines.append((2, f"{step.function}()"))
    indent = 4 if nested else 2
    lines += [(indent, phrase) for phrase in step.phrases]
    numbers = [f"{step.number}", *[""] * len(lines)]
    return [
        line
        for (indent, text), number in zip(
            lines or [(indent, "...")], numbers, strict=False
        )
        for line in _wrapped(text, column, indent, number, width)
    ]


def _groups(trace: Trace, columns: dict[str, int]) -> Iterator[str]:
    nested: dict[str, bool] = {}
    for step in said(trace):
        under = nested.get(step.cpu, False) and not step.operation
        nested[step.cpu] = under or bool(step.function)
        yield from group(step, columns[step.cpu], nested[step.cpu])


def paragraph(lead: str, lines: list[str]) -> list[str]:
    """Lines under a lead word, indented."""
    return [
        line
        for i, text in enumerate(lines or ["nothing is mapped"])
        for line in textwrap.wrap(
            ascii_text(text),
            WIDTH,
            initial_indent=f"{lead if i == 0 else '':<10}",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
    ]


def title(cpu: str) -> str:
    """How the column of a CPU is headed."""
    return f"CPU {cpu[3:]}" if cpu.startswith("cpu") else cpu


def verdict_lines(broken: str, why: str = "") -> list[str]:
    """Which property the last step breaks, and its sentence."""
    if broken == "deadlock":
        return ["deadlock: no CPU can take a step"]
    rule = load().get(broken)
    sentence = rule.sentence if rule else ""
    head = f"{broken} is broken{': ' if sentence else '.'}{sentence}"
    cause = why.removeprefix(f"{broken}: ")
    texts = [head, *([f"Here: {cause}."] if cause else [])]
    return [
        line
        for text in texts
        for line in textwrap.wrap(
            ascii_text(text), WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )
    ]


def text(trace: Trace, broken: str = "", why: str = "") -> str:
    """The trace as plain ASCII text, at most 72 columns wide.

    Args:
        trace: what to draw.
        broken: the id of the property that its last step breaks, if it does.
        why: what the checker says about it.
    """
    *_, last = trace.states()
    cpus = sorted({step.thread for step in trace.steps})
    columns = _columns(cpus)
    head = rule = ""
    for cpu, column in columns.items():
        head = f"{head:<{column}}{title(cpu)}"
        rule = f"{rule:<{column}}{'-' * len(title(cpu))}"
    lines = [*paragraph("At first", described(trace.initial)), ""]
    if trace.steps:
        lines += [head, rule]
        lines += _groups(trace, columns)
        lines += ["", *paragraph("Then", described(last))]
    if broken:
        lines += ["", *verdict_lines(broken, why)]
    return "\n".join(line.rstrip() for line in lines)


def violation_text(violation: Violation) -> str:
    """The trace of a violation as text, with the property that it breaks."""
    return text(violation.trace, violation.property, violation.why)


def plain(value: Any) -> Any:
    """A value of a cell as JSON has it; a page table entry as its text."""
    if isinstance(value, Pte | NonPresent | HugePmd):
        return repr(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def as_dict(violation: Violation) -> dict[str, Any]:
    """A violation for machines: the initial cells, each step, what is broken."""
    trace = violation.trace
    rule = load().get(violation.property)
    return {
        "broken": violation.property,
        "sentence": rule.sentence if rule else "",
        "why": violation.why,
        "depth": violation.depth,
        "initial": {key: plain(value) for key, value in trace.initial.items()},
        "steps": [
            {
                "cpu": step.thread,
                "operation": words.operation,
                "functions": list(step.functions),
                "says": words.phrases,
                "reads": {key: plain(value) for key, value in step.reads},
                "writes": [
                    {"cell": key, "old": plain(old), "new": plain(new)}
                    for key, old, new in step.writes
                ],
                "choices": plain(step.choices),
                "broken": list(step.broken),
            }
            for step, words in zip(trace.steps, said(trace), strict=True)
        ],
        "text": violation_text(violation),
    }
