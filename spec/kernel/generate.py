"""Random litmus programs that the driver can carry out.

A program is made from a list of steps: a word, a number that chooses who acts, and an
address. A step whose actor is not there is left out, so every list is a program and a
shorter list is a simpler one. That is what shrinking needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from spec.kernel.abilities import has_swap, memory_nodes
from spec.kernel.pagemap import has_soft_dirty
from spec.litmus.parser import HUGE_WORDS

PROCESSES, REFERENCES, ADDRESSES = "ABCD", "rstu", ("x", "y")
ALWAYS = (
    *("write", "force-write", "read", "fork", "exit", "munmap"),
    *("mprotect r", "mprotect rw", "madvise dontneed", "madvise free"),
    *("madvise unmergeable", "mremap", "uffdio-move", "uffd-wp", "uffd-unwp"),
    *("ro get", "ro get fast", "ro pin", "ro pin fast", "rw pin", "rw pin fast"),
    *("rw get", "rw get fast"),
    *("brief ro get", "brief ro pin", "brief rw pin"),
    *("reference read", "reference write", "put"),
)
"""What the driver can do on every machine; "ro get" and so on are gup. A brief
reference is taken, used and put at once: one system call may do that."""
NOT_HUGE = ("uffdio-move", "uffd-wp", "uffd-unwp", "madvise free")
DIVIDING = (
    *("munmap", "mprotect r", "mprotect rw", "mremap"),
    *("uffd-wp", "uffd-unwp", "madvise unmergeable"),
)
"""Words after which one address can be in another VMA than the other."""


def words(huge: bool = False) -> tuple[str, ...]:
    """The words that programs on this machine may have.

    Args:
        huge: of programs about a huge page. What userfaultfd and MADV_FREE do to a
            part of one is not in the model.
    """
    found = list(ALWAYS)
    if has_soft_dirty():
        found.append("softdirty")
    if has_swap() and not huge:
        found += ["swapout", "madvise pageout"]
    if len(memory_nodes()) > 1 and not huge:
        found.append("migrate")
    if not huge:
        return tuple(found)
    return (*(word for word in found if word not in NOT_HUGE), *HUGE_WORDS)


@dataclass(frozen=True)
class Step:
    """One step: `number` chooses the actor among those that are there.

    >>> print(text_of([Step("write"), Step("fork"), Step("ro get", 1), Step("exit")]))
    litmus random
    A: write 1
    A: fork B
    B: gup r = ro get
    <BLANKLINE>
    """

    word: str
    number: int = 0
    address: str = ADDRESSES[0]


@dataclass
class _Writer:
    """Writes one program and keeps track of who is there.

    Attributes:
        live: processes.
        held: references, with what took them and the process that asked.
        protects: whether some step makes an address R/O.
        divides: whether some step can make several VMAs of one.
    """

    protects: bool
    divides: bool
    live: list[str] = field(default_factory=lambda: [PROCESSES[0]])
    held: dict[str, tuple[str, str]] = field(default_factory=dict)
    forked: int = 1
    taken: int = 0

    def lines(self, value: int, step: Step) -> Iterator[str]:
        """What a step comes to; `value` is what it writes.

        Only the first touch of a program can map a huge page. The model knows nothing
        of VMAs: UFFDIO_MOVE wants both writable, and collapse wants one for all.
        """
        process = self.live[step.number % len(self.live)]
        at = "" if step.address == ADDRESSES[0] else f" at {step.address}"
        match step.word.split():
            case ["fork"]:
                yield from self.fork(process)
            case ["exit"]:
                yield from self.exit(process)
            case ["put"] | ["reference", _]:
                yield from self.use(value, step)
            case ["brief", *took]:
                yield from self.brief(value, process, " ".join(took), at)
            case [("ro" | "rw"), *_]:
                yield from self.gup(process, step.word, at)
            case ["write"] | ["force-write"]:
                yield f"{process}: {step.word} {value}{at}"
            case ["madvise", "hugepage"] if value > 1:
                return
            case ["uffdio-move"] if self.protects:
                return
            case ["collapse"] if self.divides:
                return
            case ["mremap"] | ["uffdio-move"]:
                target = ADDRESSES[1 - ADDRESSES.index(step.address)]
                yield f"{process}: {step.word}{at} to {target}"
            case _:
                yield f"{process}: {step.word}{at}"

    def fork(self, process: str) -> Iterator[str]:
        """A child, if there is a name for one."""
        if self.forked < len(PROCESSES):
            child = PROCESSES[self.forked]
            self.forked += 1
            self.live.append(child)
            yield f"{process}: fork {child}"

    def exit(self, process: str) -> Iterator[str]:
        """The exit of one of several; a copy that stands still would outlive it."""
        pinned = any(
            took.startswith("ro pin") and by == process
            for took, by in self.held.values()
        )
        if len(self.live) > 1 and not pinned:
            self.live.remove(process)
            yield f"{process}: exit"

    def gup(self, process: str, took: str, at: str) -> Iterator[str]:
        """A reference, if there is a name for one; "rw get" cannot be kept.

        futex(2) takes it, which does without FOLL_WRITE where mprotect forbids it.
        """
        keeps = not took.startswith("rw get")
        if self.protects and not keeps:
            return
        for name in self.new_reference():
            yield f"{process}: gup {name} = {took}{at}"
            if keeps:
                self.held[name] = took, process
            else:
                yield f"{name}: put"

    def brief(self, value: int, process: str, took: str, at: str) -> Iterator[str]:
        """A reference that is used at once and not kept."""
        for name in self.new_reference():
            yield f"{process}: gup {name} = {took}{at}"
            if took.startswith("rw"):
                yield f"{name}: write {value}"
            yield f"{name}: put"

    def new_reference(self) -> Iterator[str]:
        """A name for a reference, if there is one left."""
        if self.taken < len(REFERENCES):
            self.taken += 1
            yield REFERENCES[self.taken - 1]

    def use(self, value: int, step: Step) -> Iterator[str]:
        """What a holder does with a reference that is held."""
        names = list(self.held)
        if step.word == "reference write":
            names = [name for name in names if self.held[name][0].startswith("rw")]
        if not names:
            return
        name = names[step.number % len(names)]
        if step.word == "put":
            del self.held[name]
            yield f"{name}: put"
        elif step.word == "reference read":
            yield f"{name}: read"
        else:
            yield f"{name}: write {value}"


def text_of(steps: Sequence[Step]) -> str:
    """The litmus test of some steps; without any, one that only reads."""
    used = {step.word for step in steps}
    writer = _Writer("mprotect r" in used, not used.isdisjoint(DIVIDING))
    lines = ["litmus random"]
    for value, step in enumerate(steps, 1):
        lines += writer.lines(value, step)
    if len(lines) == 1:
        lines.append("A: read")
    return "\n".join([*lines, ""])
