"""The reviewer's desk: anchors, kernel trees, diffs and reviews."""

from __future__ import annotations

import difflib
import json

import pytest
from click.testing import CliRunner
from desk_diffs import diff
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.cli import main
from spec.desk.anchors import anchored, by_place, rules_at
from spec.desk.functions import functions
from spec.desk.lint import lint
from spec.desk.mail import load_file
from spec.desk.operations import OPERATIONS
from spec.desk.questions import QUESTIONS
from spec.desk.review import as_dict, review, text
from spec.desk.symbols import HISTORY, anchors
from spec.desk.trees import (
    Tree,
    differences,
    digests,
    expected,
    fates,
    missing,
    open_tree,
    recorded,
)
from spec.history import parse
from spec.rules import load
from spec.steps import STEPS

RULES = load()


def call(*words: str, given: str | bytes = ""):
    return CliRunner().invoke(main, list(words), input=given)


# -- anchors ---------------------------------------------------------------------------


def test_each_operation_of_the_steps_names_kernel_functions():
    operations = {row.operation for rows in STEPS.values() for row in rows}
    assert set(OPERATIONS) == operations - {""}
    assert all(OPERATIONS.values())


def test_each_rule_with_an_anchor_has_one_question_and_no_other_has():
    having = {id for id, rule in RULES.items() if anchored(rule)}
    assert set(QUESTIONS) == having
    assert all(asked.text.endswith("?") for asked in QUESTIONS.values())
    assert all(asked.cues for asked in QUESTIONS.values())


def test_each_rule_that_is_neither_guarantee_nor_assumption_has_an_anchor():
    lacking = {id for id, rule in RULES.items() if not anchored(rule)}
    assert all(RULES[id].topic in ("INV", "ASM") for id in lacking)


@pytest.mark.parametrize("symbol", list(HISTORY))
def test_eras_follow_each_other(symbol):
    eras = HISTORY[symbol]
    begins = [parse(era.since) for era in eras]
    assert begins == sorted(set(begins))
    assert all(era.source for era in eras[1:])
    assert all(parse(era.after) < parse(era.since) for era in eras if era.after)


def test_history_is_of_symbols_that_somebody_names():
    named = {s for rule in RULES.values() for s in rule.kernel}
    assert set(HISTORY) <= named.union(*OPERATIONS.values())


@pytest.mark.parametrize("release", list(recorded()))
def test_the_record_of_a_release_has_each_symbol_and_nothing_else(release):
    functions = recorded()[release].functions
    places = set()
    for symbol in expected(release):
        here = [a.place for a in anchors(symbol) if a.covers(release)]
        assert set(here) & set(functions), symbol
        places |= set(here)
    assert set(functions) == places


def test_an_old_name_leads_to_the_rules_of_the_new_one():
    old = {found.rule.id for found in rules_at("mm/gup.c:gup_pte_range")}
    new = {found.rule.id for found in rules_at("mm/gup.c:gup_fast_pte_range")}
    assert old == new != set()


def test_a_release_decides_which_rules_a_function_has():
    def rules(release):
        here = rules_at("mm/memory.c:do_wp_page", release)
        return {found.rule.id for found in here if not found.steps}

    assert "AE-COW-3" in rules("6.1")
    assert "AE-COW-3" not in rules("6.12")
    assert "AE-COW-1" not in rules("5.18")


def test_a_function_that_a_patch_adds_to_an_older_tree_has_its_rules():
    added = rules_at("mm/userfaultfd.c:move_present_pte", "6.1")
    assert {found.rule.id for found in added} >= {"AE-MOVE-2", "AE-MOVE-3"}


# -- functions and trees ---------------------------------------------------------------

KERNEL_C = b"""\
static __always_inline bool f(struct page *page)
	__must_hold(&page->lock)
{
	struct page *head __free(put) = page;

	list_for_each_entry(page, &head->list, lru) {
		if (page)	/* { */
			return false;
	}
	return "}"[0] == '}';
}

#ifdef CONFIG_ONE
int __init g(void) { return 1; }
#else
int g(void) { return 0; }
#endif
"""


