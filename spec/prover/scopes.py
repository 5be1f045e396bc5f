"""What a proof is about: base pages, or large folios.

Both have the same invariant and the same operations. They differ by what a state has.
With base pages there is no large folio and no PMD that maps one. With large folios
there are neither swap nor KSM, and nobody waits for a write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spec.prover.state import NAMES, OF_CONTENTS, OF_FOLIOS, OF_SWAP


@dataclass(frozen=True)
class Scope:
    """What exists in the states that a proof is about.

    Attributes:
        name: for people.
        fixed: cells that hold the same in all these states, and what they hold.
        absent: fields that are false of everything.
        names: what steps call things, by sort.
        pairs: pages that can be a large folio, head first.
    """

    name: str
    fixed: Mapping[str, Any]
    absent: frozenset[str]
    names: Mapping[str, tuple[str, ...]]
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def has_folios(self) -> bool:
        """Whether some pages are parts of a large folio."""
        return bool(self.pairs)

    def named(self, name: str) -> str:
        """What an operation or a sentence is called in a table of obligations."""
        return f"{name}, {self.name}" if self.has_folios else name

    def pair(self, page: str) -> tuple[str, ...]:
        """The pages that can be a large folio with this one; else the page alone.

        Pages are numbered from 1, and the first page of a row has an odd number.

        >>> LARGE.pair("p4"), BASE.pair("p4")
        (('p3', 'p4'), ('p4',))
        """
        number = page.removeprefix("p")
        if not self.has_folios or not number.isdigit():
            return (page,)
        first = (int(number) - 1) // 2 * 2 + 1
        return f"p{first}", f"p{first + 1}"

    def has(self, field: str) -> bool:
        """Whether the states have a field."""
        return field not in self.absent


BASE = Scope(
    "base pages",
    {"head": None, "entire_mapcount": 0, "pmd": None},
    OF_FOLIOS,
    NAMES,
)
LARGE = Scope(
    "large folios",
    {
        **dict.fromkeys(("ksm", "dirty", "swapbacked", "writeback"), False),
        "swap": None,
        "tracked": "",
        "value": 0,
        "expected": 0,
    },
    OF_SWAP | OF_CONTENTS,
    NAMES | {"p": ("p1", "p2", "p3", "p4", "p5", "p6")},
    (("p1", "p2"), ("p3", "p4"), ("p5", "p6")),
)
"""A folio has two pages, as a process has two addresses; that is what the bounds have.

Of processes, folios, references and CPUs there is any number.
"""

ALL = (BASE, LARGE)
SCOPES = {scope.name: scope for scope in ALL}


def scope_of(operation: str) -> Scope:
    """What a proof is about in which an operation has this name.

    >>> scope_of("fork").name, scope_of("fork, large folios").name
    ('base pages', 'large folios')
    """
    return LARGE if operation.endswith(f", {LARGE.name}") else BASE
