"""Litmus tests: the parser, the runner, the catalogue, the commands."""

import json
import re
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spec.litmus import commands, show
from spec.litmus.files import catalogue
from spec.litmus.parser import LitmusError, parse, read
from spec.litmus.program import VERDICTS
from spec.litmus.run import Result, names_of, run, trace
from spec.models import MODELS

CATALOGUE = {name: read(path) for name, path in catalogue().items()}
BEGIN = "litmus t\nA: write 1\n"

cli = click.Group(commands={"run": commands.run, "litmus": commands.litmus})


def invoke(*arguments: str):
    return CliRunner().invoke(cli, arguments)


# -- the parser -----------------------------------------------------------------------

EVERYTHING = """# before the header

litmus every-thing
# A story
# of two lines.
A: write 1
A: write 2 at y
A: fork B
v = A: read   # trailing
A: gup r = rw pin fast longterm
B: gup s = ro get fast-only at y || A: mprotect r || w = r: read
r: write 3
r: put
A: mprotect rw at y
B: munmap
B: exit
forbid v == 2 and (w != 1 or not void(s))
require not (same(A at y, s) or exclusive(B)) or copies <= 2
require v > w
expect upstream: fine
expect mapcount: wrong-cow
"""


def test_everything_is_read():
    test = parse(EVERYTHING, "e.litmus")
    assert test.name == "every-thing"
    assert test.story == "A story\nof two lines."
    assert test.processes == ("A", "B")
    assert test.references == ("r", "s")
    assert test.values == ("v", "w")
    assert test.addresses == ("x", "y")
    assert [line.line for line in test.lines][:3] == [6, 7, 8]
    assert [len(line.operations) for line in test.lines].count(3) == 1
    gup = next(o for o in test.operations if o.reference == "r")
    assert (gup.entry, gup.foll.write, gup.foll.pin, gup.foll.longterm) == (
        "fast",
        True,
        True,
        True,
    )
    assert test.expected("mapcount") == "wrong-cow"
    assert test.expected("sketch") is None


def test_white_space_is_free():
    loose = "litmus\tt\r\n\r\n  A :write   1||A:  read\r\n forbid(copies==3)\r\n"
    strict = "litmus t\nA: write 1 || A: read\nforbid copies == 3\n"
    assert parse(loose) == parse(strict)


@pytest.mark.parametrize(
    "text", [EVERYTHING, *map(str, CATALOGUE.values())], ids=["everything", *CATALOGUE]
)
def test_text_of_a_test_parses_to_the_same_test(text):
    test = parse(text)
    assert parse(str(test)) == test
    assert str(parse(str(test))) == str(test)


def test_a_process_is_looked_at_where_the_reference_was_taken():
    text = "litmus t\nA: write 1 at y\nA: gup r = ro get at y\nrequire same(A, r)"
    formula = parse(text).conditions[0].formula
    assert formula.left.address == "y"


