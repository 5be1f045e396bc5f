"""Broken diffs and mails: one clear sentence each, no traceback, no hang.

`DESK_EXAMPLES=100000 pytest tests/test_desk_broken.py` tries as many as one likes.
"""

from __future__ import annotations

import base64
import os
import quopri

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec.cells import SpecificationError
from spec.desk import lock
from spec.desk.lint import lint
from spec.desk.mail import load_file
from spec.desk.review import as_dict, review, text
from spec.rules import load

EXAMPLES = int(os.environ.get("DESK_EXAMPLES", "1500"))
RULES = load()

# Written with a dot for the blank of an empty context line.
PATCH = """\
diff --git a/mm/memory.c b/mm/memory.c
index 0123456789ab..ba9876543210 100644
--- a/mm/memory.c
+++ b/mm/memory.c
@@ -4000,7 +4000,7 @@ vm_fault_t do_swap_page(struct vm_fault *vmf)
 \tstruct folio *folio;
 \tbool exclusive;
.
-\texclusive = pte_swp_exclusive(vmf->orig_pte);
+\texclusive = folio_ref_count(folio) == 1;
 \tif (exclusive)
 \t\trmap_flags |= RMAP_EXCLUSIVE;
.
@@ -4100,4 +4100,5 @@ static vm_fault_t do_wp_page(struct vm_fault *vmf)
 \tif (!folio)
 \t\treturn 0;
+\tnew_call(folio);
.
 \treturn wp_page_copy(vmf);
diff --git a/mm/gup.c b/mm/gup.c
--- a/mm/gup.c
+++ b/mm/gup.c
@@ -10,3 +10,3 @@ static int gup_fast_pte_range(pmd_t pmd)
 \tone();
-\ttwo();
+\tthree();
 \tfour();
""".replace("\n.\n", "\n \n")

MAIL = f"""\
From: A <a@example.org>
To: linux-mm@kvack.org
Subject: [PATCH] mm: something
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

This breaks AE-SWAP-10 revision 1 and AE-FORK-2: "fork MUST NOT share".

Link: https://anon-exclusive.example/spec/fork/#AE-FORK-2
---
 mm/memory.c | 2 +-

{PATCH}--\x20
2.47.1
"""

WHOLE = {"do_swap_page", "do_wp_page", "gup_fast_pte_range"}


def judged(raw: bytes):
    """What is said of an input: functions, notes; or the one sentence of a refusal."""
    try:
        reading = load_file("input", raw)
    except SpecificationError as error:
        return set(), [str(error)]
    found = review([reading])
    list(text(found))
    as_dict(found)
    for problem in lint(load_file("input", raw), RULES):
        assert "\n" not in str(problem)
    list(lock.cited([reading]))
    return {f.function for f in found.functions}, found.notes


def part(body: bytes, *headers: str) -> bytes:
    head = "\n".join(("From: a@b.c", "Subject: x", "MIME-Version: 1.0", *headers))
    return head.encode() + b"\n\n" + body


def lines(old: str, new: str) -> bytes:
    assert old in PATCH
    return PATCH.replace(old, new).encode()


