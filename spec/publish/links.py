"""Check that every link of the built site leads somewhere, ids included, offline.

Use: `python -m spec.publish.links build/site`. MkDocs checks what is written in
Markdown; this looks at the pages as they are, templates and raw HTML included.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class _Page(HTMLParser):
    """The ids of a page and the addresses that it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if not value:
                continue
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src"):
                self.links.append(value)


def _target(site: Path, page: Path, path: str) -> Path:
    """The file that the path of a link on `page` leads to."""
    if not path:
        return page
    start = site if path.startswith("/") else page.parent
    found = (start / unquote(path).lstrip("/")).resolve()
    return found / "index.html" if found.is_dir() else found


def _problem(site: Path, path: Path, pages: dict[Path, _Page], link: str) -> str | None:
    """What is wrong with a link on the page at `path`; None if it leads somewhere."""
    url, fragment = urldefrag(link)
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return None
    target = _target(site, path, parts.path)
    if not target.exists():
        return f"{link} does not exist"
    # Ids that begin so are made by the theme's script.
    if not fragment or fragment.startswith("__") or target not in pages:
        return None
    return None if unquote(fragment) in pages[target].ids else f"{link}: no such id"


def broken(site: Path) -> list[str]:
    r"""The dead links and doubled ids of the site in the folder `site`, one a line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "index.html").write_text('<a href="gone/"><a href="#no">')
    ...     print(*broken(Path(folder)), sep="\n")
    index.html: gone/ does not exist
    index.html: #no: no such id
    """
    site = site.resolve()
    pages = {
        path: _Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }
    found = []
    for path, page in pages.items():
        twice = {name for name in page.ids if page.ids.count(name) > 1}
        problems = [f"the id {name} is there twice" for name in sorted(twice)]
        for link in page.links:
            if problem := _problem(site, path, pages, link):
                problems.append(problem)
        found += [f"{path.relative_to(site)}: {problem}" for problem in problems]
    return found


def main(arguments: list[str]) -> int:
    """Print the dead links of the site in the folder that is named; 1 if any."""
    if len(arguments) != 1 or not Path(arguments[0], "index.html").is_file():
        print("usage: python -m spec.publish.links SITE", file=sys.stderr)
        return 2
    found = broken(Path(arguments[0]))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{len(found)} dead links")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
