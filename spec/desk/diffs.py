"""The hunks of unified diffs in a text, by the library unidiff.

Where the library refuses a text, its hunks are put to it one by one: whole ones are
kept, each of the others is reported in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unidiff.errors import UnidiffParseError
from unidiff.patch import Hunk as ParsedHunk
from unidiff.patch import PatchedFile, PatchSet

from spec.desk.mail import Line, Piece, Reading

LONGEST = 4096
"""Characters of a line that are looked at; more would slow the library down."""
NOWHERE = "/dev/null"
_FILE = "diff --git "
_OLD, _NEW, _HUNK, _MERGED = "--- ", "+++ ", "@@ -", "@@@ -"
_NO_LINE = ("-- ", _OLD, _NEW)
"""What may follow a hunk although it begins as a line of one."""
_BINARY = ("Binary files ", "GIT binary patch")
_COMBINED = ("diff --cc ", "diff --combined ", _MERGED)


@dataclass(frozen=True)
class Changed:
    """A line of a hunk.

    Attributes:
        kind: ``+``, ``-`` or a blank.
        text: the line without its mark.
        number: of the line in the file that was read.
    """

    kind: str
    text: str
    number: int


@dataclass(frozen=True)
class Hunk:
    """A whole hunk of a file.

    Attributes:
        old, new: paths in the tree before and after; empty where there is no file.
        header: what stands behind the second ``@@``.
        start, target: the first line, before and after.
        lines: context, removed and added lines.
        number: the line of the file that was read at which the hunk begins.
        origin: the name of that file.
        title: the subject of the mail.
        follows: the line after the hunk.
    """

    old: str
    new: str
    header: str
    start: int
    target: int
    lines: tuple[Changed, ...]
    number: int
    origin: str = ""
    title: str = ""
    follows: str = ""

    @property
    def file(self) -> str:
        """The path by which the file is known: the new one, if there is one."""
        return self.new or self.old


def hunks(reading: Reading) -> list[Hunk]:
    """Every whole hunk of what was read; what is not whole goes to its notes."""
    found = []
    for piece in reading.pieces:
        found += list(_hunks(reading, piece))
    return found


def _hunks(reading: Reading, piece: Piece) -> Iterator[Hunk]:
    lines = [Line(line.text[:LONGEST], line.number) for line in piece.lines]
    for line in lines:
        if line.text.startswith(_COMBINED):
            reading.note("the diff of a merge is not read", line.number)
    begun = sum(line.text.startswith(_HUNK) for line in lines)
    try:
        files = _parse(lines)
    except (UnidiffParseError, ValueError):
        files = None
    if files is None or begun > sum(map(len, files)):
        yield from _one_by_one(reading, lines, piece.title)
        return
    for file in files:
        yield from _of_file(reading, file, lines, piece.title)


def _parse(lines: list[Line]) -> PatchSet:
    return PatchSet([f"{line.text}\n" for line in lines])


def _of_file(
    reading: Reading, file: PatchedFile, lines: list[Line], title: str
) -> Iterator[Hunk]:
    old, new = _path(file.source_file), _path(file.target_file)
    if file.is_binary_file:
        at = lines[file.diff_line_no - 1].number if file.diff_line_no else 0
        reading.note(f"{new or old} is binary; it is not read", at)
        return
    for hunk in file:
        yield from _whole(reading, _made(hunk, (old, new), lines, reading.name, title))


def _made(
    hunk: ParsedHunk,
    paths: tuple[str, str],
    lines: list[Line],
    origin: str,
    title: str,
) -> Hunk:
    numbered = [
        Changed(
            line.line_type, line.value.rstrip("\n"), _number(lines, line.diff_line_no)
        )
        for line in hunk
        if line.line_type in ("+", "-", " ")
    ]
    last = max((line.diff_line_no or 0 for line in hunk), default=0)
    return Hunk(
        *paths,
        header=hunk.section_header,
        start=hunk.source_start,
        target=hunk.target_start,
        lines=tuple(numbered),
        number=numbered[0].number - 1 if numbered else 0,
        origin=origin,
        title=title,
        follows=lines[last].text if 0 < last < len(lines) else "",
    )


def _whole(reading: Reading, hunk: Hunk) -> Iterator[Hunk]:
    """The hunk, unless more lines of a hunk follow it than its header says."""
    if hunk.follows.startswith((" ", "+", "-")) and not hunk.follows.startswith(
        _NO_LINE
    ):
        reading.note(_broken(hunk.file, "hunk is longer than expected"), hunk.number)
    else:
        yield hunk


def _number(lines: list[Line], position: int | None) -> int:
    return lines[position - 1].number if position else 0


def _path(name: str) -> str:
    """A path in the tree, from a header: without the folders before its top.

    >>> _path("a/mm/gup.c"), _path("linux-6.1/mm/gup.c"), _path("/dev/null")
    ('mm/gup.c', 'mm/gup.c', '')
    >>> _path("b/README"), _path("arch/x86/mm/fault.c")
    ('README', 'arch/x86/mm/fault.c')
    """
    name = name.strip().strip('"')
    if name == NOWHERE:
        return ""
    parts = name.split("/")
    for at, part in enumerate(parts[:-1]):
        if part in _TOP:
            return "/".join(parts[at:])
    return "/".join(parts[1:]) if len(parts) > 1 and len(parts[0]) == 1 else name


_TOP = frozenset(
    {
        *("Documentation", "arch", "block", "certs", "crypto", "drivers", "fs"),
        *("include", "init", "io_uring", "ipc", "kernel", "lib", "mm", "net", "rust"),
        *("samples", "scripts", "security", "sound", "tools", "usr", "virt"),
    }
)
"""The folders at the top of a kernel tree."""


# -- what the library refuses ----------------------------------------------------------


def _one_by_one(reading: Reading, lines: list[Line], title: str) -> Iterator[Hunk]:
    """The whole hunks among broken ones."""
    old = new = ""
    for at, line in enumerate(lines):
        if line.text.startswith(_FILE):
            old = new = ""
        elif _is_file_header(lines, at):
            old = line.text.removeprefix(_OLD).partition("\t")[0]
            new = lines[at + 1].text.removeprefix(_NEW).partition("\t")[0]
        elif line.text.startswith(_BINARY):
            reading.note("a binary file; it is not read", line.number)
        elif line.text.startswith(_HUNK):
            yield from _alone(reading, lines[at : _end(lines, at + 1)], old, new, title)


def _is_file_header(lines: list[Line], at: int) -> bool:
    return (
        at + 1 < len(lines)
        and lines[at].text.startswith(_OLD)
        and lines[at + 1].text.startswith(_NEW)
    )


def _end(lines: list[Line], at: int) -> int:
    """Where the next hunk or file begins."""
    while at < len(lines):
        if lines[at].text.startswith((_HUNK, _FILE)):
            return at
        follows = at + 2 < len(lines) and lines[at + 2].text.startswith(_HUNK)
        if follows and _is_file_header(lines, at):
            return at
        at += 1
    return at


def _alone(
    reading: Reading, lines: list[Line], old: str, new: str, title: str
) -> Iterator[Hunk]:
    """One hunk, put to the library under the header of its file."""
    if not old or not new:
        reading.note(
            "a hunk without the two lines before it that name its file; it is not "
            "judged",
            lines[0].number,
        )
        return
    paths = (_path(old), _path(new))
    headed = [Line(f"{_OLD}{old}", 0), Line(f"{_NEW}{new}", 0), *lines]
    try:
        found = [hunk for file in _parse(headed) for hunk in file]
        why = "" if found else "its first line is malformed"
    except (UnidiffParseError, ValueError) as error:
        why = str(error).partition(":")[0].lower()
    if why:
        reading.note(_broken(paths[1] or paths[0], why), lines[0].number)
        return
    for hunk in found:
        yield from _whole(reading, _made(hunk, paths, headed, reading.name, title))


def _broken(file: str, why: str) -> str:
    return (
        f"a hunk of {file} is not whole ({why}): wrapped, cut or edited; it is not "
        f"judged"
    )
