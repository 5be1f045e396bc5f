"""Check that every link of the built site leads somewhere, ids included, offline.

Use: `python -m spec.publish.links build/site`. MkDocs checks what is written in
Markdown; this looks at the pages as they are, templates and raw HTML included.
"""

import re
import sys
from collections import Counter
from html import unescape
from os.path import join, normpath
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

_TAG = re.compile(
    r"""<!--.*?-->
    | (<script\b (?:[^>"']|"[^"]*"|'[^']*')* >) .*? </script>
    | (<[a-z] (?:[^>"']|"[^"]*"|'[^']*')* >)""",
    re.S | re.I | re.X,
)
_ATTRIBUTE = re.compile(
    r"""\s(id|href|src)=(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.I
)


class _Page:
    """The ids of a page and the addresses that it refers to.

    The site is well-formed and large: Python's parser takes ten times as long.
    """

    def __init__(self, text: str) -> None:
        self.ids: list[str] = []
        self.links: list[str] = []
        for script, tag in _TAG.findall(text):
            for name, *values in _ATTRIBUTE.findall(script or tag):
                if value := unescape("".join(values)):
                    (self.ids if name.lower() == "id" else self.links).append(value)


class _Files:
    """What there is in the folder of a site, each file asked for once."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._known: dict[str, Path | None] = {}

    def target(self, page: Path, path: str) -> Path | None:
        """The file that the path of a link on `page` leads to, or None."""
        if not path:
            return page
        start = self._site if path.startswith("/") else page.parent
        wanted = normpath(join(start, unquote(path).lstrip("/")))
        if wanted not in self._known:
            self._known[wanted] = self._found(Path(wanted))
        return self._known[wanted]

    @staticmethod
    def _found(path: Path) -> Path | None:
        file = path / "index.html" if path.is_dir() else path
        return file if file.exists() else None


def _problem(
    files: _Files, path: Path, pages: dict[Path, _Page], link: str
) -> str | None:
    """What is wrong with a link on the page at `path`; None if it leads somewhere."""
    url, fragment = urldefrag(link)
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return None
    target = files.target(path, parts.path)
    if target is None:
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
    files = _Files(site)
    found = []
    for path, page in pages.items():
        twice = {name for name, count in Counter(page.ids).items() if count > 1}
        problems = [f"the id {name} is there twice" for name in sorted(twice)]
        for link in page.links:
            if problem := _problem(files, path, pages, link):
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
