"""Recorded observations of real kernels, replayed on the present models.

Nothing is booted here: a model that is changed must still allow what was seen.
"""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from spec.history import parse as numbers
from spec.kernel import selftests
from spec.kernel.compare import judge
from spec.kernel.guests.witness import Finding, finding
from spec.kernel.observe import Run
from spec.kernel.outcomes import nearest, outcomes
from spec.kernel.recorded import Record, Shown, read, records, run_from, run_json, write
from spec.kernel.verdicts import verdict
from spec.kernel.versions import (
    BACKPORTS,
    UNMODELLED,
    Unmodelled,
    backports,
    model_of,
    release_of,
    unmodelled,
    updated,
)
from spec.litmus.files import catalogue
from spec.litmus.parser import read as read_test
from spec.litmus.program import VERDICTS
from spec.litmus.run import run
from spec.publish import conformance
from spec.releases import RELEASES, find_model, linux

RECORDS = {record.name: record for record in records()}
TESTS = {name: read_test(path) for name, path in catalogue().items()}
WRONG = ("missed-cow", "wrong-cow", "lost")


def ran(record: Record) -> dict[str, tuple[Shown, Run]]:
    """What a kernel carried out."""
    return {n: (s, s.run) for n, s in record.shown.items() if s.run is not None}


def finding_of(record: Record, test: str) -> Finding:
    return finding(TESTS[test], record.shown[test], record.machine.release)


every = pytest.mark.parametrize("record", RECORDS.values(), ids=list(RECORDS))


def test_there_are_records_of_a_kernel_without_the_bit_and_of_three_with() -> None:
    releases = [numbers(record.release) for record in RECORDS.values()]
    assert min(releases) < (5, 19)
    assert sum(release > (5, 19) for release in releases) >= 3


@every
def test_the_model_of_the_release_allows_what_was_seen(record: Record) -> None:
    """The programs are taken from the record: the catalogue may have moved on."""
    assert len(ran(record)) >= 50
    refuted = {
        name
        for name, (shown, seen) in ran(record).items()
        if judge(shown.program(), record.model, seen)
    }
    assert refuted == {t for t in ran(record) if unmodelled(t, record.release)}


@every
def test_the_catalogue_has_the_verdict_that_was_shown(record: Record) -> None:
    """Where the worst that a release allows is not shown, the rest of it is."""
    for name, (shown, _) in ran(record).items():
        if shown.fits(TESTS[name]):
            found = finding_of(record, name)
            assert not found.unexpected, name
            if found.milder:
                assert len(found.outcomes) > 1, name


def test_5_10_shows_the_corruptions_of_its_time_and_no_other_kernel_does() -> None:
    wrong = {
        name: {
            test: verdict(TESTS[test], seen, record.model)
            for test, (_, seen) in ran(record).items()
        }
        for name, record in RECORDS.items()
    }
    found = {k: {t for t, v in w.items() if v in WRONG} for k, w in wrong.items()}
    leaks = {t for t, v in wrong["5.10"].items() if v == "missed-cow"}
    assert {"swap-entry-leak", "thp-vmsplice-leak", "swapout-leak"} <= leaks
    assert {"pin-mprotect", "exclusive-owner"} <= found["5.10"] - leaks
    assert {kernel for kernel, tests in found.items() if tests} == {"5.10"}


@pytest.mark.parametrize(
    ("kernel", "model", "test", "line"),
    [
        ("5.10", "upstream", "pin-mprotect", "A: write 1"),
        ("5.10", "mapcount", "vmsplice-leak", "A: write 2"),
        ("6.12", "linux-5.10", "pin-mprotect", "A: write 2"),
        ("6.12", "linux-5.18", "pin-unshares", "A: gup r = ro pin"),
        ("6.12", "sketch", "cow", "A: write 1"),
    ],
)
def test_a_record_refutes_a_model_that_the_kernel_is_not(
    kernel: str, model: str, test: str, line: str
) -> None:
    _, seen = ran(RECORDS[kernel])[test]
    difference = judge(TESTS[test], find_model(model), seen)
    assert difference is not None
    assert difference.operation == line


@every
def test_each_record_refutes_the_models_of_all_other_kinds(record: Record) -> None:
    seen = [(shown.program(), seen) for shown, seen in ran(record).values()]
    for name in ("mapcount", "force_cow", "sketch", "always"):
        other = find_model(name)
        assert any(judge(test, other, run) is not None for test, run in seen), name


@pytest.mark.parametrize("release", BACKPORTS)
def test_each_stable_change_is_in_the_record(release: str) -> None:
    """Without it the model does not allow what a kernel with its updates showed."""
    changes = backports(release)
    assert len(changes) == len(BACKPORTS[release])
    for change in changes:
        without = updated(release, [each for each in changes if each != change])
        seen = ran(RECORDS[release]).values()
        refuted = [s.test for s, r in seen if judge(s.program(), without, r)]
        assert refuted, change.commit


@pytest.mark.parametrize("each", UNMODELLED, ids=lambda each: each.test)
def test_a_difference_that_no_model_has_is_between_two_records(
    each: Unmodelled,
) -> None:
    kernels = [record for record in RECORDS.values() if each.test in ran(record)]
    older = [numbers(record.release) < numbers(each.before) for record in kernels]
    assert set(older) == {True, False}


