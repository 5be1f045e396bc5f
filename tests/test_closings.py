"""The counted costs of the two closings, on the page of findings."""

import pytest

from spec.closings import CLOSINGS, WORKLOADS, Workload, costs

HELD = [workload for workload in WORKLOADS if workload.held]


@pytest.mark.parametrize("workload", HELD, ids=lambda workload: workload.title)
def test_refusing_undoes_what_carrying_does(workload: Workload) -> None:
    refused = costs(workload, CLOSINGS["refuse"])
    carried = costs(workload, CLOSINGS["carry"])
    assert (refused["undone"], refused["entries"], refused["back"]) == (1, 0, 0)
    assert (carried["undone"], carried["entries"], carried["back"]) == (0, 1, 1)
    assert refused["copies"] == carried["copies"] == int(workload.forks)


def test_without_a_reference_both_are_the_same() -> None:
    for workload in set(WORKLOADS) - set(HELD):
        assert costs(workload, CLOSINGS["refuse"]) == costs(workload, CLOSINGS["carry"])