BAD = {
    "": (1, 1, "a test begins with 'litmus NAME'"),
    "A: write 1": (1, 1, "a test begins with 'litmus NAME'"),
    "litmus": (1, 7, "the line ends where a name is expected"),
    "litmus t": (1, 8, "the test has no operation"),
    BEGIN + "A: gpu r = ro get": (3, 4, "'gpu' is not valid here; the nearest valid "
                                        "word is 'gup'"),
    BEGIN + "A: gup r = ro gte": (3, 15, "nearest valid word is 'get'"),
    BEGIN + "A: gup r = ro get faster": (3, 19, "nearest valid word is 'fast'"),
    BEGIN + "A: gup r =   # what?": (3, 11, "the line ends where 'ro' or 'rw'"),
    BEGIN + "A: gup r = ro get longterm": (3, 15, "FOLL_LONGTERM goes with FOLL_PIN"),
    BEGIN + "A: gup r = ro pin fast fast": (3, 24, "'fast' is said twice"),
    BEGIN + "A: gup r = ro pin fast fast-only": (3, 24, "choose one"),
    BEGIN + "A write 1": (3, 3, "'write' is not valid here: ':' or '=' is expected"),
    BEGIN + "A: write one": (3, 10, "a number of at most nine digits is expected"),
    BEGIN + "A: write -1": (3, 10, "'-1' is not valid here"),
    BEGIN + "A: write 1234567890": (3, 10, "at most nine digits"),
    BEGIN + "A: write 1 2": (3, 12, "'2' is not valid here"),
    BEGIN + "A: mprotect rx": (3, 13, "nearest valid word is 'r'"),
    BEGIN + "A: fork A": (3, 9, "A is the name of the process of line 2"),
    BEGIN + "A: fork B\nA: fork B": (4, 9, "B is the name of the process of line 3"),
    BEGIN + "A: fork B || A: fork B": (3, 22, "B is the name of the process"),
    BEGIN + "A: fork B || B: read": (3, 14, "no process or reference is called 'B'"),
    BEGIN + "a: read": (3, 1, "called 'a' here; the nearest valid word is 'A'"),
    BEGIN + "A: put": (3, 1, "operation of a reference, and A is a process"),
    BEGIN + "r: read": (3, 1, "no process or reference is called 'r'"),
    BEGIN + "A: gup r = ro get || r: read": (3, 22, "is called 'r' here"),
    BEGIN + "A: gup r = ro get\nr: fork C": (4, 1, "an operation of a process, and r"),
    BEGIN + "A: gup r = ro get\nr: write 2": (4, 10, "it was taken 'ro' in line 3"),
    BEGIN + "A: gup r = ro get\nr: read at x": (4, 12, "r is a reference"),
    BEGIN + "A: gup r = ro get\nA: gup r = ro get": (4, 8, "name of the reference"),
    BEGIN + "A: gup r = ro get\nr: put\nr: read": (5, 1, "r was put in line 4"),
    BEGIN + "A: gup r = ro get\nr: put || r: read": (4, 1, "cannot race with its own"),
    BEGIN + "A: exit\nA: read": (4, 1, "process A has exited"),
    BEGIN + "A: exit || A: read": (3, 1, "A cannot race with its own 'exit'"),
    BEGIN + "v = A: write 2": (3, 1, "only 'read' gives a value"),
    BEGIN + "v = A: read\nv = A: read": (4, 1, "name of the value of line 3"),
    BEGIN + "forbid v == 1": (3, 8, "no value or reference is called 'v'"),
    BEGIN + "forbid A == 1": (3, 8, "A is a process: name what it reads"),
    BEGIN + "forbid copies = 1": (3, 15, "a comparison such as '==' is expected"),
    BEGIN + "forbid (copies == 1": (3, 20, "the line ends where"),
    BEGIN + "forbid void(A)": (3, 13, "no reference is called 'A'"),
    BEGIN + "forbid same(A, B)": (3, 16, "nearest valid word is 'A'"),
    BEGIN + "forbid exclusive(A at z)": (3, 23, "no operation touches the address 'z'"),
    BEGIN + "forbid " + "not " * 9000 + "void(r)": (1, 1, "nested too deeply"),
    BEGIN + "reqire copies == 0": (3, 1, "'reqire' begins no statement; the nearest "
                                         "valid word is 'require'"),
    BEGIN + "expect skecth: fine": (3, 8, "nearest valid word is 'sketch'"),
    BEGIN + "expect sketch: missed": (3, 16, "nearest valid word is 'missed-cow'"),
    BEGIN + "expect sketch: fine\nexpect sketch: lost": (4, 8, "line 3 states"),
    BEGIN + "A: swapuot": (3, 4, "nearest valid word is 'swapout'"),
    BEGIN + "A: madvise fre": (3, 12, "nearest valid word is 'free'"),
    BEGIN + "A: uffd-wpp at y": (3, 4, "nearest valid word is 'uffd-wp'"),
    BEGIN + "ksm A B": (3, 7, "no process or reference is called 'B'"),
    BEGIN + "A: read; B": (3, 8, "';' is not valid here"),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_mistake_is_reported_where_it_is(text):
    line, column, sentence = BAD[text]
    with pytest.raises(LitmusError) as caught:
        parse(text, "bad.litmus")
    error = caught.value
    assert (error.line, error.column) == (line, column), error
    assert sentence in error.sentence
    assert str(error) == f"bad.litmus:{line}:{column}: {error.sentence}"


WORDS = st.sampled_from(re.findall(r"[\w-]+|[^\w\s]+|\n", EVERYTHING + "swapout"))


@st.composite
def damaged(draw) -> str:
    """A test of the catalogue in which some words were replaced."""
    words = re.split(r"( |\n)", str(draw(st.sampled_from(list(CATALOGUE.values())))))
    for _ in range(draw(st.integers(1, 4))):
        words[draw(st.integers(0, len(words) - 1))] = draw(WORDS)
    return "".join(words)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text() | st.lists(WORDS, max_size=60).map(" ".join) | damaged())
