"""All that the site knows about its theme and about mkdocs-jupyter.

Chapters: mkdocs-jupyter mounts the percent files; here each is replaced by its
executed notebook, which the template chapter.md.j2 turns into Markdown. Generated pages
and marks come from `spec.publish.pages`. Nothing may be loaded from another host.
"""

import html
import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import CombinedEvent, event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs takes it back once this module is loaded

os.environ["JUPYTER_NO_CONFIG"] = "1"  # nbconvert reads the user's settings otherwise
logging.getLogger("mkdocs.mkdocs-jupyter").setLevel(logging.WARNING)

MOUNT = "_mkdocs_jupyter_mount"
"""How mkdocs-jupyter marks the files of chapters."""
PUBLISHED_BESIDE_CHAPTERS = {".png", ".svg"}
ELSEWHERE = (  # what the theme's script fetches from other hosts, for features not used
    '"https://unpkg.com/mermaid@11/dist/mermaid.min.js"',
    '"https://unpkg.com/resize-observer-polyfill"',
)
DIALOG = '<div class="md-search" data-md-component="search" role="dialog">'
LOADS = re.compile(
    r"<(script|link|img|iframe|source|object|embed|video|audio)\b[^>]*?"
    r'\b(?:src|href|data)="?((?:https?:)?//[^"\s>]+)',
    re.I,
)
CSS_LOADS = re.compile(r'(?:url\(|@import\s+)["\']?((?:https?:)?//[^"\')\s]+)')
CELL = re.compile(r"^`{3,} .*#cell-(\d+)", re.M)
CHECK = """\
## Check a change {{ data-search-exclude }}

*Edit* a cell above, then *Run* this one. It explores all interleavings of two CPUs with
the chapter as you have changed it, and draws the shortest trace to what breaks.

``` {{ .python .nb-code .ae-check #cell-{number} }}
{source}
```
"""
OUTPUT = re.compile("^\ue000(.*?)\ue001$", re.M | re.S)  # set by chapter.md.j2
PLACEHOLDER = '<div data-nb-output="{}"></div>'
SCRIPT = re.compile(r"<script (?=src=)")
BOXED = re.compile(r'(<div class="ae-table[^"]*">\s*)<table>')
THEME = re.compile(r'<script defer src="([^"]*)assets/javascripts/bundle')
SPLIT_ID = re.compile(r"(?<=AE-)<abbr[^>]*>(\w+)</abbr>")
# What the browser needs is fetched while pages are generated.
_POOL = ThreadPoolExecutor(1)
_background: list[Future[None]] = []
PLACED = re.compile(PLACEHOLDER.format(r"(\d+)"))


def _import() -> None:
    """Import what is used of the package, which `make live` does after each change."""
    global browser, chapters, fetch, glossary, lite, manual, notices, pages, policy
    global indexed, rendered, versions, SpecificationError, imported
    from spec.cells import SpecificationError
    from spec.desk import manual
    from spec.publish import (
        browser,
        chapters,
        fetch,
        glossary,
        indexed,
        lite,
        notices,
        pages,
        policy,
        rendered,
        versions,
    )

    imported = chapters.package_key()


def _import_anew() -> None:
    """Import the package again if it has changed since."""
    if chapters.package_key() == imported:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == "spec"]:
        del sys.modules[name]
    _import()


_import()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List in the navigation the notebooks that have no place there, by file name."""
    _import_anew()
    folder = ROOT / "notebooks"
    notebooks = [
        path.relative_to(ROOT).as_posix()
        for path in chapters.sources()
        if path.parent == folder
        and path.relative_to(ROOT).as_posix() not in json.dumps(config.nav)
    ]
    for section in config.nav or []:
        if isinstance(section, dict) and "Tutorials" in section:
            section["Tutorials"] = notebooks
    return config


def _mounted(files: Files) -> list[File]:
    return [file for file in files if hasattr(file, MOUNT)]


def _executed() -> dict[Path, Path]:
    """Each chapter's executed notebook; raises PluginError where a cell failed."""
    try:
        done = chapters.execute_all()
    except chapters.ChapterError as error:
        raise PluginError(str(error)) from error
    for path, notebook in done.items():
        for number, problem in chapters.failures(notebook):
            name = path.relative_to(ROOT)
            raise PluginError(f"{name}: cell {number}: {problem}")
    return {path: chapters.cached(path) for path in done}