def test_functions_are_found_in_spite_of_kernel_macros():
    found = functions(KERNEL_C)
    lines = [(f.name, f.first, f.last) for f in found]
    assert lines == [("f", 1, 11), ("g", 14, 14), ("g", 16, 16)]


def test_comments_and_white_space_do_not_count_and_code_does():
    [body] = functions(b"int f(int a)\n{\n\treturn a + 1;\n}\n")
    [same] = functions(b"int f(int a) { return a+1; /* one more */ }")
    [named] = functions(b"int other(int a) { return a + 1; }")
    [other] = functions(b"int f(int a) { return a + 2; }")
    assert body.digest == same.digest == named.digest != other.digest


def stub(place: str, body: str = "return 0;") -> str:
    return f"int {place.partition(':')[2]}(void)\n{{\n\t{body}\n}}\n\n"


def plant(folder, release: str, bodies: dict[str, str] | None = None) -> Tree:
    """A tree with a function for each anchor of a release."""
    files: dict[str, str] = {}
    for symbol in expected(release):
        for anchor in anchors(symbol):
            if anchor.covers(release):
                code = stub(anchor.place, (bodies or {}).get(anchor.place, "return 0;"))
                if code not in files.get(anchor.file, ""):
                    files[anchor.file] = files.get(anchor.file, "") + code
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    major, minor = release.split(".")
    (folder / "Makefile").write_text(f"VERSION = {major}\nPATCHLEVEL = {minor}\n")
    return open_tree(folder)


def test_a_tree_with_all_functions_lacks_none_and_one_without_some_lacks_it(tmp_path):
    assert missing(plant(tmp_path, "6.12")) == {}
    (tmp_path / "mm" / "mremap.c").write_text(stub("mm/mremap.c:move_page_tables"))
    assert list(missing(open_tree(tmp_path))) == ["mm/mremap.c:move_ptes"]


def test_a_function_under_another_of_its_names_is_said_to_be_there(tmp_path):
    plant(tmp_path, "6.12")
    gup = tmp_path / "mm" / "gup.c"
    gup.write_text(gup.read_text().replace("gup_fast_pte_range", "gup_pte_range"))
    lost = missing(open_tree(tmp_path))
    assert lost == {"mm/gup.c:gup_fast_pte_range": ["mm/gup.c:gup_pte_range"]}
    result = call("kernel-anchors", "check", str(tmp_path))
    assert result.exit_code == 1
    assert "there is mm/gup.c:gup_pte_range" in result.output


def test_two_trees_moved_changed_and_vanished_are_told_apart(tmp_path):
    old = plant(tmp_path / "a", "6.9", {"mm/ksm.c:replace_page": "return 1;"})
    new = plant(tmp_path / "b", "6.10", {"mm/gup.c:gup_fast_pte_range": "return 2;"})
    (new.root / "mm" / "mremap.c").write_text("")
    found = {(f.rule.id, f.what) for f in fates(old, new)}
    assert ("AE-KSM-7", "changed") in found
    assert ("AE-FAST-4", "moved") in found
    assert ("AE-FAST-3", "moved and changed") in found
    assert ("AE-MOVE-1", "vanished") in found
    assert not any(id == "AE-FORK-7" for id, _ in found)


