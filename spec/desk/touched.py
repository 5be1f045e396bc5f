"""The functions that a diff touches: by the diff alone, or exactly, in a tree.

By the diff alone: a hunk names the function that it begins in, and a line that begins
in column 0 begins or ends one, as the kernel lays out its code. With a tree, the hunks
are applied and the functions before and after are those of the parser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from spec.desk.diffs import Changed, Hunk
from spec.desk.functions import functions
from spec.desk.mail import shown
from spec.desk.trees import Tree

UNKNOWN = "?"
"""In place of a function that a hunk does not tell."""
SHORTEST_CUT = 39
"""GNU diff cuts what a header names to 40 characters, and drops blanks at its end."""
_AT_TOP = ("#define", "#undef", "#include")
_NO_NAMES = frozenset({"if", "for", "while", "switch", "return", "sizeof", "do"})


@dataclass
class Touched:
    """A function, and what a diff does to it.

    Attributes:
        file, function: where.
        added, removed: numbers of lines.
        lines: the changed lines.
        titles: the subjects of the mails that touch it, in their order.
    """

    file: str
    function: str
    added: int = 0
    removed: int = 0
    lines: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        """``file:function``."""
        return f"{self.file}:{self.function}"

    @property
    def changed(self) -> int:
        """Added and removed lines together."""
        return self.added + self.removed

    def take(self, line: Changed, title: str) -> None:
        """Count a changed line."""
        if line.kind == "+":
            self.added += 1
        else:
            self.removed += 1
        self.lines.append(line.text)
        if title and title not in self.titles:
            self.titles.append(title)


class _Collected:
    """The functions touched so far, in the order of the diff."""

    def __init__(self) -> None:
        self.by_place: dict[tuple[str, str], Touched] = {}

    def take(self, file: str, function: str, line: Changed, title: str) -> None:
        """A changed line of a function; blank lines change none."""
        if function and line.text.strip():
            key = (file, function)
            self.by_place.setdefault(key, Touched(*key)).take(line, title)


def touched(
    hunks: Iterable[Hunk], known: Iterable[str], tree: Tree | None = None
) -> tuple[list[Touched], list[str]]:
    """The functions that hunks touch, in the order in which they do, and notes.

    Args:
        hunks: of one patch or of a series.
        known: the files that matter; others are passed over.
        tree: what the first of them applies to.

    Returns:
        The functions, and a sentence about each hunk that does not tell its function.
    """
    notes: list[str] = []
    collected = _Collected()
    matter = frozenset(known)
    texts = _Texts(tree) if tree else None
    for group in _by_file(hunk for hunk in hunks if {hunk.old, hunk.new} & matter):
        if texts is None or not texts.take(group, collected):
            if texts is not None:
                notes.append(
                    f"{group[0].origin}:{group[0].number}: this does not apply to "
                    f"{group[0].file} of the tree; it is judged by the diff alone"
                )
            _by_diff(notes, group, collected)
    return list(collected.by_place.values()), list(dict.fromkeys(notes))


def _by_file(hunks: Iterable[Hunk]) -> Iterator[list[Hunk]]:
    """Hunks that follow each other in one file of one patch."""
    group: list[Hunk] = []
    for hunk in hunks:
        if group and (group[-1].old, group[-1].new, group[-1].title) != (
            hunk.old,
            hunk.new,
            hunk.title,
        ):
            yield group
            group = []
        group.append(hunk)
    if group:
        yield group


# -- by the diff alone -----------------------------------------------------------------


def _by_diff(notes: list[str], group: list[Hunk], collected: _Collected) -> None:
    """Collect what the hunks of a file touch.

    A hunk's header has the name before the patch. Where an earlier hunk gave the
    function that is still open another name, lines that are added belong to that.
    """
    renamed: dict[str, str] = {}
    for hunk in group:
        named = _named_by(hunk.header)
        before, old = _side(hunk, "-", named)
        after, new = _side(hunk, "+", renamed.get(named, named))
        if old and new and old != new:
            renamed[old] = new
        for line, name in (*before, *after):
            if name == UNKNOWN:
                notes.append(f"{hunk.origin}:{hunk.number}: {shown(_unnamed(hunk))}")
            else:
                file = hunk.old if line.kind == "-" else hunk.new
                collected.take(file, name, line, hunk.title)


def _side(hunk: Hunk, mark: str, named: str) -> tuple[list[tuple[Changed, str]], str]:
    """The changed lines of one side by function, and what is open at its end."""
    side = [line for line in hunk.lines if line.kind in (" ", mark)]
    names, last = _names(named, [line.text for line in side])
    return [
        (line, name)
        for line, name in zip(side, names, strict=True)
        if line.kind == mark and line.text.strip()
    ], last


def _unnamed(hunk: Hunk) -> str:
    said = hunk.header.strip()
    what = f"names {said!r}, which is no whole function," if said else "names nothing"
    return f"a hunk of {hunk.file} {what} as its place; --tree tells the function"


def _names(named: str, lines: list[str]) -> tuple[list[str], str]:
    """The function of each line, as far as one side of a hunk tells, and the last.

    >>> _names("f", ["\tx = 1;", "}", "", "int g(void)", "{", "\ty = 1;"])
    (['f', 'f', '', 'g', 'g', 'g'], 'g')
    """
    names: list[str] = []
    current = named if _begins_inside(lines) else ""
    opened = True
    for text in lines:
        kind = _kind(text)
        if kind == "top":
            current, opened = _defined(text), text.rstrip().endswith("{")
        elif not opened and text.rstrip().endswith(";"):
            # a prototype that takes several lines
            names = _forgotten(names, current)
            current = ""
        opened = opened or kind == "begin"
        names.append(current)
        if kind == "end":
            current, opened = "", True
    return names, current


def _forgotten(names: list[str], name: str) -> list[str]:
    """The names without the last run of one."""
    kept = list(names)
    for at in reversed(range(len(kept))):
        if kept[at] != name:
            break
        kept[at] = ""
    return kept


def _begins_inside(lines: list[str]) -> bool:
    """Whether the first line is in the function that the header names.

    A function ends with a brace in column 0. Where something else begins in column 0
    first, it had ended before.
    """
    kinds = (_kind(text) for text in lines)
    return next((kind for kind in kinds if kind in ("end", "top")), "end") == "end"


def _kind(text: str) -> str:
    """What a line is by its first column: end, begin, top, or empty for all else."""
    if text.startswith("}"):
        return "end"
    if text.startswith("{"):
        return "begin"
    if text.startswith(" *"):
        return "top"
    if not text.strip() or text[0] in " \t":
        return ""
    if text[0] == "#":
        return "top" if text.startswith(_AT_TOP) else ""
    return "" if _is_label(text) else "top"


def _is_label(text: str) -> bool:
    """Whether a line is a label, as ``out:``.

    >>> _is_label("out_unlock:"), _is_label("int f(int a)")
    (True, False)
    """
    name, colon, _ = text.partition(":")
    return bool(colon) and name.strip().isidentifier()


def _named_by(header: str) -> str:
    """The function that a hunk's header names, `UNKNOWN` or empty if it is none."""
    text = header.strip()
    cut = "(" not in text and len(text) >= SHORTEST_CUT
    if not text or cut or _is_label(text):
        return UNKNOWN
    return _defined(text)


