"""The server of `make serve`, notices on what others wrote, pages that are kept."""

from __future__ import annotations

import functools
import gzip
import http.client
import json
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import SITE
from material.plugins.search.plugin import SearchIndex
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from spec.cells import SpecificationError
from spec.publish import notices
from spec.publish.indexed import Entries
from spec.publish.notices import Part
from spec.publish.rendered import Renderings
from spec.publish.serve import HOST, Handler, Server

PAGE = "<p>page</p>" * 100


@pytest.fixture
def server(tmp_path: Path) -> Iterator[http.client.HTTPConnection]:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text(PAGE)
    (tmp_path / "404.html").write_text("nothing here")
    (tmp_path / "x.wasm").write_bytes(b"\0asm")
    handler = functools.partial(Handler, directory=str(tmp_path))
    with Server((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(HOST, server.server_address[1])
        yield connection
        connection.close()
        server.shutdown()


@pytest.mark.parametrize(("problem", "told"), [(ConnectionResetError, 0), (OSError, 1)])
def test_only_a_browser_that_leaves_is_no_error(problem, told, capsys):
    with Server((HOST, 0), Handler) as server:
        try:
            raise problem
        except OSError:
            server.handle_error(None, ("", 0))
    assert capsys.readouterr().err.count("Traceback") == told


def ask(
    server: http.client.HTTPConnection, path: str, accept: str = "gzip"
) -> tuple[int, dict[str, str], bytes]:
    server.request("GET", path, headers={"Accept-Encoding": accept})
    answer = server.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_text_is_compressed_for_who_unpacks_it(
    server: http.client.HTTPConnection,
) -> None:
    status, headers, content = ask(server, "/a/?q=1")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert len(content) < len(PAGE) / 10
    assert gzip.decompress(content).decode() == PAGE
    status, headers, content = ask(server, "/a/", accept="identity")
    assert "Content-Encoding" not in headers
    assert (status, content.decode()) == (200, PAGE)


def test_other_files_are_sent_as_they_are(server: http.client.HTTPConnection) -> None:
    status, headers, content = ask(server, "/x.wasm")
    assert (status, content) == (200, b"\0asm")
    assert headers["Content-type"] == "application/wasm"
    assert ask(server, "/a")[0] == 301


def test_a_changed_page_is_sent_anew(
    server: http.client.HTTPConnection, tmp_path: Path
) -> None:
    assert ask(server, "/a/")[1]["Cache-Control"] == "no-cache"
    (tmp_path / "a" / "index.html").write_text("changed")
    assert gzip.decompress(ask(server, "/a/")[2]) == b"changed"


def test_a_dead_address_leads_to_the_sites_own_page(
    server: http.client.HTTPConnection,
) -> None:
    for path in ("/no/", "/../../etc/passwd"):
        status, _, content = ask(server, path)
        assert (status, gzip.decompress(content)) == (404, b"nothing here")


# -- notices ---------------------------------------------------------------------------


def wheel(folder: Path, metadata: str, **files: str) -> Path:
    path = folder / "w-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w-1.dist-info/METADATA", f"Name: w\nVersion: 1\n{metadata}")
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ("License-Expression: MIT", "MIT"),
        ("License: MPL 2", "MPL 2"),
        ("Classifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("", "The text"),
    ],
)
def test_a_wheel_tells_its_licence(tmp_path: Path, said: str, licence: str) -> None:
    metadata = f"Home-page: https://w.example/\n{said}\n"
    found = notices.wheel(wheel(tmp_path, metadata, LICENSE="The text\nof it"))
    assert found.checked().licence == licence
    assert found.source == "https://w.example/"
    assert "of it" in found.text


def test_licences_of_what_is_inside_a_wheel_are_kept(tmp_path: Path) -> None:
    path = wheel(tmp_path, "", LICENSE="own", w__vendored__COPYING="inner")
    assert "inner" in notices.wheel(path).text
    lonely = wheel(tmp_path, "", **{"w__b.py": "# Copyright (c) 2012 M\n"})
    assert notices.wheel(lonely).text == "Copyright (c) 2012 M"


@pytest.mark.parametrize("missing", ["version", "licence", "source", "text"])
def test_what_does_not_tell_all_is_refused(missing: str) -> None:
    told = dict.fromkeys(("name", "version", "licence", "source", "text"), "told")
    Part(**told).checked()
    with pytest.raises(SpecificationError, match=f"do not know the {missing} of told"):
        Part(**{**told, missing: " "}).checked()


def test_a_theme_with_another_package_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(notices.IN_THEME, "rxjs")
    with pytest.raises(SpecificationError, match="rxjs"):
        notices.theme({})


