# %% [markdown]
# # Store buffers: what a CPU may reorder
#
# All other chapters assume that every CPU sees the steps of the others in one order
# ([AE-ASM-1](bit.py#AE-ASM-1)). This chapter has the machine that does not keep it:
# CPUs with store buffers and early loads. The next one runs GUP-fast and its opponents
# on it.

# %%
from __future__ import annotations

from collections.abc import Hashable, Iterator

from spec.cells import Cells, Field, PlainCells, Record
from spec.checker.program import rest
from spec.counts import run
from spec.memory import Steps
from spec.shapes import Menu

# %% [markdown]
# ## What is reordered
#
# A store goes to the buffer of its CPU and reaches memory later, in a step of its own.
# A load may be satisfied early, in a step of its own, before what precedes it in the
# program. So the model has these reorderings, each between different locations:
#
# - a store after a later load (store buffer; the CPU itself sees its store),
# - a store after a later store, unless `smp_wmb()` or `smp_mb()` stands between,
# - a load after a later load, unless `smp_rmb()` or `smp_mb()` stands between,
# - an atomic operation without return value after a later load: it changes memory at
#   once, but it is no barrier; `smp_mb__after_atomic()` makes it one.
#
# It does not have these:
#
# - accesses to one location out of order,
# - a store before an earlier load: both operations store only what depends on what
#   they loaded, and stores are not speculated,
# - stores that reach some CPUs before others: memory is one.
#
# `clear_bit()` and the change of a PTE are atomic operations without order; here they
# are stores that go through the buffer, because a later store may overtake them.


# %%
class Memory(Record):
    """What all CPUs share."""

    pte = Field[str | None]("p1 R/O", "the entry that maps the page")
    references = Field(0, "references besides those that the clearer accounts for")
    anon_exclusive = Field(True, "the bit of the page")


Store = tuple[str, Hashable]
WMB: Store = ("smp_wmb", None)
"""Stands in a store buffer; what is behind it waits for what is before it."""


class Cpu(Record):
    """A CPU with its store buffer and its loads that were satisfied early."""

    buffer = Field[tuple[Store, ...]]((), "stores that memory does not have yet")
    early = Field[tuple[Store, ...]]((), "locations and what they were found to hold")
    reference = Field("", "`pending` once GUP-fast took it, `live` once returned")
    order = Field[tuple[str, ...]](
        (), "steps and barriers in program order", ghost=True
    )

    def __init__(self, world: Ordering, name: str) -> None:
        super().__init__(world.cells, name)
        self.world = world

    def obeys(self, id: str) -> bool:
        """Whether the rule is obeyed: false only while it is ablated."""
        return id not in self.world.without

    def store(self, place: str, value: Hashable, name: str) -> None:
        """Put a store into the buffer (``WRITE_ONCE``)."""
        self.forget(place)
        self.buffer = (*self.buffer, (place, value))
        self.order = (*self.order, name)

    def load(self, place: str, name: str) -> Hashable:
        """What the CPU finds (``READ_ONCE``): now, or what it found early."""
        found = dict(self.early)
        value = found[place] if place in found else self.sees(place)
        self.forget(place)
        self.order = (*self.order, name)
        return value

    def sees(self, place: str) -> Hashable:
        """The CPU's own latest store, or else what memory holds."""
        value: Hashable = getattr(self.world.memory, place)
        return dict(self.buffer).get(place, value)

    def forget(self, place: str) -> None:
        """Let the next load of this location find what is there then."""
        self.early = tuple(each for each in self.early if each[0] != place)

    def atomic_add(self, count: int, name: str) -> None:
        """Change the references in memory, at once; orders nothing else."""
        self.forget("references")
        self.world.memory.references += count
        self.order = (*self.order, name)

    def smp_wmb(self) -> None:
        """Later stores reach memory after those in the buffer."""
        if self.buffer:
            self.buffer = (*self.buffer, WMB)
        self.order = (*self.order, "smp_wmb")

    def smp_rmb(self) -> None:
        """Later loads find what memory holds from now on."""
        self.early = ()
        self.order = (*self.order, "smp_rmb")

    def smp_mb(self) -> Steps:
        """Wait until the buffer is empty; also ``smp_mb__after_atomic``."""
        yield lambda: not self.buffer
        self.early = ()
        self.order = (*self.order, "smp_mb")
        yield


class Ordering:
    """The world of this chapter: memory and CPUs."""

    def __init__(
        self, menus: tuple[Menu, ...], cells: Cells, without: frozenset[str]
    ) -> None:
        self.cells = cells
        self.without = without
        self.memory = Memory(cells, "memory")
        self.cpus = [Cpu(self, f"cpu{i}") for i in range(len(menus))]

    def records(self) -> Iterator[Record]:
        """All of them."""
        yield self.memory
        yield from self.cpus


# %% [markdown]
# The store buffer and the early loads of a CPU take steps on their own.


# %%
def store_buffer(cpu: Cpu) -> Steps:
    """Let any store reach memory that none before it in the buffer holds back."""
    while True:
        yield rest
        ready = cpu.cells.choose("reaches memory", tuple(drainable(cpu.buffer)))
        setattr(cpu.world.memory, ready, dict(reversed(cpu.buffer))[ready])
        cpu.buffer = without_first(cpu.buffer, ready)


def drainable(buffer: tuple[Store, ...]) -> list[str]:
    """The locations of the stores before the first write barrier."""
    first = buffer.index(WMB) if WMB in buffer else len(buffer)
    return list(dict.fromkeys(place for place, _ in buffer[:first]))


def without_first(buffer: tuple[Store, ...], place: str) -> tuple[Store, ...]:
    """The buffer after its oldest store to this location reached memory."""
    at = [each for each, _ in buffer].index(place)
    left = buffer[:at] + buffer[at + 1 :]
    return left[1:] if left[:1] == (WMB,) else left


def early_loads(cpu: Cpu) -> Steps:
    """Satisfy a load before what precedes it in the program."""
    while True:
        yield rest
        taken = [place for place, _ in cpu.early]
        left = tuple(place for place in Memory.fields() if place not in taken)
        place = cpu.cells.choose("is loaded early", left)
        cpu.early = tuple(sorted([*cpu.early, (place, cpu.sees(place))]))


# %% [markdown]
# ## Example
#
# A store is seen by its own CPU at once, by memory after the buffer is drained.

# %%
cells = PlainCells({})
world = Ordering((("gup_fast",), ("ksm",)), cells, frozenset())
cells.values.update((k, v) for record in world.records() for k, v in record.initial(()))
cpu = world.cpus[1]
cpu.store("pte", None, "A1")
assert (cpu.sees("pte"), world.memory.pte) == (None, "p1 R/O")
drain = store_buffer(cpu)
assert [next(drain), next(drain)] == [rest, rest]
assert world.memory.pte is None
run(cpu.smp_mb())
