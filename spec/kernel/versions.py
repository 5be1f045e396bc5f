"""The model of a kernel that is run: of its release, as stable updates changed it.

A distribution serves a release with what the stable team took from later ones. What
of it can be seen in a sequential program is listed here; the recorded observations
tell whether the list is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass

from spec.cells import SpecificationError
from spec.decisions import Model
from spec.history import parse as numbers
from spec.releases import CHANGES, NEWEST, Change, linux

BACKPORTS = {"5.10": ("feb889fb40fa", "9348b73c2e1b", "6c8e2a256915")}
"""By release, the commits (their ids in Linus' tree) that its stable updates have."""


@dataclass(frozen=True)
class Unmodelled:
    """A way in which releases differ that no model has.

    Attributes:
        test: shows it.
        before: the first release that does as the model does.
        why: what it is.
    """

    test: str
    before: str
    why: str


UNMODELLED = (
    Unmodelled(
        "selftest-collapse-shared",
        before="6.18",
        why="MADV_COLLAPSE refuses a range without a writable PTE (SCAN_PAGE_RO) until "
        '"mm: enable khugepaged anonymous collapse on non-writable regions"; the '
        "model collapses it in every release.",
    ),
    Unmodelled(
        "ksm-unmerge-uffd-wp",
        before="6.2",
        why="Before 6cce3314b928 (6.2) break_ksm() gives up where userfaultfd protects "
        "the address: the KSM page stays mapped. The model breaks COW there.",
    ),
)
"""What recorded kernels show and their models do not allow. A test makes sure that this
is all, and that none of it is out of date."""


def unmodelled(test: str, release: str) -> str:
    """Why a release may differ from its model on a test; empty if it may not."""
    return "".join(
        each.why
        for each in UNMODELLED
        if each.test == test and numbers(release) < numbers(each.before)
    )


def release_of(version: str) -> str:
    """The release of a kernel, or the newest that has a model.

    Raises:
        SpecificationError: it is no version of Linux.

    >>> release_of("6.12.107+deb13-cloud-amd64"), release_of("9.9")
    ('6.12', '7.3')
    """
    found = re.match(r"\d+\.\d+", version)
    if not found:
        raise SpecificationError(f"{version!r} is no version of Linux, as 6.12.1")
    return min(found[0], NEWEST, key=numbers)


def model_of(version: str) -> Model:
    """The model of the kernel with this version.

    >>> model_of("5.10.0-32-cloud-amd64").without < linux("5.10").model.without
    True
    """
    release = release_of(version)
    return updated(release, backports(release))


def backports(release: str) -> list[Change]:
    """The changes that stable updates of a release have."""
    return [each for each in CHANGES if each.commit in BACKPORTS.get(release, ())]


def updated(release: str, changes: Iterable[Change]) -> Model:
    """The model of a release with some changes that came later."""
    model = copy(linux(release).model)
    for change in changes:
        later = linux(change.release).model
        answers = {name: getattr(later, name) for name in change.answers}
        without = model.without - set(change.rules)
        vars(model).update(answers, without=without)
    return model
