"""The reviewer's desk: citations in texts, forms of citing, locks."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.cells import SpecificationError
from spec.cli import main
from spec.desk import lock
from spec.desk.anchors import known_files, symbols
from spec.desk.citing import citations
from spec.desk.flowing import flow
from spec.desk.forms import FORMS, chosen
from spec.desk.lint import lint
from spec.desk.mail import Line, load_file
from spec.desk.symbols import HISTORY
from spec.publish.citations import version
from spec.rules import find, load

RULES = load()


def call(*words: str, given: str | bytes = ""):
    return CliRunner().invoke(main, list(words), input=given)


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
        ("https://anon-exclusive.example/v/9.9/r/AE-FORK-2/", "no version '9.9'"),
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
        f"https://anon-exclusive.example/v/{version()}/r/AE-FORK-2/",
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