def _download(config: MkDocsConfig, uri: str, path: Path) -> File:
    return File.generated(config, f"download/{uri}", abs_src_path=str(path))


@event_priority(-100)  # after mkdocs-jupyter has mounted the folders
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put executed notebooks in the place of chapters; add what is generated."""
    _background[:] = [_POOL.submit(browser.prepare)]
    executed = _executed()
    for file in _mounted(files):
        path = Path(file.abs_src_path)
        if path in executed:
            # Address, links and edit link stay those of the percent file.
            file.abs_src_path = str(executed[path])
            notebook = str(Path(file.src_uri).with_suffix(".ipynb"))
            files.append(_download(config, notebook, executed[path]))
            files.append(_download(config, file.src_uri, path))
        elif path.suffix not in PUBLISHED_BESIDE_CHAPTERS:
            files.remove(file)
    page = manual.page()
    files.append(File.generated(config, "download/anon-exclusive.1", content=page))
    with _ending_the_build():
        generated = pages.generated_pages()
        made = pages.generated_files()
        others = _third_party()
    for uri, markdown in generated.items():
        if files.get_file_from_path(uri):
            raise PluginError(f"{uri} is generated and also written by hand")
        files.append(File.generated(config, uri, content=markdown))
    told = {**notices.files(others), notices.PAGE: notices.page(others)}
    for uri, content in {**made, **told}.items():
        files.append(File.generated(config, uri, content=content))
    return files


@contextmanager
def _ending_the_build() -> Iterator[None]:
    """Let what is wrong end the build with the sentence that says it."""
    try:
        yield
    except (fetch.FetchError, SpecificationError) as error:
        raise PluginError(str(error)) from None


def _third_party() -> "notices.Notices":
    """What the site ships that others wrote, once it is here."""
    _background.pop().result()
    return browser.third_party()


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Look, now that all files are known, for pages that need not be made again."""
    global entries, renderings
    renderings = rendered.Renderings(config, files)
    entries = indexed.Entries(config)
    return nav


def _with_links(markdown: str, uri: str) -> str:
    """A chapter with links to its source and downloads under the title."""
    stem = Path(uri).with_suffix("").as_posix()
    up = "../" * (len(Path(uri).parts) - 1)
    scope = f"{versions.scope()}\n{{ .ae-scope }}"
    opened = f"{up}../lite/notebooks/index.html?path={stem}.ipynb"
    bar = (
        f'<a href="{opened}">Open in JupyterLite</a>\n'  # MkDocs knows no such page
        f"[View source]({up}download/{stem}.py)\n"
        f"[Download .py]({up}download/{stem}.py){{ download }}\n"
        f"[Download .ipynb]({up}download/{stem}.ipynb){{ download }}\n"
        "{ .ae-bar }"
    )
    head = f"{bar}\n\n{scope}\n\n"
    markdown = re.sub(r"\A(\s*# .*\n)", lambda m: f"{m[1]}\n{head}", markdown)
    module = chapters.module_name(ROOT / uri)
    if module is None or not lite.can_be_checked(module):
        return markdown
    number = 1 + max(map(int, CELL.findall(markdown)))
    return f"{markdown}\n\n{CHECK.format(number=number, source=lite.CHECK)}"


@event_priority(-100)  # after mkdocs-jupyter
def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> Page:
    """Let a notebook that has not changed be converted only once."""
    if hasattr(page.file, MOUNT):
        convert = page._mkdocs_jupyter_content
        page._mkdocs_jupyter_content = partial(renderings.converted, page, convert)
    return page


