"""Named memory cells: what an operation reads and writes, and nothing else.

A `Record` (a page, a process, a reference) owns no data. Each of its fields is
a *cell*: a name such as ``p1.refcount`` and a finite set of values. Reading or
assigning a field goes to a `Cells` store, so that the same operation runs on a
plain dictionary in a notebook and under the checker, which notes what a step
read and wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, TypeVar, overload

Value = Hashable
Domain = Sequence[Value]
F = TypeVar("F")


class SpecificationError(Exception):
    """The specification is used in a way it does not define; says how."""


class Broken(SpecificationError):
    """A step would do what no state can hold: it breaks a guarantee at once.

    Args:
        guarantee: the id of the guarantee, for instance ``AE-INV-3``.
        why: one clause that names the page or process.
    """

    def __init__(self, guarantee: str, why: str) -> None:
        super().__init__(f"{guarantee}: {why}")
        self.guarantee = guarantee
        self.why = why


class Cells(Protocol):
    """What a record needs of a store."""

    def read(self, key: str) -> Any:
        """The value of the cell `key`."""

    def write(self, key: str, value: Value) -> None:
        """Give the cell `key` the value `value`."""

    def choose(self, question: str, options: Sequence[Value]) -> Any:
        """One of `options`; the checker tries them all."""


def alternatives[V](cells: Cells, options: Iterable[V]) -> tuple[V, ...]:
    """Of several that differ by name only, the first, if there is one.

    A checker that stores one state for all that differ by names only gets them all.
    """
    wanted = getattr(cells, "alternatives", None)
    return tuple(islice(options, 1)) if wanted is None else wanted(options)


class PlainCells:
    """A dictionary of cells, for running one execution at a time.

    Args:
        values: the cells and what they hold.
        chooser: answers `choose`; by default the first option.

    >>> cells = PlainCells({"p1.refcount": 1})
    >>> cells.write("p1.refcount", 2)
    >>> cells.read("p1.refcount")
    2
    """

    def __init__(
        self,
        values: dict[str, Value],
        chooser: Callable[[str, Sequence[Value]], Any] | None = None,
    ) -> None:
        self.values = values
        self.chooser = chooser or (lambda question, options: options[0])

    def read(self, key: str) -> Any:
        """The value of the cell `key`."""
        return self.values[key]

    def write(self, key: str, value: Value) -> None:
        """Give the cell `key` the value `value`."""
        self.values[key] = value

    def choose(self, question: str, options: Sequence[Value]) -> Any:
        """What the chooser answers."""
        return self.chooser(question, options)


class Record:
    """A structure whose fields are cells, for instance one page or one process.

    Two records are equal when they have the same name: they are handles, and
    what they hold is in the store.
    """

    def __init__(self, cells: Cells, name: str) -> None:
        self.cells = cells
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name

    @classmethod
    def fields(cls) -> dict[str, Field[Any] | FieldPerAddress[Any]]:
        """The cells that a record of this class owns, by field name."""
        kinds = (Field, FieldPerAddress)
        return {name: f for name, f in vars(cls).items() if isinstance(f, kinds)}

    def initial(self, addresses: Sequence[str]) -> Iterator[tuple[str, Value]]:
        """Each cell of this record with the value it starts with."""
        for field in type(self).fields().values():
            for key in field.keys(self.name, addresses):
                yield key, field.initial

    def reset(self, *names: str) -> None:
        """Give the named fields (by default all) the value they start with."""
        for name, field in type(self).fields().items():
            if isinstance(field, Field) and (not names or name in names):
                self.cells.write(field.key(self.name), field.initial)


class Field[F]:
    """One cell of each record of a class.

    Args:
        initial: the value it starts with.
        doc: what it stands for in the kernel, or that it is ghost state.
        ghost: true if no operation may decide by it: only guarantees read it.
    """

    def __init__(self, initial: F, doc: str, *, ghost: bool = False) -> None:
        self.initial = initial
        self.doc = doc
        self.ghost = ghost
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def key(self, record: str) -> str:
        """The name of this field's cell in `record`."""
        return f"{record}.{self.name}"

    def keys(self, record: str, addresses: Sequence[str]) -> list[str]:
        """The names of all cells of this field in `record`."""
        return [self.key(record)]

    @overload
    def __get__(self, record: None, owner: type) -> Field[F]: ...
    @overload
    def __get__(self, record: Record, owner: type) -> F: ...
    def __get__(self, record: Record | None, owner: type) -> Field[F] | F:
        if record is None:
            return self
        value: F = record.cells.read(f"{record.name}.{self.name}")
        return value

    def __set__(self, record: Record, value: F) -> None:
        record.cells.write(f"{record.name}.{self.name}", value)


class FieldPerAddress[F](Field[F]):
    """One cell for each virtual address: ``mm.pte["x"]``."""

    def keys(self, record: str, addresses: Sequence[str]) -> list[str]:
        """The names of all cells of this field in `record`."""
        return [f"{record}.{self.name}[{address}]" for address in addresses]

    def __get__(self, record: Record | None, owner: type) -> Any:
        return self if record is None else CellsByAddress(record, self.name)


class CellsByAddress[F]:
    """The cells of one field of one record, by virtual address."""

    def __init__(self, record: Record, field: str) -> None:
        self.record = record
        self.field = field

    def __getitem__(self, address: str) -> F:
        key = f"{self.record.name}.{self.field}[{address}]"
        value: F = self.record.cells.read(key)
        return value

    def __setitem__(self, address: str, value: F) -> None:
        self.record.cells.write(f"{self.record.name}.{self.field}[{address}]", value)
