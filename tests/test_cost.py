"""Counted costs: expectations are a kernel developer's, not the first run's."""

from __future__ import annotations

import pytest

from spec.cost import costs
from spec.models import MODELS
from spec.workloads import WORKLOADS

N = 4


def count(name: str, model: str, what: str, *without: str) -> int:
    """One count of a workload where permissions make no difference to it."""
    found = costs(WORKLOADS[name], MODELS[model], frozenset(without), N)
    least, most = found[what]
    assert least == most
    return least


# -- fork without GUP ------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["fork", "fork-lru", "fork-swapcache"])
def test_without_gup_fork_neither_copies_nor_faults_in_any_model(name, model):
    for what in ("copies", "write", "read", "unshare", "slow", "count"):
        assert count(name, model, what) == 0, what


def test_what_fork_looks_at_without_gup():
    """One look at the bit in the sketch; upstream the bit is set, so pins as well."""
    looked = {
        model: tuple(count("fork", model, what) for what in ("bit", "pin", "clears"))
        for model in ("mapcount", "page_count", "sketch", "upstream", "always")
    }
    assert looked == {
        "mapcount": (0, 0, 0),
        "page_count": (0, N, 0),
        "sketch": (N, 0, 0),
        "upstream": (N, N, N),
        "always": (N, N, N),
    }


def test_the_bit_is_set_at_first_touch_only_where_it_is_always_maintained():
    found = {model: count("touch", model, "sets") for model in MODELS}
    assert found == dict.fromkeys(MODELS, 0) | {"upstream": N, "always": N}
    assert {count("touch", model, "write") for model in MODELS} == {N}


def test_after_fork_the_first_writer_copies():
    """The parent copies; the child is left alone with the page and may keep it."""
    for model, found in (
        (m, costs(WORKLOADS["fork-write"], MODELS[m])) for m in MODELS
    ):
        counting = model not in ("mapcount", "force_cow")
        assert found["copies"] == (N, 2 * N if counting else N), model
        assert found["write"] == (2 * N, 2 * N), model


def test_a_shell_parent_keeps_its_pages_if_it_may():
    """The child is gone: every write faults, and a permission decides on the copy."""
    for model in ("page_count", "sketch", "upstream"):
        found = costs(WORKLOADS["shell"], MODELS[model])
        assert found["copies"] == (0, 3 * N)
        assert found["write"] == (3 * N, 3 * N)
    assert count("shell", "mapcount", "copies") == 0


# -- what would break the sketch's promise ---------------------------------------------


def test_without_fork_4_the_sketch_looks_at_counts_and_copies():
    assert count("fork", "sketch", "count", "AE-FORK-4") == N
    assert count("fork", "sketch", "copies", "AE-FORK-4") == 0
    assert count("fork-lru", "sketch", "copies", "AE-FORK-4") == N


def test_without_set_4_every_transient_reference_forces_a_copy():
    assert count("touch", "sketch", "sets", "AE-SET-4") == N
    assert count("fork", "sketch", "count", "AE-SET-4") == N
    assert count("fork", "sketch", "copies", "AE-SET-4") == 0
    assert count("fork-lru", "sketch", "copies", "AE-SET-4") == N


# -- GUP -------------------------------------------------------------------------------


def test_the_first_gup_fast_of_a_page_takes_the_slow_path_in_the_sketch_only():
    slow = {model: count("gup-fast", model, "slow") for model in MODELS}
    assert slow == dict.fromkeys(MODELS, 0) | {"sketch": N}
    again = {model: count("gup-fast-again", model, "slow") for model in MODELS}
    assert again == dict.fromkeys(MODELS, 0)


def test_gup_of_a_writable_page_needs_no_fault_and_no_count():
    for what in ("write", "read", "unshare", "copies", "count"):
        assert count("gup-fast", "sketch", what) == 0
    assert count("gup-fast", "sketch", "sets") == N


@pytest.mark.parametrize(
    ("name", "copying", "unsharing"),
    [
        (
            "vmsplice",
            {"force_cow", "unshare_v1", "always", "sketch"},
            {"unshare_v1", "always", "sketch"},
        ),
        (
            "pin-shared",
            {"force_cow", "unshare_v1", "always", "sketch", "upstream"},
            {"unshare_v1", "always", "sketch", "upstream"},
        ),
    ],
)
def test_who_copies_for_a_reader_of_a_shared_page(name, copying, unsharing):
    for model in MODELS:
        assert count(name, model, "copies") == N * (model in copying), model
        assert count(name, model, "unshare") == N * (model in unsharing), model
    assert count(name, "force_cow", "write") == N


# -- fork with references --------------------------------------------------------------


def test_fork_copies_what_is_referenced_or_the_parents_write_does():
    """Somebody pays: the child's copy at fork, or the parent's at its next write."""
    for name in ("fork-ro-get", "fork-rw-get"):
        assert count(name, "sketch", "copies") == N
        assert count(name, "sketch", "write") == 0
        assert count(name, "upstream", "copies") == N
        assert count(name, "upstream", "write") == N
    for model in ("page_count", "sketch", "upstream", "always"):
        assert count("fork-rw-pin", model, "copies") == N
        assert count("fork-rw-pin", model, "write") == 0
    assert count("fork-rw-pin", "mapcount", "write") == N


def test_after_the_put_only_the_sketch_tests_the_count_and_transients_cost_it_copies():
    assert count("fork-put", "sketch", "copies") == 0
    assert count("fork-put", "sketch", "count") == N
    assert count("fork-put", "upstream", "count") == 0
    assert count("fork-put", "upstream", "pin") == N
    assert count("fork-put-lru", "sketch", "copies") == N
    for model in ("page_count", "upstream", "always"):
        assert count("fork-put-lru", model, "copies") == 0


def test_the_first_fork_after_the_put_ends_the_tests():
    """It shares the page and clears the bit, which the next forks find clear."""
    assert count("shell-put", "sketch", "clears") == N
    assert count("shell-put", "upstream", "clears") == 3 * N


# -- swap ------------------------------------------------------------------------------


def test_swapping_in_reads_then_writes():
    for model in MODELS:
        found = costs(WORKLOADS["swap"], MODELS[model])
        assert found["read"] == (N, N), model
        assert found["write"] == (N, N), model
        assert found["undone"] == (0, 0), model


def test_a_held_page_stays_in_the_sketch_and_a_pinned_one_in_all_since_5_11():
    for what in ("read", "write", "copies"):
        assert count("swap-get", "sketch", what) == 0
        assert count("swap-pin", "upstream", what) == 0
    assert count("swap-get", "sketch", "undone") == N
    assert count("swap-pin", "upstream", "undone") == N
    assert count("swap-get", "upstream", "undone") == 0
    assert count("swap-get", "upstream", "copies") == 0
    assert count("swap-get", "page_count", "copies") == N
