"""The reviewer's desk: anchors, diffs, reviews, citations in texts, locks."""

from __future__ import annotations

import difflib
import json
import shutil
import subprocess
import textwrap
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from desk_diffs import diff
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.cells import SpecificationError
from spec.cli import main
from spec.desk import lock, manual
from spec.desk.anchors import anchored, by_place, known_files, rules_at, symbols
from spec.desk.citing import citations
from spec.desk.exercised import RECORD as EXERCISED
from spec.desk.exercised import computed
from spec.desk.exits import EXITS
from spec.desk.flowing import flow
from spec.desk.forms import FORMS, chosen
from spec.desk.functions import functions
from spec.desk.lint import lint
from spec.desk.mail import Line, load_file
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
from spec.publish.anchors import anchors_page
from spec.publish.pages import Site
from spec.publish.verdicts import Store
from spec.rules import find, load
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
        st.sampled_from(["\tx = 1;", None, "", "\t/* why */"]),
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
    assert "Link: https://anon-exclusive.example/spec/swap/#AE-SWAP-10" in result.output
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


def test_recorded_litmus_tests_are_those_that_fail_without_the_rule(store):
    assert json.loads(EXERCISED.read_text()) == computed(store)


# -- citations in texts ----------------------------------------------------------------


def problems(content: str) -> list[str]:
    return [str(p) for p in lint(load_file("m", content.encode()), RULES)]


def quoted(content: str, depth: int = 1) -> str:
    return "\n".join(f"{'> ' * depth}{line}" for line in content.split("\n"))


def rewrapped(content: str, width: int, hyphens: bool) -> str:
    """Each line wrapped on its own, as a mail client does with what was pasted."""
    return "\n".join(
        part
        for line in content.split("\n")
        for part in textwrap.wrap(line, width, break_on_hyphens=hyphens) or [line]
    )


def filled(content: str, width: int, hyphens: bool) -> str:
    """Each paragraph filled anew, its lines joined."""
    return "\n\n".join(
        textwrap.fill(part, width, break_on_hyphens=hyphens)
        for part in content.split("\n\n")
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(list(RULES)), min_size=1, max_size=3, unique=True),
    st.sampled_from(list(FORMS)),
    st.integers(0, 3),
    st.integers(55, 100),
    st.booleans(),
    st.sampled_from([rewrapped, filled]),
)
def test_a_citation_that_was_pasted_quoted_and_wrapped_passes(
    ids, form, depth, width, hyphens, wrap
):
    cited = FORMS[form](chosen(ids))
    first = wrap(quoted(cited), width, hyphens) if depth > 1 else cited
    mail = f"Hi,\n\n{wrap(quoted(first, depth), width, hyphens)}\n\nThanks.\n"
    assert problems(mail) == []


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([id for id, r in RULES.items() if not r.withdrawn]),
    st.sampled_from(["full", "reply", "markdown"]),
    st.integers(0, 40),
    st.integers(0, 2),
)
def test_a_word_that_is_not_the_rules_is_found(id, form, at, depth):
    rule = RULES[id]
    words = rule.sentence.split()
    words[at % len(words)] = "somewhat"
    cited = FORMS[form]([replace(rule, sentence=" ".join(words))])
    cited = cited.replace(replace(rule, sentence="x").checksum, rule.checksum)
    [found] = [p for p in problems(quoted(cited, depth)) if ": quotation: " in p]
    assert "somewhat" in found
    assert rule.sentence in found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("see AE-FROK-2", "m:1:5: unknown: no rule has the id AE-FROK-2; the nearest"),
        ("\n> a AE-FORK-99.", "m:2:5: unknown: "),
        ("AE-FORK-1..99", "m:1:12: unknown: no rule has the id AE-FORK-99"),
        ("AE-FORK-2 revision 9", "m:1:1: added: "),
        ("AE-SET-5 (revision 1)", "m:1:1: changed: AE-SET-5 was changed since"),
        ("AE-FORK-2 (rev 1, 00000000)", "changed: AE-FORK-2 has not the checksum"),
        ('AE-FORK-2: "fork MUST NOT share pages that GUP returned"', "quotation: "),
        ("https://anon-exclusive.example/v9/#AE-FORK-2", "link: there is no version"),
        (
            "https://anon-exclusive.example/spec/gup/#AE-FORK-2",
            "link: AE-FORK-2 is not",
        ),
        ("https://anon-exclusive.example/spec/x/#AE-FORK-2", "link: there is no such"),
        ("https://anon-exclusive.example/spec/fault/#AE-COW-1", "moved: AE-COW-1 is"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content, says):
    [found] = problems(content)
    assert says in found