BROKEN = {
    "empty": (b"", set(), ""),
    "blank": (b" \n\n", set(), ""),
    "hunk cut at the end": (
        PATCH.rpartition(" \tfour")[0].encode(),
        {"do_swap_page", "do_wp_page"},
        "a hunk of mm/gup.c is not whole (hunk is shorter than expected)",
    ),
    "line wrapped": (
        lines(" \tif (!folio)\n", " \tif\n(!folio)\n"),
        {"do_swap_page", "gup_fast_pte_range"},
        "a hunk of mm/memory.c is not whole",
    ),
    "tail of a line wrapped into a blank": (
        lines("pte_swp_exclusive(vmf->orig_pte);", "pte_swp_exclusive(\n vmf->pte);"),
        {"do_wp_page", "gup_fast_pte_range"},
        "a hunk of mm/memory.c is not whole",
    ),
    "counts edited by hand": (
        lines("@@ -4000,7 +4000,7 @@", "@@ -4000,9 +4000,9 @@"),
        {"do_wp_page", "gup_fast_pte_range"},
        "a hunk of mm/memory.c is not whole",
    ),
    "counts too large for a machine": (
        lines("@@ -4000,7", f"@@ -4000,{'9' * 5000}"),
        {"do_wp_page", "gup_fast_pte_range"},
        "a hunk of mm/memory.c is not whole",
    ),
    "leading blanks lost": (
        PATCH.replace("\n \t", "\n\t").encode(),
        set(),
        "a hunk of mm/memory.c is not whole",
    ),
    "tabs turned into blanks": (PATCH.replace("\t", "        ").encode(), WHOLE, ""),
    "CRLF": (PATCH.replace("\n", "\r\n").encode(), WHOLE, ""),
    "blank context lines stripped": (
        PATCH.replace("\n \n", "\n\n").encode(),
        WHOLE,
        "",
    ),
    "hunk without its file": (
        PATCH.partition("+++ b/mm/memory.c\n")[2].encode(),
        {"gup_fast_pte_range"},
        "a hunk without the two lines before it that name its file",
    ),
    "no name at a hunk": (
        PATCH.replace(" vm_fault_t do_swap_page(struct vm_fault *vmf)", "").encode(),
        {"do_wp_page", "gup_fast_pte_range"},
        "a hunk of mm/memory.c names nothing as its place",
    ),
    "only a name, cut": (
        lines(
            "vm_fault_t do_swap_page(struct vm_fault *vmf)",
            "static inline unsigned long long do_swap",
        ),
        {"do_wp_page", "gup_fast_pte_range"},
        "which is no whole function",
    ),
    "binary file": (
        b"diff --git a/mm/a.bin b/mm/a.bin\nindex 1..2 100644\n"
        b"Binary files a/mm/a.bin and b/mm/a.bin differ\n" + PATCH.encode(),
        WHOLE,
        "mm/a.bin is binary; it is not read",
    ),
    "git's binary patch": (
        b"diff --git a/mm/a.bin b/mm/a.bin\nindex 1..2 100644\nGIT binary patch\n"
        b"literal 3\nKcmZQzWMT#Y01f~L\n\nliteral 0\nHcmV?d00001\n\n" + PATCH.encode(),
        WHOLE,
        "mm/a.bin is binary; it is not read",
    ),
    "diff of a merge": (
        b"diff --cc mm/memory.c\nindex 1,2..3\n--- a/mm/memory.c\n+++ b/mm/memory.c\n"
        b"@@@ -1,2 -1,2 +1,3 @@@ int f(void)\n  \ta;\n++\tb;\n  \tc;\n",
        set(),
        "the diff of a merge is not read",
    ),
    "zero bytes": (PATCH.encode() + b"\0\0\0", WHOLE, "has zero bytes"),
    "not UTF-8": (b"caf\xe9\n" + PATCH.encode(), WHOLE, "is not in the charset UTF-8"),
    "UTF-16": (b"\xff\xfe" + PATCH.encode("utf-16-le"), WHOLE, ""),
    "UTF-16 cut in half": (
        b"\xff\xfe" + PATCH.encode("utf-16-le")[:-1],
        set(),
        "is not in the charset 'utf-16'",
    ),
    "unknown charset": (
        part(PATCH.encode(), "Content-Type: text/plain; charset=klingon"),
        WHOLE,
        "is not in the charset 'klingon'",
    ),
    "charset that is none of mails": (
        part(PATCH.encode(), "Content-Type: text/plain; charset=punycode"),
        WHOLE,
        "is not in the charset 'punycode'",
    ),
    "quoted-printable": (
        part(
            quopri.encodestring(PATCH.encode()),
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: quoted-printable",
        ),
        WHOLE,
        "",
    ),
    "base64": (
        part(
            base64.encodebytes(PATCH.encode()),
            "Content-Type: text/plain; charset=utf-8",
            "Content-Transfer-Encoding: base64",
        ),
        WHOLE,
        "",
    ),
    "base64 that is none": (
        part(b"!!!=\n", "Content-Transfer-Encoding: base64"),
        set(),
        "the base64 of a part is broken",
    ),
    "unknown transfer encoding": (
        part(PATCH.encode(), "Content-Transfer-Encoding: rot13"),
        WHOLE,
        "the transfer encoding 'rot13' is not known",
    ),
    "an image beside the patch": (
        part(
            b"--b\n\n" + PATCH.encode() + b"--b\nContent-Type: image/png\n"
            b"Content-Transfer-Encoding: base64\n\niVBORw0KGgo=\n--b--\n",
            "Content-Type: multipart/mixed; boundary=b",
        ),
        WHOLE,
        "the part image/png is no text",
    ),
    "a patch attached as bytes": (
        part(
            b'--b\nContent-Type: application/octet-stream; name="a.patch"\n\n'
            + PATCH.encode()
            + b"--b--\n",
            "Content-Type: multipart/mixed; boundary=b",
        ),
        WHOLE,
        "",
    ),
    "a boundary that never comes": (
        part(PATCH.encode(), "Content-Type: multipart/mixed; boundary=b"),
        WHOLE,
        "",
    ),
    "a hunk longer than it says": (
        lines(" \treturn wp_page_copy(vmf);\n", " \treturn wp_page_copy(vmf);\n }\n"),
        {"do_swap_page", "gup_fast_pte_range"},
        "a hunk of mm/memory.c is not whole (hunk is longer than expected)",
    ),
    "parts in parts in parts": (
        b"".join(
            b"From: a@b.c\nSubject: x\nContent-Type: multipart/mixed; boundary=b%d\n\n"
            b"--b%d\n" % (n, n)
            for n in range(400)
        )
        + PATCH.encode(),
        set(),
        "",
    ),
    "a quoted patch": ("> " + PATCH.replace("\n", "\n> "), set(), ""),
    "a mail": (MAIL.encode(), WHOLE, ""),
    "the head of a mail alone": (b"From: a@b.c\nSubject: x\n", set(), ""),
    "a line of a megabyte": (
        lines("new_call(folio)", "x" * 2**20),
        WHOLE,
        "",
    ),
    "a header of many names": (
        b"diff --git a/x b/y" + b" b/y" * 40000 + b"\n" + PATCH.encode(),
        WHOLE,
        "",
    ),
    "a binary line of many names": (
        b"Binary files " + b"x and " * 40000 + b"\n" + PATCH.encode(),
        WHOLE,
        "",
    ),
    "a citation with a long tail": (
        b"AE-FORK-2 " + b"> " * 50000 + b"(" * 50000 + b"\n",
        set(),
        "",
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_what_is_broken_is_said_in_one_sentence_and_the_rest_is_judged(name):
    raw, functions, says = BROKEN[name]
    raw = raw if isinstance(raw, bytes) else raw.encode()
    found, notes = judged(raw)
    assert found == functions
    assert any(says in note for note in notes) if says else True
    assert all("\n" not in note for note in notes)
    if not says and functions:
        assert notes == []


SOURCES = [
    PATCH.encode(),
    MAIL.encode(),
    b"From 0123 Mon Sep 17 00:00:00 2001\n" + MAIL.encode() + b"\n",
    BROKEN["quoted-printable"][0],
    BROKEN["base64"][0],
    BROKEN["an image beside the patch"][0],
    PATCH.encode("utf-16"),
]
CHUNKS = st.sampled_from(
    [
        *(b"\n", b"\r\n", b"\0", b"\xff", b" ", b"\t", b"=", b"=3D", b"> ", b"--- "),
        *(
            b"+++ b/mm/gup.c\n",
            b"@@ -1 +1 @@\n",
            b"@@ -1,9 +1,0 @@ f(void)\n",
            b"@@@ -",
        ),
        *(b"diff --git a/mm/ksm.c b/mm/ksm.c\n", b"Binary files a and b differ\n"),
        *(b"GIT binary patch\n", b"\\ No newline at end of file\n", b"From me\n\n"),
        *(b"From: a@b.c\nSubject: x\n", b"Content-Type: multipart/mixed; boundary=b\n"),
        *(b"Content-Transfer-Encoding: base64\n\n", b"--b\n", b"--b--\n", b"}\n", b"{"),
        *(
            b"AE-FORK-2",
            b"AE-",
            b"..",
            b'"',
            b"revision 2 (checksum ",
            b"new file mode ",
        ),
        *(
            b"https://anon-exclusive.example/",
            b"# AE-COW-9 (rev 0, ",
            "é\u2028".encode(),
        ),
        *(b"charset=utf-7; ", b'charset="\xff"\n', b"Subject: =?utf-8?b?////?=\n"),
    ]
)
EDIT = st.tuples(
    st.integers(0, 3000),
    st.integers(0, 60),
    st.one_of(CHUNKS, st.binary(max_size=12)),
)


def mutated(source: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, cut, put in edits:
        at %= len(source) + 1
        source = source[:at] + put + source[at + cut :]
    return source


inputs = st.one_of(
    st.builds(mutated, st.sampled_from(SOURCES), st.lists(EDIT, max_size=8)),
    st.lists(st.one_of(CHUNKS, st.binary(max_size=20)), max_size=30).map(b"".join),
    st.binary(max_size=300),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(inputs)
def test_any_bytes_are_judged_or_refused_in_sentences(raw):
    _, notes = judged(raw)
    for note in notes:
        assert note
        assert not {"\n", "\r", "\0"} & set(note)
        assert len(note) < 400
        assert "Traceback" not in note
