"""The reviewer's desk on the sources of a kernel, where they can be fetched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from desk_diffs import inserting

from spec.cells import SpecificationError
from spec.desk.anchors import by_place, rules_at
from spec.desk.debian import fetch
from spec.desk.functions import functions
from spec.desk.mail import load_file
from spec.desk.review import review
from spec.desk.trees import Tree, differences, missing, open_tree, recorded

RELEASE = "6.12"
FOLDER = Path(__file__).parents[1] / "build" / "sources" / RELEASE
ADDED = "\tdesk_was_here(1);"


@pytest.fixture(scope="module")
def tree() -> Tree:
    """The sources; `make anchors` has them, otherwise Debian's package is fetched."""
    if not (FOLDER / "Makefile").exists():
        if shutil.which("apt-get") is None:
            pytest.skip("kernel sources come from Debian, and apt-get is not here")
        try:
            package = fetch(RELEASE, FOLDER)
        except SpecificationError as error:
            pytest.skip(f"kernel sources could not be fetched: {error}")
        (FOLDER / "package").write_text(package)
    return open_tree(FOLDER)


def test_every_anchor_is_found(tree):
    assert tree.release == RELEASE
    assert missing(tree) == {}


def test_the_digests_are_those_that_were_recorded_of_this_package(tree):
    package = FOLDER / "package"
    if not package.exists() or package.read_text() != recorded()[RELEASE].package:
        pytest.skip("the package is not the one of the record")
    assert differences(tree) == []


def test_the_parser_finds_nearly_all_functions(tree):
    """A body begins with a brace alone in column 0, as kernel code is laid out."""
    begun = found = 0
    for path in FOLDER.rglob("*.[ch]"):
        source = path.read_bytes()
        spans = [(f.first, f.last) for f in functions(source)]
        for number, line in enumerate(source.split(b"\n"), 1):
            if line == b"{":
                begun += 1
                found += any(first <= number <= last for first, last in spans)
    assert begun > 2000
    assert found / begun > 0.99


def bodies(tree: Tree) -> list[tuple[str, list[int]]]:
    """Each anchored function, and lines in it after which one more can stand."""
    places = []
    for place in by_place():
        file, _, name = place.partition(":")
        lines = (tree.root / file).read_text().split("\n") if rules_at(place) else []
        for f in tree.functions(file) if lines else ():
            if f.name == name:
                inside = [
                    at
                    for at in range(f.first, f.last)
                    if lines[at - 1].startswith("\t") and lines[at - 1].endswith(";")
                ]
                ends = {inside[0], inside[len(inside) // 2], inside[-1]}
                places.append((place, sorted(ends)))
    return places


def test_a_line_in_a_function_leads_to_its_rules_and_to_no_others(tree):
    tried = told = 0
    for place, ends in bodies(tree):
        file = place.partition(":")[0]
        old = (tree.root / file).read_text().split("\n")[:-1]
        for at in ends:
            patch = load_file("p", inserting(old, at, ADDED, file).encode())
            exact = review([patch], tree)
            assert [f.place for f in exact.functions] == [place]
            wanted = {found.rule.id for found in rules_at(place, RELEASE)}
            assert {concern.rule.id for concern in exact.concerns} == wanted
            alone = review([patch])
            assert {f.place for f in alone.functions} <= {place}
            assert alone.functions or alone.notes
            tried += 1
            told += bool(alone.functions)
    assert tried > 100
    assert told / tried > 0.9
