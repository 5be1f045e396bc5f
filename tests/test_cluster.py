"""Explorations on a Dask cluster: two workers, TCP, loopback only."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from click.testing import CliRunner

from spec.bounds import BOUNDS, RECLAIM, check, find_model, program
from spec.checker.explore import explore
from spec.checker.packing import Layout
from spec.checker.program import Options, Program, StateProperty
from spec.cli import main

distributed = pytest.importorskip(
    "distributed", reason="the cluster needs Dask's distributed, which is missing"
)

from spec.checker import cluster as engine  # noqa: E402
from spec.checker import connection  # noqa: E402
from spec.checker.shards import (  # noqa: E402
    NOTHING,
    Parcels,
    Shards,
    Stale,
    unpack,
    unpacked,
)

SMALL = BOUNDS["small"].sections[1]
NUMPY = Options("numpy")


@pytest.fixture(scope="module")
def address():
    """Of a scheduler with two workers, which are processes of their own."""
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        protocol="tcp://",
        dashboard_address=None,
        memory_limit=0,
    ) as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        yield cluster.scheduler_address


@pytest.fixture
def cluster(address, monkeypatch):
    """A connection; explorations are sent there from their second level on."""
    monkeypatch.setattr(engine, "WORTH", 20)
    made = connection.Cluster(address)
    made.client.wait_for_workers(2, timeout=30)
    yield made
    made.close()


def found(verdict):
    return (
        (verdict.states, verdict.transitions, verdict.depth, verdict.complete),
        verdict.violations,
        verdict.watched,
        verdict.witnesses,
    )


# -- the same results ------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted", ["numpy", pytest.param("numba", marks=pytest.mark.slow)]
)
def test_counts_are_those_of_one_machine(cluster, wanted):
    made = program(SMALL, find_model("upstream"))
    verdict = engine.explore_on(cluster, made, options=Options(wanted))
    assert found(verdict) == found(explore(made, options=NUMPY))
    assert sum(cluster.cost.states.values()) == verdict.states
    assert len(cluster.cost.states) == 2
    assert min(cluster.cost.states.values()) > 0
    assert cluster.cost.exchanged > 0
    assert cluster.cost.restarts == 0


@pytest.mark.parametrize(
    ("model", "without"), [("mapcount", None), ("sketch", "AE-FORK-5")]
)
def test_violations_are_shown_alike(cluster, model, without):
    made = program(SMALL, find_model(model), frozenset({without} - {None}))
    here = explore(made, options=NUMPY)
    assert found(engine.explore_on(cluster, made, options=NUMPY)) == found(here)
    assert here.violations


@pytest.mark.parametrize(
    "options",
    [
        Options("numpy", memory=1),
        pytest.param(Options(symmetry=True), marks=pytest.mark.slow),
    ],
)
def test_levels_may_go_to_disk_and_names_may_be_alike(cluster, options, monkeypatch):
    monkeypatch.setattr(engine, "WORTH", 150)
    made = program(SMALL, find_model("sketch"))
    there = engine.explore_on(cluster, made, options=options)
    assert found(there) == found(explore(made, options=options))


def test_a_program_with_many_values_and_a_deadlock(cluster):
    def counts(own, other):
        def thread(cells):
            yield
            for n in range(10):
                cells.write(own, n)
                yield
            yield lambda: cells.read(other) > 99

        return thread

    made = Program(
        [{"a": 0, "b": 0}],
        {"x": counts("a", "b"), "y": counts("b", "a")},
        states=[StateProperty("small", lambda cells: cells.read("a") < 99)],
    )
    there = engine.explore_on(cluster, made, options=NUMPY)
    assert found(there) == found(explore(made, options=NUMPY))
    assert [v.property for v in there.violations] == ["deadlock"]


# -- workers are lost ------------------------------------------------------------------


def kill_one(cluster):
    """End the process of a worker at once."""
    os.kill(min(cluster.client.run(os.getpid).values()), signal.SIGKILL)


@pytest.mark.parametrize("at", [1, pytest.param(25, marks=pytest.mark.slow)])
def test_a_lost_worker_costs_a_level(cluster, monkeypatch, at):
    """At the first exchange, or in the middle of a level when many went well."""
    made = program(RECLAIM[0], find_model("sketch"))
    monkeypatch.setattr(engine, "WORTH", 2000)
    results, calls = connection.Cluster.results, iter(range(1000))

    def killing(self, futures, party):
        if next(calls) == at:
            kill_one(self)
        return results(self, futures, party)

    monkeypatch.setattr(connection.Cluster, "results", killing)
    verdict = engine.explore_on(cluster, made, options=NUMPY)
    assert found(verdict) == found(explore(made, options=NUMPY))
    assert next(calls) > at
    assert cluster.cost.restarts >= 1
    assert cluster.cost.lost > 0
    assert "restarted" in cluster.cost.line()
    assert sum(cluster.cost.states.values()) == verdict.states


def test_workers_that_always_fail_are_given_up(cluster, monkeypatch):
    def failing(self, futures, party):
        raise connection.WorkerLost

    monkeypatch.setattr(connection.Cluster, "results", failing)
    with pytest.raises(connection.ClusterError, match="failed 10 times"):
        engine.explore_on(cluster, program(SMALL, find_model("sketch")))


def test_a_worker_that_has_lost_its_states_says_so():
    layout = Layout(["n"], [256], 0)
    shards = Shards(layout)
    rows = np.arange(6, dtype=np.uint32).reshape(-1, 1)
    assert len(shards.add(1, 0, [rows[:2], rows[1:4]])) == 4
    with pytest.raises(Stale):
        shards.add(2, 5, [rows])
    assert len(shards.add(3, 2, [rows])) == 4
    with pytest.raises(Stale):
        shards.add(2, 2, [rows])
    assert shards.states.size == 6


def test_parcels_hold_what_has_changed():
    first = np.arange(50_000)
    second = np.append(first, 7)
    second[400] = 0
    parcels, kept = Parcels(), NOTHING
    sizes = []
    for value in (first, second):
        parcel = parcels.pack(value)
        kept = unpack(kept, parcel)
        assert np.array_equal(unpacked(kept), value)
        sizes.append(len(parcel))
    assert sizes[1] * 10 < sizes[0]
    assert parcels.pack(second) is None


# -- the command line, and mistakes ----------------------------------------------------


def call(*words):
    return CliRunner().invoke(main, ["check", *words])


def test_check_says_what_the_cluster_cost(cluster, address):
    here = check("small", "sketch", ["AE-FORK-5"], options=NUMPY)
    words = ["--without", "AE-FORK-5", "--engine", "numpy", "--json"]
    result = call(*words, "--cluster", address)
    there = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (there["states"], there["transitions"]) == (here.states, here.transitions)
    assert there["violations"][0]["depth"] == here.violations[0].depth
    assert there["cluster"]["levels_restarted"] == 0
    assert sum(there["cluster"]["states"].values()) == here.states


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at 'tcp://127.0.0.1:1'"),
        ("nowhere://x:1", "'nowhere://x:1' is no address of a Dask scheduler"),
        ("127.0.0.1:x", "'127.0.0.1:x' is no address of a Dask scheduler"),
        ("", "'' is no address of a Dask scheduler"),
    ],
)
def test_an_address_without_scheduler_is_a_mistake(address, sentence, monkeypatch):
    monkeypatch.setattr(connection, "PATIENCE", 1)
    result = call("--cluster", address)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {sentence}")
    assert len(result.stderr.splitlines()) == 1


def test_workers_of_another_version_are_refused(cluster, monkeypatch):
    monkeypatch.setattr(cluster.client, "run", lambda *_, **__: {"w": "other"})
    with pytest.raises(connection.ClusterError, match="install the same"):
        cluster.workers()


def test_a_cluster_without_workers_is_refused(cluster, monkeypatch):
    def nobody(*_, **__):
        raise TimeoutError

    monkeypatch.setattr(cluster.client, "wait_for_workers", nobody)
    with pytest.raises(connection.ClusterError, match="has no workers"):
        cluster.workers()