@pytest.mark.parametrize(
    "content",
    [
        "nothing is cited here",
        "AE-FORK-2 is broken by this: the child maps the page.",
        'AE-FORK-2 says "... may rely on it". I doubt that.',
        'AE-FORK-2: "fork MUST NOT share a page [...] may rely on it."',
        'As for AE-FORK-2, "no" is my answer.',
        "/* AE-FORK-2 */",
        "-/* AE-FROK-2 */ is no hunk".replace("FROK", "FORK"),
        "@@ -1 +1 @@\n-\t/* AE-FROK-2 */\n+\t/* AE-FORK-2 */",
        "Link: https://anon-exclusive.example/spec/fork/#AE-FORK-2",
        "https://anon-exclusive.example/reference/rules/",
    ],
)
def test_what_is_right_is_not_reported(content):
    assert problems(content) == []


def test_an_empty_file_has_no_wrong_citation_and_no_diff():
    assert call("lint", "-", given="").exit_code == 0
    result = call("review", "-", given="")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_a_moved_rule_alone_is_no_mistake_for_the_exit_status():
    link = "https://anon-exclusive.example/spec/fault/#AE-COW-1\n"
    result = call("lint", "-", given=link)
    assert (result.exit_code, result.output.count("\n")) == (0, 1)
    assert call("lint", "-", given="AE-FROK-2\n").exit_code == 1


def test_a_withdrawn_rule_is_told_with_what_replaced_it():
    rules = RULES | {
        "AE-FORK-2": replace(RULES["AE-FORK-2"], withdrawn="see AE-FORK-8")
    }
    reading = load_file("m", b"by AE-FORK-2 (checksum 82f95ef6)")
    [found] = lint(reading, rules)
    assert found.kind == "removed"
    assert "see AE-FORK-8" in found.message


def test_encoded_mail_is_read_and_lines_are_those_of_the_file():
    mail = (
        "From: a@b.c\nSubject: =?utf-8?q?=C3=A9?=\nMIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=utf-8\n"
        "Content-Transfer-Encoding: quoted-printable\n\n"
        "> AE-FORK-2 (revision 1, checksum 82f95ef6): =22fork MUST NOT share a =\n"
        "page=20that GUP returned to somebody who still holds it and may rely=\n"
        " on it.=22 caf=C3=A9\n\nand AE-FROK-2\n"
    )
    assert problems(mail) == [
        "m:11:5: unknown: no rule has the id AE-FROK-2; the nearest is AE-FORK-2"
    ]


@pytest.mark.parametrize("name", ["README.md", "docs/how-to-cite.md"])
def test_our_own_pages_cite_rightly(name):
    assert lint(load_file(name), RULES) == []


def test_the_flow_keeps_the_place_of_each_character():
    found = flow([Line(" > a  b", 3), Line("", 4), Line("c", 5)])
    assert found.text.split("\n") == ["a b", "c"]
    assert [found.place(at) for at in (0, 2, 4)] == [(3, 4), (3, 7), (5, 1)]
    assert [c.id for c in citations(flow([Line("AE-COW-1,AE-COW-2", 1)]))] == [
        "AE-COW-1",
        "AE-COW-2",
    ]


# -- citing and locking ----------------------------------------------------------------


@pytest.mark.parametrize("form", list(FORMS))
def test_each_form_is_ascii_and_narrow(form):
    said = FORMS[form](list(RULES.values()))
    assert said.isascii()
    wide = [line for line in said.splitlines() if len(line) > 72]
    assert all("](https://" in line for line in wide)


def test_a_range_and_ids_are_cited_once_each_in_order():
    found = json.loads(
        call("cite", "--form", "json", "AE-FORK-2", "AE-FORK-1..3").stdout
    )
    assert [each["id"] for each in found] == ["AE-FORK-2", "AE-FORK-1", "AE-FORK-3"]
    assert found[0]["sentence"] == find("AE-FORK-2").sentence


def test_a_lock_of_the_present_rules_differs_in_nothing(tmp_path):
    path = str(tmp_path / "rules.lock")
    assert call("lock", "--lock", path).exit_code == 0
    result = call("lock", "--check", "--lock", path)
    assert (result.exit_code, result.output) == (
        0,
        f"0 of {len(RULES)} locked rules need a look.\n",
    )


