"""Names that change with code and not with its prose."""

from __future__ import annotations

import pytest

from spec import codename
from spec.codename import Meanings, fingerprint

PLAIN = "N = 1\n\n\ndef f(x):\n    return x + N\n"
ALIKE = (
    '"""A module."""\nN = 1\n"""A constant."""\n\n\ndef f(x):\n    return x + N\n',
    "N = 1  # one\n\n\ndef f(x):\n    # adds\n    return (x + N)\n",
    'N = 1\ndef f(x):\n    """Add."""\n    return x + N\n',
)
OTHER = (
    "N = 2\n\n\ndef f(x):\n    return x + N\n",
    'N = 1\n\n\ndef f(x):\n    return "x" + N\n',
    'N = 1\nS = """A text."""\n\n\ndef f(x):\n    return x + N\n',
)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A folder of sources, and meanings that are kept beside it."""
    meanings = Meanings(tmp_path / "meanings.json")
    monkeypatch.setattr(codename, "_meanings", lambda: meanings)
    folder = tmp_path / "spec"
    folder.mkdir()
    (folder / "one.py").write_text(PLAIN, encoding="utf-8")
    return folder


@pytest.mark.parametrize("text", ALIKE)
def test_prose_changes_no_fingerprint(sources, text):
    before = fingerprint(sources)
    (sources / "one.py").write_text(text, encoding="utf-8")
    assert fingerprint(sources) == before


@pytest.mark.parametrize("text", OTHER)
def test_code_changes_it(sources, text):
    before = fingerprint(sources)
    (sources / "one.py").write_text(text, encoding="utf-8")
    assert fingerprint(sources) != before


def test_a_file_counts_unless_it_is_left_out(sources):
    before = fingerprint(sources)
    (sources / "two.py").write_text("", encoding="utf-8")
    with_two = fingerprint(sources)
    assert with_two != before
    assert fingerprint(sources, besides=["two.py"]) == before
    assert fingerprint(sources, besides=["two.py"], also=["two.py"]) == with_two
    (sources / "two.py").rename(sources / "three.py")
    assert fingerprint(sources) not in (before, with_two)


def test_what_is_kept_is_read_and_not_computed(tmp_path, monkeypatch):
    file = tmp_path / "build" / "meanings.json"
    first = Meanings(file)
    meaning = first.of(PLAIN.encode())
    first.keep()

    def fail(content):
        raise AssertionError("it is known")

    monkeypatch.setattr(codename, "_parsed", fail)
    assert Meanings(file).of(PLAIN.encode()) == meaning


@pytest.mark.parametrize("content", ["", "{", "\ud800"])
def test_a_file_that_is_damaged_is_written_anew(tmp_path, content):
    file = tmp_path / "meanings.json"
    file.write_text(content, encoding="utf-8", errors="surrogatepass")
    meanings = Meanings(file)
    assert meanings.known == {}
    meaning = meanings.of(PLAIN.encode())
    meanings.keep()
    assert Meanings(file).known == meanings.known
    assert meaning in meanings.known.values()


def test_an_installed_package_is_not_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(codename, "EDITED", False)
    meanings = Meanings(tmp_path / "none.json")
    assert meanings.of(PLAIN.encode()) != meanings.of(ALIKE[1].encode())
    assert not meanings.known