def test_a_changed_digest_is_told_and_a_comment_is_not(tmp_path):
    tree = plant(tmp_path, "6.12")
    before = digests(tree)
    (tmp_path / "mm" / "mremap.c").write_text(
        stub("mm/mremap.c:move_ptes", "return 0; /* the same */")
    )
    assert digests(open_tree(tmp_path)) == before
    assert len(differences(tree)) == len(before)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["kernel-anchors", "check", "."], "is no kernel source tree"),
        (["kernel-anchors", "check", "/nowhere"], "is no kernel source tree"),
        (["kernel-anchors", "fetch", "6.13", "x"], "the nearest is"),
        (["kernel-anchors", "list", "AE-FROK-2"], "the nearest is AE-FORK-2"),
        (["review", "/nowhere"], "No such file"),
        (["review", "README.md"], "there is no unified diff in README.md"),
        (["lint", "/"], "Is a directory"),
        (["lock", "--lock", "/dev/null/x"], "cannot write"),
        (["lock", "--check", "--lock", "/nowhere"], "write it with"),
        (["lock", "LICENSE"], "no rule is cited"),
        (["cite", "AE-FORK-4..1"], "AE-FORK-1..4"),
        (["cite", "AE-FORK-1..x"], "is no range of ids"),
        (["cite", "AE-FORK-1..99"], "the nearest is"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(words, says):
    result = call(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


# -- what a diff touches ---------------------------------------------------------------

MEMORY_C = "".join(
    f"/**\n * {name} - {name}() does one thing\n */\n"
    f"static int {name}(struct vm_fault *vmf,\n\t\tint flags)\n{{\n"
    + "".join(f"\tstep_{n}(vmf);\n" for n in range(12))
    + "out:\n\treturn 0;\n}\n\n"
    for name in ("do_swap_page", "unrelated", "do_wp_page", "copy_present_page")
)


def functions_of(content: str | bytes, tree: Tree | None = None) -> set[str]:
    raw = content.encode() if isinstance(content, str) else content
    return {f.function for f in review([load_file("p", raw)], tree).functions}


def edited(at: int, line: str | None) -> str:
    lines = MEMORY_C.splitlines()
    lines[at : at + 1] = [] if line is None else [lines[at], line]
    return "\n".join(lines) + "\n"


def truth(old: str, new: str) -> set[str]:
    """The functions with a changed line, by the parser, in both files."""
    found = set()
    blocks = difflib.SequenceMatcher(
        None, old.splitlines(), new.splitlines(), autojunk=False
    ).get_opcodes()
    for tag, a, b, c, d in blocks:
        if tag == "equal":
            continue
        for content, first, last in ((old, a, b), (new, c, d)):
            lines = content.splitlines()
            changed = [n for n in range(first + 1, last + 1) if lines[n - 1].strip()]
            for f in functions(content.encode()):
                if any(f.first <= n <= f.last for n in changed):
                    found.add(f.name)
    return found & {place.partition(":")[2] for place in by_place()}


IN_PROTOTYPE = ("static", "\t\t")
edits = st.lists(
    st.tuples(
        st.sampled_from(
            [
                at
                for at, line in enumerate(MEMORY_C.splitlines())
                if not line.startswith(IN_PROTOTYPE)
            ]
        ),
        st.sampled_from(["\tx = 1;", None, "", "\t// why"]),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(edits)
def test_exactly_the_changed_functions_are_touched(tmp_path_factory, changes):
    lines: list[str | None] = list(MEMORY_C.splitlines())
    for at, line in changes:
        kept = lines[at]
        if line is not None:
            lines[at] = f"{kept}\n{line}"
        elif kept is not None and kept.startswith("\t"):
            lines[at] = None
    new = "\n".join(line for line in lines if line is not None) + "\n"
    if new == MEMORY_C:
        return
    patch = diff(MEMORY_C, new)
    wanted = truth(MEMORY_C, new)
    folder = tmp_path_factory.mktemp("tree")
    (folder / "mm").mkdir()
    (folder / "mm" / "memory.c").write_text(MEMORY_C)
    assert functions_of(patch, Tree(folder, "6.12")) == wanted
    assert functions_of(patch) <= wanted
    (folder / "mm" / "memory.c").write_text(new)
    assert functions_of(patch, Tree(folder, "6.12")) == wanted


def test_what_stands_between_functions_touches_none():
    first = MEMORY_C.splitlines().index(" * do_wp_page - do_wp_page() does one thing")
    assert functions_of(diff(MEMORY_C, edited(first, " * and another"))) == set()


def test_a_function_that_begins_in_the_hunk_is_touched_not_the_one_before():
    at = next(
        n
        for n, line in enumerate(MEMORY_C.splitlines())
        if line.startswith("static int do_wp_page")
    )
    assert functions_of(diff(MEMORY_C, edited(at + 3, "\tnew();"))) == {"do_wp_page"}


def test_a_renamed_function_is_found_under_both_names():
    old = MEMORY_C.replace("unrelated", "gup_pte_range")
    new = MEMORY_C.replace("unrelated", "gup_fast_pte_range")
    patch = diff(old, new, "mm/gup.c")
    assert functions_of(patch) == {"gup_pte_range", "gup_fast_pte_range"}


def test_a_label_as_place_is_reported_and_not_guessed():
    patch = diff(MEMORY_C, edited(12, "\tnew();")).replace(
        "static int do_swap_page(struct vm_fault *vmf,", "retry:"
    )
    found = review([load_file("p", patch.encode())])
    assert found.functions == []
    assert "names 'retry:', which is no whole function" in found.notes[0]


def test_a_patch_of_other_files_is_passed_over_in_silence():
    patch = diff(MEMORY_C, edited(12, "\tnew();"), "net/core/dev.c")
    found = review([load_file("p", patch.encode())])
    assert (found.functions, found.notes) == ([], [])
    assert list(text(found)) == ["No rule is anchored in the files that this changes."]


def test_a_review_names_rules_reasons_questions_tests_and_a_paragraph():
    patch = diff(MEMORY_C, edited(12, "\texclusive = pte_swp_exclusive(pte);"))
    result = call("review", "-", given=patch)
    assert result.exit_code == 0
    assert "mm/memory.c: do_swap_page  +1 -0" in result.output
    assert result.output.index("AE-SWAP-10: ") < result.output.index("AE-SWAP-8: ")
    assert "  ask  is exclusivity taken from the marker" in result.output
    assert "  run  anon-exclusive litmus " in result.output
    assert "Link: https://anon-exclusive.example/r/AE-SWAP-10/" in result.output
    assert lint(load_file("r", result.output.encode()), RULES) == []


def test_a_review_as_json_has_the_same():
    patch = diff(MEMORY_C, edited(12, "\tnew();"))
    found = json.loads(call("review", "--json", "-", given=patch).stdout)
    listed = {rule["id"] for rule in found["rules"]}
    assert listed == {f.rule.id for f in rules_at("mm/memory.c:do_swap_page")}
    assert all(rule["ask"] and rule["why"] for rule in found["rules"])
    assert found == as_dict(review([load_file("p", patch.encode())]))


def test_a_series_is_applied_patch_by_patch(tmp_path):
    first = edited(12, "\tnew();")
    second = first.replace("\tnew();", "\tnewer();")
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm" / "memory.c").write_text(MEMORY_C)
    mails = "".join(
        f"From 0123456789ab Mon Sep 17 00:00:00 2001\nFrom: a@b.c\n"
        f"Subject: [PATCH {n}/2] mm: {n}\n\nText.\n---\n{patch}-- \n2.1\n\n"
        for n, patch in enumerate((diff(MEMORY_C, first), diff(first, second)), 1)
    )
    found = review([load_file("s", mails.encode())], Tree(tmp_path, "6.12"))
    assert found.notes == []
    [place] = found.functions
    assert (place.added, place.removed) == (2, 1)
    assert place.titles == ["[PATCH 1/2] mm: 1", "[PATCH 2/2] mm: 2"]


def test_a_patch_that_does_not_apply_is_judged_by_the_diff_and_says_so(tmp_path):
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm" / "memory.c").write_text("int x;\n")
    patch = diff(MEMORY_C, edited(12, "\tnew();"))
    found = review([load_file("p", patch.encode())], Tree(tmp_path, "6.12"))
    assert [f.function for f in found.functions] == ["do_swap_page"]
    assert "does not apply to mm/memory.c" in found.notes[0]