@example("litmus t\rA: read")
@example("litmus t\nA: read\x0b")
@example("litmus t\n\x85A: read")
@example("litmus t\nA: read || ")
def test_any_text_is_a_test_or_a_litmus_error(text):
    try:
        test = parse(text)
    except LitmusError as caught:
        error = caught
    else:
        assert parse(str(test)) == test
        return
    assert 1 <= error.line <= text.count("\n") + 1
    assert error.column >= 1
    assert "\n" not in error.sentence


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "bytes.litmus"
    path.write_bytes(b"litmus \xff")
    with pytest.raises(LitmusError, match="not text in UTF-8"):
        read(path)
    with pytest.raises(LitmusError, match="cannot be read"):
        read(tmp_path)


# -- the catalogue --------------------------------------------------------------------


@cache
def found_of(name: str, model: str) -> Result:
    """What a test of the catalogue comes to."""
    return run(CATALOGUE[name], MODELS[model])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CATALOGUE)
def test_verdict_is_the_expected_one(name, model):
    assert found_of(name, model).verdict == CATALOGUE[name].expected(model)


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_is_complete(name):
    test = CATALOGUE[name]
    assert test.name == name
    assert 1 <= len(test.story.splitlines()) <= 3
    assert {e.model for e in test.expectations} == set(MODELS)
    assert test.conditions


# -- outcomes -------------------------------------------------------------------------


def outcomes(body: str, model: str = "upstream"):
    return run(parse(f"litmus t\n{body}"), MODELS[model]).outcomes


def only(body: str, model: str = "upstream"):
    (outcome,) = outcomes(body, model)
    return outcome


def test_a_write_that_faults_has_no_effect():
    outcome = only("A: write 1\nA: mprotect r\nA: write 2\nv = A: read")
    assert outcome.values == {"v": 1}
    outcome = only("A: write 1\nA: munmap\nA: write 2\nv = A: read\nforbid v == 1")
    assert outcome.values == {"v": None}
    assert not outcome.failed


@pytest.mark.parametrize("condition", ["r == 1", "r != 1", "r < 1", "r >= 0", "r == r"])
def test_comparisons_with_a_void_reference_are_false(condition):
    body = f"A: gup r = ro get fast-only\nr: read\nr: put\nforbid {condition}"
    outcome = only(body)
    assert outcome.references == {"r": None}
    assert not outcome.failed
    assert only(f"{body}\nrequire void(r)").verdict == "fine"


def test_a_reference_that_was_put_is_what_it_read_last():
    body = "A: write 1\nA: gup r = rw pin\nA: write 2\nr: put\nA: write 3"
    assert only(body).references == {"r": 2}
    assert only(f"{body}\nrequire not void(r)").verdict == "fine"


def test_a_reference_reads_and_writes():
    body = "A: write 1\nA: gup r = rw pin\nv = r: read\nr: write 5\nw = A: read"
    assert only(body).values == {"v": 1, "w": 5}


def test_race_has_every_interleaving():
    body = "A: write 1\nv = A: read || A: write 2"
    assert {o.values["v"] for o in outcomes(body)} == {1, 2}


