"""Counted costs: expectations are a kernel developer's, not the first run's."""

from __future__ import annotations

import json
import sys
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from spec.claims import BASELINE, CLAIMS, SKETCHED, SUBJECTS
from spec.cli import main
from spec.cost import COUNTED, costs
from spec.findings import FINDINGS
from spec.models import MODELS
from spec.publish import costs as publish
from spec.publish.pages import Site
from spec.publish.verdicts import Store
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


def test_only_the_sketch_forgets_the_bit_at_swap_out():
    """What comes back has no bit there, and its write may copy."""
    assert costs(WORKLOADS["swap"], MODELS["sketch"])["copies"] == (0, N)
    assert count("swap", "upstream", "copies") == 0
    assert count("swap", "upstream", "sets") == N


# -- how it is counted -----------------------------------------------------------------


@pytest.mark.parametrize("pages", [1, 2, 4])
@pytest.mark.parametrize("name", WORKLOADS)
def test_costs_grow_with_the_pages(name, pages):
    one = costs(WORKLOADS[name], MODELS["sketch"], pages=1)
    many = costs(WORKLOADS[name], MODELS["sketch"], pages=pages)
    assert many == {key: (a * pages, b * pages) for key, (a, b) in one.items()}


def test_the_probes_are_gone_afterwards():
    costs(WORKLOADS["touch"], MODELS["sketch"])
    assert sys.monitoring.get_tool(3) is None


def test_each_thing_that_is_counted_happens_in_some_workload():
    for key in COUNTED:
        assert any(
            costs(workload, model)[key][1] > 0
            for workload in WORKLOADS.values()
            for model in MODELS.values()
        ), key


# -- claims ----------------------------------------------------------------------------


def verdicts(id: str) -> list[str]:
    """The verdict of a claim on each subject."""
    claim = next(claim for claim in CLAIMS if claim.id == id)
    return [claim.verdict(subject) for subject in SUBJECTS]


def test_the_sketch_keeps_its_promises_and_pays_its_prices():
    assert {c.verdict(SKETCHED) for c in CLAIMS if not c.price} == {"kept"}
    assert {c.verdict(SKETCHED) for c in CLAIMS if c.price} == {"paid"}


def test_fork_stays_cheap_only_with_both_rules_or_without_the_count():
    """Upstream sets the bit always and asks for pins instead of the count."""
    assert verdicts("no-gup-no-changes") == ["kept", *["not kept"] * 2, *["kept"] * 2]


def test_the_bit_is_set_always_upstream_and_without_set_4():
    said = ["kept", "not kept", "kept", "not kept", "not kept"]
    assert verdicts("not-always") == said


def test_a_promise_is_broken_by_the_kernel_of_the_time_too():
    foll_get = next(claim for claim in CLAIMS if claim.id == "foll-get")
    assert foll_get.verdict(BASELINE) == "not kept"


def test_what_a_finding_says_it_costs_is_quoted_from_it():
    by_id = {finding.id: finding for finding in FINDINGS}
    quoting = [c for c in CLAIMS if c.source.startswith("finding ")]
    assert quoting
    for claim in quoting:
        assert claim.sentence in by_id[claim.source.removeprefix("finding ")].cost


# -- the page and the command ----------------------------------------------------------


@pytest.fixture(scope="module")
def page() -> str:
    return publish.cost_page(Site(Store()))


def test_the_page_has_every_model_workload_count_and_claim(page):
    for name in WORKLOADS:
        assert f"### {name} {{#{name} data-search-exclude}}" in page
    for claim in CLAIMS:
        assert f"[{claim.title}](#{claim.id}) | {claim.sentence} |" in page
        assert f": {claim.title} {{#{claim.id}}}" in page
    assert "| Workload | " + " | ".join(MODELS) + " |" in page
    for title, meaning in COUNTED.values():
        assert f"### {title[0].upper()}{title[1:]}" in page
        assert meaning[1:] in page


def test_the_table_says_what_was_counted(page):
    copies = page.partition("### Copies")[2].partition("###")[0]
    assert (
        "| [shell](#shell) | 0 | 0 | 0..12 | 0..12 | 0..12 | 0..12 | 0..12 |" in copies
    )
    assert "[fork](#fork)" not in copies


def test_the_pictures_can_be_read_by_a_screen_reader(page):
    drawn = [part.partition("</div>")[0] for part in page.split("data-search-exclude>")]
    pictures = [ET.fromstring(part) for part in drawn[1:]]
    assert len(pictures) == 2
    for picture in pictures:
        said = [element.tag.partition("}")[2] for element in picture][:2]
        assert said == ["title", "desc"]
        assert all(element.text for element in picture[:2])
        labels = " ".join(element.text or "" for element in picture.iter())
        for model in publish.COMPARED:
            assert model in labels


def call(*words):
    return CliRunner().invoke(main, ["cost", *words])


def test_the_command_fits_80_columns_with_all_models():
    result = call()
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert result.output.isascii()
    for workload in WORKLOADS.values():
        assert f"{workload.name}: {workload.title}" in result.output


def test_the_command_gives_machines_the_same():
    rows = json.loads(call("fork", "shell", "--model", "sketch", "--json").stdout)
    assert [row["workload"] for row in rows] == ["fork", "shell"]
    assert rows[0]["counts"]["bit"] == [N, N]
    assert rows[1]["counts"]["copies"] == [0, 3 * N]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shel"], "no workload named 'shel'; expected one of"),
        (["shell", "--model", "upsteam"], "the nearest is 'upstream'"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(words, says):
    result = call(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