@event_priority(50)  # right after mkdocs-jupyter (100)
def on_page_markdown(
    markdown: str, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Take the escapes off a chapter, its outputs aside; replace marks everywhere."""
    outputs: list[str] = []
    page.nb_outputs = outputs

    def keep(found: re.Match[str]) -> str:
        outputs.append(found[1])
        return PLACEHOLDER.format(len(outputs) - 1)

    uri = page.file.src_uri
    if hasattr(page.file, MOUNT):
        # All is escaped; what follows a "<" is nbconvert's own stylesheet.
        text = html.unescape(markdown.partition("<")[0])
        markdown = _with_links(OUTPUT.sub(keep, text), uri)
        # what defines comes first; the proof speaks of what other chapters define
        if chapters.module_name(ROOT / uri) and not uri.startswith("spec/proof"):
            page.meta.setdefault("search", {"boost": 2})
    page.render = partial(renderings.render, page, page.render)
    with _ending_the_build():
        return pages.expand(markdown, uri)


@event_priority(50)  # before mkdocs-jupyter
def _hide_mount(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keep a chapter from being parsed anew for links that MkDocs has resolved.

    That took a fifth of a build.
    """
    if hasattr(page.file, MOUNT):
        page.nb_mount = getattr(page.file, MOUNT)
        setattr(page.file, MOUNT, None)
    return content


@event_priority(-100)  # after mkdocs-jupyter
def _place_outputs(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put outputs in their places; take explanations of words out of rule ids."""
    if hasattr(page, "nb_mount"):
        setattr(page.file, MOUNT, page.nb_mount)
    content = SPLIT_ID.sub(r"\1", content)
    content = content.replace("<th></th>", "<td></td>")  # a header must say something
    content = BOXED.sub(r'\1<table class="ae-grid">', content)
    uri = page.file.src_uri
    if uri == glossary.PAGE:
        content = glossary.with_anchors(content)
    elif not uri.startswith("r/"):
        content = glossary.linked(content, pages.built_link(glossary.PAGE, uri))
    return PLACED.sub(lambda found: page.nb_outputs[int(found[1])], content)


on_page_content = CombinedEvent(_hide_mount, _place_outputs)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Finish a page; mkdocs-jupyter must not have added a script to it."""
    if "data-mkdocs-jupyter-mathjax" in output:
        raise PluginError("mkdocs-jupyter loads MathJax unless mathjax_version is 2")
    return _finished(output, page.file.src_uri)


def on_post_template(
    output_content: str, template_name: str, config: MkDocsConfig
) -> str:
    """Finish the page for dead addresses, which is made from no source."""
    if not template_name.endswith(".html"):
        return output_content
    return _finished(output_content, template_name)


def _finished(output: str, name: str) -> str:
    """Name the search dialog, which the theme does not; say what may be loaded."""
    if DIALOG not in output:
        raise PluginError("the theme's search dialog changed; look at _finished")
    output = output.replace(DIALOG, f'{DIALOG[:-1]} aria-label="Search">')
    output = SCRIPT.sub("<script defer ", output)  # text first; the order stays
    output = THEME.sub(
        r'<script defer src="\1assets/search-later.js"></script>\g<0>', output
    )
    try:
        return policy.with_policy(output)
    except policy.Inline as found:
        raise PluginError(f"{name}: {found}") from found


def _close_script(site: Path) -> None:
    """Take the addresses of other hosts out of the theme's script."""
    for bundle in site.glob("assets/javascripts/bundle.*.min.js"):
        text = bundle.read_text(encoding="utf-8")
        for address in ELSEWHERE:
            if address not in text:
                raise PluginError(f"{address} is not in {bundle.name} any more")
            text = text.replace(address, '"data:,"')
        bundle.write_text(text, encoding="utf-8")


def _search_local_files(site: Path) -> None:
    """Write the search index as a script, too: local files can load nothing else."""
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    script = site / "search" / "search_index.js"
    script.write_text(f"var __index = {index}", encoding="utf-8")


def _loads_from_elsewhere(site: Path, own: str) -> list[str]:
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        text = path.read_text(encoding="utf-8")
        urls = [url for _, url in LOADS.findall(text) if urlsplit(url).netloc != own]
        urls += CSS_LOADS.findall(text)
        found += [f"{path.relative_to(site)}: {url}" for url in urls]
    return found


def on_post_build(config: MkDocsConfig) -> None:
    """Add what runs in the browser; no page may load anything from another host."""
    site = Path(config.site_dir)
    entries.keep()
    with _ending_the_build():
        browser.publish(site / "lite", chapters.sources(), config.site_url or "/")
    _close_script(site)
    _search_local_files(site)
    if bad := _loads_from_elsewhere(site, urlsplit(config.site_url or "").netloc):
        shown = "\n".join(bad[:20])
        raise PluginError(f"the site would load from another host:\n{shown}")