@pytest.mark.skipif(
    not (SITE / "lite" / "run.json").exists(),
    reason="there is no site; make site builds it",
)
def test_the_page_names_all_that_a_browser_can_load() -> None:
    page = (SITE / "reference" / "notices" / "index.html").read_text(encoding="utf-8")
    lock = json.loads((SITE / "lite/static/pyodide/pyodide-lock.json").read_bytes())
    own = {"anon-exclusive"}
    for package in lock["packages"].values():
        if package["name"] in own:
            continue
        row = rf">{package['name']}</a></td>\s*<td>{package['version']}</td>"
        assert re.search(row, page), package["name"]
    for found in set(re.findall(r'href="\.\./\.\./(notices/[^"]+)"', page)):
        assert (SITE / found).stat().st_size > 60, found


# -- renderings ------------------------------------------------------------------------


def site_in(folder: Path) -> MkDocsConfig:
    config = MkDocsConfig()
    config.load_dict({"site_name": "s", "docs_dir": str(folder), "plugins": []})
    config.validate()
    return config


def test_a_page_is_kept_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    config = site_in(tmp_path)
    kept = tmp_path / "kept"

    def render(markdown: str, *others: str) -> Page:
        named = [File(n, None, "site", True) for n in ("a.md", *others)]
        files = Files(named)
        page = Page(None, named[0], config)
        page.markdown = markdown
        made = Renderings(config, files, kept)
        made.render(page, page.render, config, files)
        return page

    first, again = (
        render("# T\n\n[b](b.md#x)", "b.md"),
        render("# T\n\n[b](b.md#x)", "b.md"),
    )
    assert again.content == first.content
    assert (again.title, again.toc.items[0].id) == ("T", "t")
    assert [f.src_uri for f in again.links_to_anchors or {}] == ["b.md"]
    (one,) = kept.iterdir()
    assert "U" in str(render("# U", "b.md").content)
    assert not one.exists()
    before = {path.name for path in kept.iterdir()}
    render("# U", "b.md", "c.md")
    assert {path.name for path in kept.iterdir()} != before


def test_a_title_that_the_renderer_gives_is_kept(tmp_path: Path) -> None:
    """What renders notebooks names the page itself."""
    config = site_in(tmp_path)
    files = Files([File("a.md", None, "site", True)])
    asked = []

    def titled() -> str:
        page = Page(None, next(iter(files)), config)
        page.markdown = "text"

        def make(config: MkDocsConfig, files: Files) -> None:
            asked.append(page)
            Page.render(page, config, files)
            page.title = "A chapter"

        made = Renderings(config, files, tmp_path / "kept")
        made.render(page, make, config, files)
        return str(page.title)

    assert [titled(), titled()] == ["A chapter"] * 2
    assert len(asked) == 1


def test_a_notebook_is_converted_until_it_changes(tmp_path: Path) -> None:
    config = site_in(tmp_path)
    asked = []

    def converted(content: str) -> str:
        (tmp_path / "a.md").write_text(content, encoding="utf-8")
        file = File("a.md", str(tmp_path), "site", True)
        page = Page(None, file, config)

        def convert() -> str:
            asked.append(content)
            return content.upper()

        made = Renderings(config, Files([file]), tmp_path / "kept")
        return str(made.converted(page, convert))

    assert [converted(text) for text in ("a", "a", "b")] == ["A", "A", "B"]
    assert asked == ["a", "b"]


def test_a_page_that_is_warned_of_is_not_kept(tmp_path: Path) -> None:
    config = site_in(tmp_path)
    files = Files([File("a.md", None, "site", True)])
    for markdown in ("[gone](gone.md)", '--8<-- "other"'):
        page = Page(None, next(iter(files)), config)
        page.markdown = markdown
        made = Renderings(config, files, tmp_path / "kept")
        made.render(page, page.render, config, files)
        assert list((tmp_path / "kept").iterdir()) == []


def test_entries_of_the_search_index_are_kept(tmp_path: Path) -> None:
    config = MkDocsConfig()
    config.load_dict(
        {"site_name": "s", "theme": "material", "plugins": ["material/search"]}
    )
    config.validate()
    files = Files([File("a.md", None, "site", True)])

    def indexed(markdown: str) -> list[dict[str, str]]:
        index = config.plugins["material/search"]
        index.search_index = SearchIndex(**index.config)
        entries = Entries(config, tmp_path / "indexed.json")
        page = Page(None, next(iter(files)), config)
        page.markdown = markdown
        page.render(config, files)
        index.search_index.add_entry_from_context(page)
        entries.keep()
        return index.search_index.entries

    first = indexed("# T\n\none\n\n## U\n\ntwo")
    assert [entry["title"] for entry in first] == ["T", "U"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SearchIndex, "add_entry_from_context", None)
        assert indexed("# T\n\none\n\n## U\n\ntwo") == first
    assert indexed("# T\n\nthree")[0]["text"] == "<p>three</p>"
    assert len(json.loads((tmp_path / "indexed.json").read_text())) == 1
