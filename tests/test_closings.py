"""The counted costs of the two closings, on the page of findings."""

import pytest

from spec.closings import CLOSINGS, COUNTED, WORKLOADS, Workload, costs

HELD = [workload for workload in WORKLOADS if workload.held]


@pytest.mark.parametrize("workload", HELD, ids=lambda workload: workload.title)
def test_refusing_undoes_what_carrying_does(workload: Workload) -> None:
    refused = costs(workload, CLOSINGS["refuse"])
    carried = costs(workload, CLOSINGS["carry"])
    entries = ("undone", "entries", "back")
    assert [refused[key] for key in entries] == [(1, 1), (0, 0), (0, 0)]
    assert [carried[key] for key in entries] == [(0, 0), (1, 1), (1, 1)]
    copied = int(workload.forks)
    assert refused["copies"] == carried["copies"] == (copied, copied)


def test_without_a_reference_both_are_the_same() -> None:
    for workload in set(WORKLOADS) - set(HELD):
        refused = costs(workload, CLOSINGS["refuse"])
        carried = costs(workload, CLOSINGS["carry"])
        assert [refused[key] for key in COUNTED] == [carried[key] for key in COUNTED]