def test_reuse_is_a_permission():
    body = "A: write 1\nA: fork B\nB: exit\nA: write 2"
    assert {o.copies for o in outcomes(body, "upstream")} == {0, 1}
    assert {o.copies for o in outcomes(body, "mapcount")} == {0}


@pytest.mark.parametrize(
    ("body", "copies"),
    [
        ("A: write 1\nA: fork B", 0),
        ("A: write 1\nA: fork B\nA: write 2", 1),
        ("A: write 1\nA: gup r = rw pin\nA: fork B", 1),
        ("A: write 1\nA: gup r = rw pin\nA: fork B\nA: write 2\nB: write 3", 1),
        ("A: write 1\nA: fork B\nA: gup r = ro pin", 1),
        ("A: read\nA: write 1", 0),
    ],
)
def test_copies_by_faults_and_fork_are_counted(body, copies):
    assert only(body).copies == copies


def test_exclusive_and_same():
    body = "A: write 1\nA: gup r = ro pin\nA: fork B\nrequire exclusive(A)"
    body += "\nrequire exclusive(r) and same(A, r)\nforbid same(A, B) or same(B, r)"
    assert only(body).verdict == "fine"
    assert only("A: write 1\nA: fork B\nforbid exclusive(A)\nrequire same(A, B)")
    assert only("A: write 1\nA: exit\nforbid exclusive(A) or same(A, A)").verdict == (
        "fine"
    )


@pytest.mark.parametrize("word", ["mremap", "uffdio-move"])
def test_a_page_moves_where_it_is_told(word):
    body = "A: write 1\nA: write 2 at y\nA: madvise dontneed"
    assert only(f"{body}\nA: {word} at y to x\nv = A: read").values == {"v": 2}


def test_there_is_a_page_for_every_need():
    names = names_of(parse(EVERYTHING))
    assert len(names.pages) >= 2 * 2 + 2
    assert len(names.cpus) == 3


# -- classes of verdicts --------------------------------------------------------------

PIN = "A: write 1\nA: gup r = rw pin\nA: fork B\n"
CLASSES = [
    # nothing fails, nothing happens
    ("A: write 1\nA: fork B\nrequire copies == 0", "sketch", "fine"),
    # what is true of the end decides, not what could have been done on the way
    (f"{PIN}B: write 2\nrequire same(A, r)", "mapcount", "fine"),
    # a leak counts although no condition looks for it
    (
        "A: write 1\nA: fork B\nB: gup r = ro get\nB: munmap\nA: write 2",
        "mapcount",
        "missed-cow",
    ),
    # so does a reference that lost its address
    (f"{PIN}A: write 2", "mapcount", "wrong-cow"),
    # the worse of two
    (f"{PIN}r: write 9\nA: write 2\nrequire r == 2", "mapcount", "missed-cow"),
    # nobody promised it
    (
        "A: write 1\nA: gup r = rw get\nA: fork B\nA: write 2\nrequire r == 2",
        "upstream",
        "not-guaranteed",
    ),
    # nobody promised it, and nothing in the test minds
    ("A: write 1\nA: gup r = rw get\nA: fork B\nA: write 2", "upstream", "fine"),
    # too many copies
    (f"{PIN}require copies == 0", "upstream", "unnecessary-copy"),
    # too few copies are no cost
    ("A: write 1\nA: fork B\nrequire copies == 1", "upstream", "not-guaranteed"),
    # a value that fails beside the cost is more than a cost
    (
        "A: write 1\nA: gup r = ro get\nA: fork B\nA: write 2\n"
        "require copies == 0\nrequire r == 2",
        "upstream",
        "not-guaranteed",
    ),
]


@pytest.mark.parametrize(("body", "model", "verdict"), CLASSES)
def test_class_of_a_verdict(body, model, verdict):
    assert run(parse(f"litmus t\n{body}"), MODELS[model]).verdict == verdict


