"""The built site, driven in Debian's Chromium with every other host closed.

`make browser-tests` runs this after `make site`; `make browser` installs Chromium.
"""

from pathlib import Path

import pytest
from browsing import CHROMIUM, SITE, settle
from playwright.sync_api import Page

PAGES = sorted(
    path.parent.relative_to(SITE).as_posix().removeprefix(".")
    for path in SITE.rglob("index.html")
    if path.relative_to(SITE).parts[0] != "lite"  # JupyterLite is not ours
)
PHONE = {"width": 360, "height": 640}
WIDE = {"width": 1280, "height": 720}
# The pages of litmus tests are alike, and so are those of rules: some stand for all.
TESTS = sorted(
    (path for path in PAGES if path.startswith("litmus/")),
    key=lambda path: (SITE / path / "index.html").stat().st_size,
)
RULES = [path for path in PAGES if path.startswith("r/")]
SHOWN = [path for path in PAGES if path not in (*TESTS[:-6], *RULES[1:])]

# What a reader types, and where one of the first three hits must lead.
SEARCHES = {
    "AE-FORK-2": "spec/fork/#AE-FORK-2",
    "AE-INV-1": "spec/guarantees/#AE-INV-1",
    "copy_present_pte": "spec/fork/",
    "do_wp_page": "spec/cow/",
    "present_pte": "spec/fork/",
    "wp_page": "spec/cow/",
    "write_protect_seq": "spec/gup_fast/",
    "anon_exclusive": "spec/bit/",
    "protect_seq": "spec/gup_fast/",
    "FOLL_PIN": "spec/gup/",
    "get_user_pages": "spec/gup/",
    "vmsplice": "litmus/vmsplice-leak/",
    "CVE-2020-29374": "litmus/vmsplice-leak/#B1",
    "09854ba94c6a": "litmus/vmsplice-leak/",
    "CVE-2022-2590": "litmus/force-write-shared/",
    "selftest": "reference/selftest/",
    "O_DIRECT": "reference/consumers/",
    "unshare": "spec/cow/",
    "mapcount": "spec/history/#mapcount",
    "page_count": "spec/history/#page_count",
    "GUP-fast": "spec/gup_fast/",
    "missed COW": "spec/guarantees/#no-missed-cow",
    "refcount": "spec/counts/",
    "mmap_lock": "spec/counts/#locks",
    "ablation": "reference/ablation/",
    "litmus": "reference/litmus/",
    "Torvalds": "spec/models/#always",
    "how to cite": "how-to-cite/",
    "AE-SWAP-1": "spec/reclaim/#AE-SWAP-1",
    "store buffer": "spec/store_buffers/",
    "try_to_unmap_one": "spec/reclaim/",
    "KSM": "spec/ksm/",
    "userfaultfd": "spec/protect/",
    "MADV_FREE": "spec/lazyfree/",
    "hugepage split": "spec/hugepage/",
    "migration entry": "spec/migration_entry/",
    "088b8aa537c2": "spec/ordering/",
}

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium; make browser installs it"
    ),
    pytest.mark.skipif(not PAGES, reason="there is no site; make site builds it"),
]


@pytest.mark.parametrize("path", SHOWN)
def test_page(kept_page: Page, url: str, path: str) -> None:
    """Shows a title, fits a phone, and its links within the page resolve."""
    page = kept_page
    page.set_viewport_size(PHONE)
    response = page.goto(f"{url}/{path}")
    settle(page)
    assert response is not None
    assert response.ok
    assert page.locator("article h1").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    dead = page.evaluate(
        """[...document.querySelectorAll('a[href^="#"]')]
             .map((a) => decodeURIComponent(a.hash.slice(1)))
             .filter((id) => id && !document.getElementById(id))"""
    )
    assert dead == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_schemes_differ(page: Page, url: str, scheme: str, tmp_path: Path) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    settle(page)
    picture = tmp_path / f"{scheme}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 0
    found = page.evaluate("document.body.dataset.mdColorScheme")
    assert found == {"light": "default", "dark": "slate"}[scheme]


# Once the number of hits is told: the links of the first three, pages and sections,
# but for the sections that the reader would have to unfold.
FIRST_HITS = """() => {
  const told = document.querySelector(".md-search-result__meta").textContent;
  if (!/^\\s*\\d+ matching document/.test(told)) return false;
  const hits = [...document.querySelectorAll(".md-search-result__item")].slice(0, 3);
  if (hits.length < Math.min(3, parseInt(told) || 0)) return false;
  return hits.flatMap((hit) => [...hit.querySelectorAll(".md-search-result__link")])
    .filter((link) => !link.closest("details"))
    .map((link) => link.pathname.slice(1) + link.hash);
}"""


# The theme tells so of an empty box: what was found before is no longer shown.
NOTHING_ASKED = """() =>
  document.querySelector(".md-search-result__meta").textContent
    .includes("Type to start searching")"""


def search(page: Page, query: str) -> list[str]:
    """Where the first three hits lead; a hit is a page, with its best sections."""
    box = page.locator("input.md-search__input")
    box.click()
    for text, shown in (("", NOTHING_ASKED), (query, FIRST_HITS)):
        box.fill(text)
        box.press("End")  # the theme listens for keys
        found = page.wait_for_function(shown)
    links: list[str] = found.json_value()
    return links


@pytest.mark.parametrize(("query", "target"), SEARCHES.items(), ids=list(SEARCHES))
def test_search(kept_page: Page, url: str, query: str, target: str) -> None:
    """All on one page: it reads the index once, which takes a second."""
    if (kept_page.url, kept_page.viewport_size) != (f"{url}/", WIDE):
        kept_page.set_viewport_size(WIDE)
        kept_page.goto(url)
    found = search(kept_page, query)
    assert any(link.startswith(target) for link in found), found


def test_copy_button_works_by_keyboard(page: Page, url: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    with_buttons = [
        path for path in PAGES if "ae-cite" in (SITE / path / "index.html").read_text()
    ]
    if not with_buttons:
        pytest.skip("no page has a copy button")
    page.goto(f"{url}/{with_buttons[0]}")
    page.locator("details:has(button.ae-copy) > summary").first.press("Enter")
    button = page.locator("button.ae-copy").first
    source = page.locator(button.get_attribute("data-copy") or "")
    button.focus()
    page.keyboard.press("Enter")
    button.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == (source.text_content() or "").strip()


def test_dead_address_is_told(page: Page, url: str) -> None:
    response = page.request.get(f"{url}/r/AE-NO-1/")
    assert response.status == 404
    assert 'href="/reference/rules/"' in response.text()