def test_a_lock_tells_added_removed_changed_and_moved_apart(tmp_path):
    text = tmp_path / "mail"
    text.write_text("AE-FORK-1, AE-FORK-2,\nAE-FORK-3\n")
    path = tmp_path / "rules.lock"
    lock.write(path, list(RULES.values()), every=True)
    was, every = lock.read(path)
    was["AE-FORK-2"] = replace(was["AE-FORK-2"], checksum="0", sentence="Old.")
    was["AE-FORK-3"] = replace(was["AE-FORK-3"], chapter="fault")
    was["AE-FORK-77"] = was.pop("AE-FORK-4")
    found = {d.id: d.kind for d in lock.differences(was, every, RULES)}
    assert found == {
        "AE-FORK-2": "changed",
        "AE-FORK-3": "moved",
        "AE-FORK-77": "removed",
        "AE-FORK-4": "added",
    }
    stored = json.loads(path.read_text())
    stored["rules"]["AE-FORK-2"]["checksum"] = "0"
    path.write_text(json.dumps(stored))
    result = call("lock", "--check", "--lock", str(path), str(text))
    assert result.exit_code == 1
    assert f"{text}:1:12: cites AE-FORK-2" in result.output


def test_a_lock_of_what_is_cited_has_only_that(tmp_path):
    text, path = tmp_path / "mail", tmp_path / "rules.lock"
    text.write_text("AE-FORK-1 and AE-COW-2\n")
    assert call("lock", str(text), "--lock", str(path)).exit_code == 0
    assert sorted(lock.read(path)[0]) == ["AE-COW-2", "AE-FORK-1"]
    text.write_text("AE-FROK-1\n")
    result = call("lock", str(text), "--lock", str(path))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 9}', "x", "[" * 9999])
def test_a_broken_lock_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "rules.lock"
    path.write_text(content)
    with pytest.raises(SpecificationError, match=r"rules\.lock"):
        lock.read(path)


def test_known_files_are_those_of_anchors():
    assert "mm/memory.c" in known_files()
    assert all(":" not in name for name in known_files())
    assert set(symbols()) >= set(HISTORY)


# -- help, the man page and completion -------------------------------------------------


def commands(command: click.Command, words: tuple[str, ...] = ()):
    """Every command with its words, the program itself aside."""
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        yield (*words, name), found
        if isinstance(found, click.Group):
            yield from commands(found, (*words, name))


@pytest.mark.parametrize("words", [words for words, _ in commands(main)])
def test_each_command_says_its_exit_statuses(words):
    result = call(*words, "--help")
    assert result.exit_code == 0
    assert "Exit status: 0 " in " ".join(result.output.split())


def test_the_table_of_exit_statuses_has_no_command_that_is_none():
    assert set(EXITS) <= {" ".join(words) for words, _ in commands(main)}


def test_the_man_page_has_each_command_option_and_exit_status():
    page = manual.page()
    assert page.isascii()
    plain = page.replace("\\-", "-").replace("\\&", "")
    for words, command in commands(main):
        assert f".SS {' '.join(words)}\n" in plain
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert max(parameter.opts, key=len) in plain
        assert " ".join(command.epilog.split()) in plain
    assert ".SH EXIT STATUS" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_man_page_is_rendered_without_a_warning():
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-cbou"],
        input=manual.page(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in done.stdout


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("anon-exclusive rev", "review"),
        ("anon-exclusive cite AE-FORK-", "AE-FORK-2"),
        ("anon-exclusive kernel-anchors list ae-fast", "AE-FAST-3"),
        ("anon-exclusive check --model up", "upstream"),
        ("anon-exclusive check --kernel 5.1", "5.11"),
        ("anon-exclusive review --t", "--tree"),
    ],
)
def test_the_shell_completes_commands_options_models_and_rules(line, offered):
    words = line.split()
    given = {
        "_ANON_EXCLUSIVE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner(env=given).invoke(main, [], prog_name="anon-exclusive")
    assert offered in [found.partition(",")[2] for found in result.output.splitlines()]


def test_the_page_of_kernel_functions_has_each_rule_and_operation():
    page = anchors_page(Site(Store()))
    assert all(f"[{id}](" in page for id, rule in RULES.items() if anchored(rule))
    assert all(f"`{operation}`" in page for operation in OPERATIONS)
    assert "<code" in page
    assert "copy_present_ptes</code>, 6.9.." in page
