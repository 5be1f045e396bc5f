"""The command line, right and wrong use."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from spec.cli import main


def call(*words: str):
    return CliRunner().invoke(main, list(words))


def test_check_says_that_all_holds():
    result = call("check")
    assert result.exit_code == 0
    assert "All guarantees hold" in result.output


def test_check_as_json():
    result = call("check", "--model", "upstream", "--json")
    found = json.loads(result.stdout)
    assert found["holds"]
    assert found["complete"]
    assert set(found["guarantees"].values()) == {"holds"}


@pytest.mark.parametrize(
    "words",
    [
        ["--reduce", "symmetry"],
        ["--reduce", "order", "--engine", "numba"],
        ["--reduce", "all"],
        ["--engine", "numpy"],
        ["--memory", "1M"],
        ["--afresh"],
    ],
)
def test_however_it_is_explored_the_verdict_is_the_same(words):
    result = call("check", *words)
    assert result.exit_code == 0
    assert "All guarantees hold" in result.output


def test_check_goes_on_from_a_folder(tmp_path):
    first, again = (call("check", "--resume", str(tmp_path)) for _ in range(2))
    assert first.exit_code == again.exit_code == 0
    assert [line.rpartition(", ")[0] for line in first.output.splitlines()] == [
        line.rpartition(", ")[0] for line in again.output.splitlines()
    ]


def test_check_shows_the_trace_of_a_model_that_leaks():
    result = call("check", "--model", "mapcount")
    assert result.exit_code == 1
    assert "VIOLATED: AE-INV-1" in result.output
    assert all(len(line) <= 72 for line in result.output.splitlines())


def test_check_without_a_rule_says_that_it_took_effect():
    result = call("check", "--without", "ae-fork-2", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert found["took_effect"]["AE-FORK-2"] > 0
    assert found["violations"][0]["property"] in ("AE-INV-1", "AE-INV-2")


def test_an_ablated_check_claims_no_more_than_it_checked():
    result = call("check", "--without", "AE-CLR-3")
    assert result.exit_code == 0
    assert "every explored step keeps the rules" not in result.output
    found = json.loads(call("check", "--without", "AE-CLR-3", "--json").stdout)
    assert found["guarantees"]["AE-INV-1"] == "holds"
    assert found["guarantees"]["AE-INV-4"] == "not checked"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["check", "--model", "upsteam"], "the nearest is 'upstream'"),
        (["check", "--bounds", "smal"], "the nearest is 'small'"),
        (["check", "--without", "AE-FORK-22"], "the nearest is AE-FORK-2"),
        (["check", "--without", "AE-INV-1"], "no rule that operations obey"),
        (
            ["check", "--model", "mapcount", "--without", "AE-FORK-2"],
            "no rule of the model",
        ),
        (["cite", "AE-GPU-1"], "the nearest is AE-GUP-1"),
        (["check", "--memory", "much"], "no size of memory"),
        (["check", "--resume", "/dev/null/x"], "states cannot be kept in"),
        (["ablate", "FORK-2"], "the nearest is AE-FORK-2"),
        (["ablate", "AE-INV-1"], "no rule that operations obey"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(words, says):
    result = call(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_ablate_one_rule():
    result = call("ablate", "AE-FORK-5")
    assert result.exit_code == 0
    assert "breaks AE-INV-1" in result.output


def test_rules_lists_ids_and_sentences():
    result = call("rules", "--json")
    listed = {r["id"]: r for r in json.loads(result.stdout)}
    assert listed["AE-FORK-2"]["modal"] == "MUST NOT"


def test_cite_is_ascii_and_fits_an_email():
    result = call("cite", "AE-FORK-2", "AE-COW-1")
    assert result.output.isascii()
    assert all(len(line) <= 72 for line in result.output.splitlines())
    assert "AE-FORK-2 revision 1" in result.output