def _defined(text: str) -> str:
    """The function whose definition a line in column 0 begins; empty if it is none.

    >>> _defined("static inline int f(struct page *page,"), _defined("struct x y = {")
    ('f', '')
    """
    before, bracket, _ = text.partition("(")
    if not (text[0].isalpha() or text[0] == "_"):
        return ""
    if not bracket or "=" in before or text.rstrip().endswith(";"):
        return ""
    words = before.replace("*", " ").split()
    name = words[-1] if words else ""
    return name if name.isidentifier() and name not in _NO_NAMES else ""


# -- in a tree -------------------------------------------------------------------------


class _Texts:
    """The files of a tree as the patches that were applied so far leave them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.now: dict[str, list[str]] = {}

    def _text(self, file: str) -> list[str]:
        if file not in self.now:
            path = self.tree.root / file
            raw = path.read_bytes() if file and path.is_file() else b""
            text = raw.decode("utf-8", "replace")
            self.now[file] = text.split("\n")[:-1] if text else []
        return self.now[file]

    def take(self, group: list[Hunk], collected: _Collected) -> bool:
        """Apply the hunks of a file and collect what they touch; false if they do not.

        A patch that the tree has already is taken the other way round. Lines are looked
        for elsewhere only if neither way fits where they should be.
        """
        for elsewhere, applied in product((False, True), (False, True)):
            given = self._text(group[0].new if applied else group[0].old)
            found = _spliced(given, group, applied, elsewhere)
            if found is None:
                continue
            other, places, others = found
            sides = [(given, places), (other, others)]
            if applied:
                sides.reverse()
            for (text, at), mark in zip(sides, "-+", strict=True):
                file = group[0].old if mark == "-" else group[0].new
                _inside(text, at, file, group[0].title, collected)
            if not applied:
                self.now[group[0].new] = other
            return True
        return False


_Places = list[tuple[int, Changed]]


def _spliced(
    given: list[str], group: list[Hunk], applied: bool, elsewhere: bool
) -> tuple[list[str], _Places, _Places] | None:
    """The other text that hunks make of a given one, and where lines changed in both.

    None if a hunk does not fit.
    """
    mine, theirs = ("+", "-") if applied else ("-", "+")
    other: list[str] = []
    here: _Places = []
    there: _Places = []
    done = 0
    for hunk in group:
        old = [line for line in hunk.lines if line.kind in (" ", mine)]
        wanted = (hunk.target if applied else hunk.start) - 1
        start = _find(given, [line.text for line in old], wanted, done, elsewhere)
        if start is None:
            return None
        other += given[done:start]
        here += [(start + n, line) for n, line in enumerate(old) if line.kind == mine]
        new = [line for line in hunk.lines if line.kind in (" ", theirs)]
        at = len(other)
        there += [(at + n, line) for n, line in enumerate(new) if line.kind == theirs]
        other += [line.text for line in new]
        done = start + len(old)
    return other + given[done:], here, there


def _find(
    text: list[str], wanted: list[str], expected: int, least: int, elsewhere: bool
) -> int | None:
    """Where lines stand in a text: where they should, or `elsewhere` at one place."""
    if not wanted:
        return max(expected + 1, least) if expected + 1 <= len(text) else None
    size = len(wanted)
    if expected >= least and _same(text[expected : expected + size], wanted):
        return expected
    if not elsewhere:
        return None
    first = wanted[0].rstrip()
    found = [
        at
        for at in range(least, len(text) - size + 1)
        if text[at].rstrip() == first and _same(text[at : at + size], wanted)
    ]
    return found[0] if len(found) == 1 else None


def _same(text: list[str], wanted: list[str]) -> bool:
    return [line.rstrip() for line in text] == [line.rstrip() for line in wanted]


def _inside(
    text: list[str], places: _Places, file: str, title: str, collected: _Collected
) -> None:
    """Collect the changed lines of a text by the functions that the parser finds."""
    if not places:
        return
    source = "".join(f"{line}\n" for line in text).encode()
    found = functions(source)
    for at, line in places:
        inside = [f for f in found if f.first <= at + 1 <= f.last]
        if inside:
            # the innermost: where the parser lost its way an outer one may be too long
            name = max(inside, key=lambda f: f.first).name
            collected.take(file, name, line, title)