ABLATED = [
    ("cow-race-threads", "upstream", "AE-COW-4", "lost"),
    ("gup-fast-race", "upstream", "AE-FAST-4", "wrong-cow"),
    ("gup-fast-race-again", "sketch", "AE-FAST-4", "wrong-cow"),
    ("gup-fast-race-get", "sketch", "AE-FAST-5", "wrong-cow"),
    ("pin-fork", "upstream", "AE-FORK-8", "wrong-cow"),
    ("pin-fork", "sketch", "AE-FORK-2", "wrong-cow"),
    ("cow", "sketch", "AE-FORK-5", "missed-cow"),
    ("vmsplice-before-fork", "upstream", "AE-COW-2", "missed-cow"),
    ("vmsplice-leak-mprotect", "upstream", "AE-WP-1", "missed-cow"),
    ("pin-shared", "upstream", "AE-COW-1", "wrong-cow"),
    ("fork-without-gup", "sketch", "AE-FORK-4", "unnecessary-copy"),
    ("uffd-wp-unshare", "upstream", "AE-WP-4", "lost"),
    ("uffdio-move-race", "sketch", "AE-MOVE-2", "wrong-cow"),
    ("force-write-race", "upstream", "AE-WP-5", "missed-cow"),
]


@pytest.mark.parametrize(("name", "model", "rule", "verdict"), ABLATED)
def test_without_a_rule_the_verdict_turns(name, model, rule, verdict):
    test = CATALOGUE[name]
    assert run(test, MODELS[model]).verdict == "fine"
    assert run(test, MODELS[model], frozenset({rule})).verdict == verdict


def test_trace_of_a_race_leads_to_the_outcome():
    test = CATALOGUE["gup-fast-race"]
    outcome = run(test, MODELS["mapcount"]).worst
    steps = trace(outcome.node, 1)
    *_, last = steps.states()
    begin = next(n for n in outcome.node.path() if n.line == 2)
    assert {s.thread for s in steps.steps} == {"cpu0", "cpu1"}
    assert all(begin.state[key] == last[key] for key in last if "." in key)


# -- the commands ---------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["vmsplice-leak", "gup-fast-race", "two-addresses"])
def test_run_fits_into_a_mail(name, model):
    result = invoke("run", name, "--model", model)
    verdict = CATALOGUE[name].expected(model)
    assert result.exit_code == (verdict != "fine")
    assert f"verdict: {verdict}" in result.output
    assert max(map(len, result.output.splitlines())) <= 72
    for line in CATALOGUE[name].lines:
        assert str(line) in result.output


def test_run_shows_each_way_in_which_a_line_can_end():
    output = invoke("run", "sole-owner").output
    assert re.search(r"-- either --\n   A +p1 R/W", output)
    assert re.search(r"-- or --\n   A +p2 R/W", output)


def test_run_reports_faults_and_void_references(tmp_path):
    path = tmp_path / "t.litmus"
    path.write_text(
        "litmus t\nA: gup r = ro get fast-only\nr: read\nA: munmap\nA: write 1\n"
        "v = A: read\nA: mprotect r\n"
    )
    result = invoke("run", str(path))
    assert result.exit_code == 0
    for said in ("r is void", "r is void: no effect", "SIGSEGV: no effect", "ENOMEM"):
        assert f"   {said}" in result.output


def test_run_json():
    result = invoke("run", "vmsplice-leak", "--model", "mapcount", "--json")
    found = json.loads(result.output)
    assert result.exit_code == 1
    assert found["verdict"] == found["expected"] == "missed-cow"
    assert found["conditions"] == [{"condition": "forbid r == 2", "holds": False}]
    assert found["outcomes"][0]["references"] == {"r": 2}
    assert [line["text"] for line in found["lines"]][1] == "A: fork B"
    (forked,) = found["lines"][1]["states"]
    assert [row["who"] for row in forked["state"]] == ["A", "B"]
    assert forked["state"][0]["page"] == forked["state"][1]["page"] == "p1 R/O"


