"""The benchmark: what it measures, that it notices a difference, and its page."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from spec import bench
from spec.bench import (
    GROWTH,
    Differs,
    Job,
    Measured,
    Point,
    load_results,
    measure,
    same_counts,
)
from spec.cells import SpecificationError
from spec.publish import performance


def job(folder, code: str) -> Job:
    words = [sys.executable, "-c", code]
    return Job(words, folder, lambda said: (int(said), 0))


MEASURED = Measured("small", "one", [3.0, 1.0, 2.0], 0.0, 10, 20, 10, 4000)


def test_a_process_is_measured(tmp_path):
    usage = measure(job(tmp_path, "print(12)"))
    assert usage.said == "12\n"
    assert usage.seconds > 0


def test_memory_is_that_of_the_process_itself(tmp_path):
    small = measure(job(tmp_path, "print(1)"))
    large = measure(job(tmp_path, "print(len(bytearray(50_000_000)))"))
    assert 40_000_000 < large.bytes - small.bytes < 60_000_000


def test_a_process_that_fails_is_no_result(tmp_path):
    with pytest.raises(SpecificationError, match="ended with 3"):
        measure(job(tmp_path, "raise SystemExit(3)"))


def test_the_median_counts():
    assert MEASURED.median == 2.0


def test_engines_that_count_differently_are_no_result():
    other = replace(MEASURED, engine="other")
    same_counts([MEASURED, other, replace(other, bounds="large", states=99)])
    same_counts([MEASURED, replace(other, states=5, reduced=True)])
    with pytest.raises(Differs, match="one counts \\(10, 20\\) and other \\(11, 20\\)"):
        same_counts([MEASURED, replace(other, states=11)])


def test_an_engine_that_is_not_installed_says_so():
    engine = bench.Engine("none", bench.ENGINES[0].prepare, ("none_such", "sh", "json"))
    assert engine.missing() == ["none_such"]


def test_what_takes_long_is_run_less_often(monkeypatch):
    taken = iter([40.0, 30.0, 20.0])
    monkeypatch.setattr(bench, "measure", lambda job: bench.Usage(next(taken), 0, ""))
    rounds = list(bench._rounds([bench.Job([], None, None)], runs=3))
    assert [each.seconds for (each,) in rounds] == [40.0, 30.0]


def test_the_page_shows_what_is_kept():
    results = load_results()
    page = performance.performance_page()
    same_counts(results.measured)
    assert page.startswith("# Performance\n")
    assert results.date in page
    for each in results.measured:
        assert f"## Within {each.bounds}\n" in page
        shown = f"{each.engine} | {each.median:.2f} s | {len(each.seconds)} |"
        assert f"| {shown} {each.states:,} |" in page
    for what, points in results.growth.items():
        assert f"## Growth with {what}\n" in page
        measured = GROWTH[what][points[-1].size]
        assert f"At the right end: {'; '.join(measured.describe())}." in page


def test_the_page_without_results_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(performance, "RESULTS", tmp_path / "none.json")
    assert "Nothing is measured yet" in performance.performance_page()


def test_a_picture_has_its_points_and_its_twin():
    points = [Point(1, 10, 20, 0.1), Point(2, 1000, 5000, 0.2)]
    drawing = performance.chart("CPUs", points)
    assert drawing.svg().count("<circle") == 4
    assert "CPUs 2: 1,000 states, 5,000 transitions" in drawing.text