def test_the_model_of_a_kernel() -> None:
    assert release_of("5.10.0-32-cloud-amd64") == "5.10"
    assert release_of("99.1.2") == "7.3"
    assert model_of("6.12.107").name == linux("6.12").model.name
    assert linux("5.10").model.without != model_of("5.10.0-32").without
    assert "AE-SWAP-3" in linux("5.10").model.without, "the release stays as it was"


# -- verdicts on observations ----------------------------------------------------------


def changed(seen: Run, line: int, name: str, page: int) -> Run:
    """The same, but that after `line` a process maps another page."""
    shown = seen.lines[line]
    assert shown is not None
    mapped = tuple(
        (at, replace(mapped, page=page) if at[0] == name else mapped)
        for at, mapped in shown.mapped
    )
    other = replace(shown, mapped=mapped)
    return replace(seen, lines=(*seen.lines[:line], other, *seen.lines[line + 1 :]))


def test_the_verdict_comes_from_the_observation() -> None:
    record = RECORDS["6.12"]
    _, leak = ran(record)["vmsplice-leak"]
    test = TESTS["vmsplice-leak"]
    assert verdict(test, leak, record.model) == "fine"
    last = len(test.operations) - 1
    assert verdict(test, changed(leak, last, "A", 1), record.model) == "missed-cow"

    _, pin = ran(record)["pin-mprotect"]
    test = TESTS["pin-mprotect"]
    write = next(n for n, o in enumerate(test.operations) if str(o) == "A: write 2")
    assert verdict(test, pin, record.model) == "fine"
    assert verdict(test, changed(pin, write, "A", 9), record.model) == "wrong-cow"


@pytest.mark.parametrize("model", ["mapcount", "force_cow", "page_count", "upstream"])
def test_the_verdict_on_each_outcome_is_one_of_the_model(model: str) -> None:
    """What a model would show, judged as an observation, comes to its own verdicts."""
    told = 0
    names = {name for record in RECORDS.values() for name in ran(record)}
    for name in sorted(names):
        test = TESTS[name]
        known = {outcome.verdict for outcome in run(test, find_model(model)).outcomes}
        looks = [True] * len(test.operations)
        for seen in outcomes(test, find_model(model), looks):
            said = verdict(test, seen, find_model(model))
            if said in VERDICTS and "side-effect" not in known:
                assert said in known, (name, said, known)
                told += said != "fine"
    assert told


# -- files -----------------------------------------------------------------------------


@every
def test_a_record_is_kept_as_it_was(record: Record, tmp_path: Path) -> None:
    assert read(write(record, tmp_path)) == record
    for _, seen in ran(record).values():
        assert run_from(json.loads(json.dumps(run_json(seen)))) == seen


def test_a_test_with_other_lines_is_not_what_was_observed() -> None:
    record = RECORDS["6.12"]
    shown = record.shown["cow"]
    assert shown.fits(TESTS["cow"])
    assert not shown.fits(TESTS["cow-three"])
    other = replace(record, shown={"cow": replace(shown, operations=("A: read",))})
    judged = conformance.judged(other)
    assert "cow" in judged.changed
    assert not judged.findings


# -- pages -----------------------------------------------------------------------------


def test_columns_of_the_table_of_releases() -> None:
    assert conformance.column("5.10") == "linux-5.9"
    assert conformance.column("7.2") == f"linux-{RELEASES[-1]}"


def test_predictions_stand_beside_what_was_shown() -> None:
    record = RECORDS["5.10"]
    _, seen = ran(record)["pin-mprotect"]
    looks = [line is not None for line in seen.lines]
    predicted = outcomes(TESTS["pin-mprotect"], record.model, looks)
    assert nearest(predicted, seen).lines == seen.lines
    page = "\n".join(conformance._corruptions(conformance.judged(record)))
    assert "### pin-mprotect {#pin-mprotect}" in page
    row = next(line for line in page.splitlines() if "| `A: write 2` |" in line)
    assert row.count("p2 . 1") == 2


# -- the kernel's own test -------------------------------------------------------------


@cache
def compared(kernel: str) -> list[selftests.Compared]:
    each = next(run for run in selftests.runs() if run.kernel == kernel)
    return list(selftests.compared(each))


@pytest.mark.parametrize("each", selftests.runs(), ids=lambda each: each.release)
def test_cow_c_failed_where_the_model_says_so(each: selftests.SelftestRun) -> None:
    done = compared(each.kernel)
    assert len(done) > 40
    unlike = {(p.case, p.kind) for p in done if not p.agrees}
    assert unlike <= set(selftests.UNLIKE)


def test_cow_c_tells_releases_apart() -> None:
    """Each is refuted by what another showed, where they have other models."""
    old, new = selftests.runs()[0], selftests.runs()[-1]
    assert old.totals()["fail"] > new.totals()["fail"] == 0
    for one, other in ((old, new), (new, old)):
        mixed = replace(one, kernel=other.kernel)
        refuted = [p for p in selftests.compared(mixed) if not p.agrees and not p.why]
        assert refuted


def test_each_program_that_is_unlike_cow_c_differs_somewhere() -> None:
    found = [p for each in selftests.runs() for p in compared(each.kernel)]
    assert {(p.case, p.kind) for p in found if not p.agrees} == set(selftests.UNLIKE)