def test_table_of_the_catalogue(monkeypatch):
    monkeypatch.setattr(
        commands, "explore", lambda test, model: found_of(test.name, model.name)
    )
    result = invoke("litmus")
    assert result.exit_code == 0
    assert "!" not in result.output
    assert max(map(len, result.output.splitlines())) <= 100
    rows = {
        row.split()[0]: row.split()[1:] for row in result.output.splitlines() if row
    }
    assert set(CATALOGUE) < set(rows)
    assert rows["vmsplice-leak"] == ["MISSED"] + ["fine"] * 7


def test_releases_are_columns_of_the_table():
    result = invoke("litmus", "vmsplice-leak", "--kernel", "5.7", "--kernel", "5.10")
    head, row = result.output.splitlines()[:2]
    assert head.split() == ["5.7", "5.10"]
    assert row.split() == ["vmsplice-leak", "MISSED", "fine"]


@pytest.mark.parametrize(
    ("release", "said"),
    [("5", "expected two numbers, as in 5.10"), ("9.1", "the newest is 7.3")],
)
def test_a_release_that_is_none_is_refused(release, said):
    result = invoke("run", "cow", "--kernel", release)
    assert result.exit_code == 2
    assert said in result.output


def test_unexpected_verdict_is_marked(tmp_path):
    path = tmp_path / "t.litmus"
    path.write_text(f"litmus t\n{PIN}A: write 2\nexpect mapcount: fine\n")
    result = invoke("litmus", str(path), "--model", "mapcount", "--model", "sketch")
    assert result.exit_code == 1
    assert result.output.splitlines()[1].split() == ["t", "WRONG!", "fine"]
    assert "! t on mapcount: wrong-cow, expected fine" in result.output
    assert invoke("litmus", str(path), "--model", "sketch").exit_code == 0


def test_a_verdict_that_nobody_stated_must_be_fine(tmp_path):
    path = tmp_path / "t.litmus"
    path.write_text(f"litmus t\n{PIN}A: write 2\n")
    assert invoke("litmus", str(path), "--model", "sketch").exit_code == 0
    assert invoke("litmus", str(path), "--model", "mapcount").exit_code == 1


def test_verbose_shows_the_steps_of_a_race():
    result = invoke("litmus", "gup-fast-race", "-v", "--model", "mapcount")
    assert result.exit_code == 0
    assert "CPU 0" in result.output
    assert "CPU 1" in result.output
    assert "copy_present_pte()" in result.output
    assert max(map(len, result.output.splitlines())) <= 72


def test_litmus_json():
    result = invoke("litmus", "cow", "pin-fork", "--model", "mapcount", "--json")
    found = json.loads(result.output)
    assert [(f["test"], f["verdict"]) for f in found] == [
        ("cow", "fine"),
        ("pin-fork", "wrong-cow"),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "vmsplice-leek"], "the nearest is 'vmsplice-leak'"),
        (["litmus", "vmsplice-leek"], "the nearest is 'vmsplice-leak'"),
        (["run", "cow", "--model", "skech"], "the nearest is 'sketch'"),
        (["litmus", "--model", "skech"], "the nearest is 'sketch'"),
        (["run"], "Missing argument"),
    ],
)
def test_wrong_use(arguments, sentence):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output


def test_bad_file_is_wrong_use(tmp_path):
    path = tmp_path / "bad.litmus"
    path.write_text("litmus bad\nA: wirte 1\n")
    for command in ("run", "litmus"):
        result = invoke(command, str(path))
        assert result.exit_code == 2
        assert f"{path}:2:4: 'wirte' is not valid here" in result.output


def test_a_long_name_keeps_the_columns():
    results = [run(CATALOGUE["cow"], MODELS["sketch"])]
    lead, row = show.table_row("n" * 40, results).splitlines()
    assert lead == "n" * 40
    assert row.index("fine") == show.table_row("n", results).index("fine")


def test_every_verdict_has_a_short_form():
    assert list(show.SHORT) == list(VERDICTS)


def test_catalogue_is_found_beside_the_package():
    assert all(isinstance(path, Path) for path in catalogue().values())
