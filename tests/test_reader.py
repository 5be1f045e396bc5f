"""What a reader does with the built site, in a real browser."""

import gzip
import json
from collections import Counter
from itertools import batched
from pathlib import Path
from typing import Any
from urllib.parse import quote

import axe_playwright_python
import pytest
from browsing import CHROMIUM, SITE, settle
from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium; make browser installs it"
    ),
    pytest.mark.skipif(
        not (SITE / "explorer").exists(), reason="there is no site; make site builds it"
    ),
]
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
KINDS = [  # one page of each kind
    *("", "spec/fork/", "notebooks/what-if/", "explorer/", "r/AE-FORK-2/"),
    *("reference/rules/", "reference/litmus/", "litmus/vmsplice-leak/"),
    *("reference/models/", "glossary/", "how-to-cite/", "versions/", "changelog/"),
    "404.html",
    # the longest tables, another chapter, and traces as those of the ablations
    *(
        pytest.param(path, marks=pytest.mark.slow)
        for path in (
            *("reference/ablation/", "reference/cost/"),
            *("spec/ordering/", "reference/near-misses/"),
        )
    ),
]
COLOURS = ("color-contrast", "link-in-text-block")
"""The rules of axe that may find something in one scheme and not in the other."""
HEAVIEST = 250_000
"""Bytes that a chapter page may transfer, each file compressed as servers do it."""


def test_from_the_first_page_to_a_copied_citation(page: Page, url: str) -> None:
    """The way of a reader with two minutes, by what can be seen on the pages."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    page.goto(url)
    page.get_by_role("link", name="by its sentence").click()
    row = page.get_by_role("row").filter(has_text="fork MUST NOT share a page that GUP")
    row.get_by_role("link", name="cite").click()
    page.get_by_role("button", name="Copy the citation").press("Enter")
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("AE-FORK-2 revision ")
    assert "returned to somebody who still holds it" in " ".join(copied.split())
    assert copied == (SITE / "r" / "AE-FORK-2.txt").read_text().strip()
    told = page.locator("[role=status].ae-told").inner_text()
    assert "AE-FORK-2 revision" in told


@pytest.mark.parametrize("path", KINDS)
def test_axe_finds_nothing(page: Page, url: str, path: str) -> None:
    """Every rule in light; in dark those on colours, for nothing else differs."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(f"{url}/{path}")
    settle(page)
    # evaluated by the test, not loaded by the page, whose policy would refuse it
    page.evaluate(AXE.read_text(encoding="utf-8"))
    assert violations(page) == []
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.wait_for_selector("body[data-md-color-scheme=slate]")
    assert violations(page, *COLOURS) == []


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds: of WCAG A and AA and of best practices, or by some rules only."""
    options: dict[str, Any] = {"resultTypes": ["violations"]}  # describe no others
    if rules:
        options["runOnly"] = {"type": "rule", "values": rules}
    found: list[dict[str, Any]] = page.evaluate(
        "(options) => axe.run(options).then((result) => result.violations)", options
    )
    return [
        f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"][:3]
    ]


def test_axe_would_find_something(page: Page, url: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{url}/how-to-cite/")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    page.evaluate(
        """() => {
          const title = document.querySelector("article h1");
          title.innerHTML = "<img src=data:,>pale";
          title.style.color = "#333";
        }"""
    )
    assert any(found.startswith("image-alt") for found in violations(page))
    dark = violations(page, *COLOURS)
    assert any(found.startswith("color-contrast") for found in dark)


def test_the_policy_is_enforced(chromium: Browser, url: str) -> None:
    context = chromium.new_context()  # a refusal is an error on the console
    page = context.new_page()
    page.goto(url)
    found = page.evaluate(
        """() => new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) =>
            resolve([Boolean(window.ran), event.effectiveDirective]));
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.head.append(script);
        })"""
    )
    context.close()
    assert found == [False, "script-src-elem"]


def heaviest_chapters() -> list[str]:
    """The three chapters whose pages are the largest."""
    pages = sorted(SITE.glob("spec/*/index.html"), key=lambda p: p.stat().st_size)
    return [f"spec/{page.parent.name}/" for page in pages[-3:]]


@pytest.mark.parametrize("path", heaviest_chapters())
def test_a_chapter_is_light(page: Page, url: str, path: str) -> None:
    sizes: Counter[str] = Counter()
    page.on(
        "response",
        lambda response: sizes.update(
            {response.url: len(gzip.compress(response.body()))}
        ),
    )
    page.goto(f"{url}/{path}")
    page.wait_for_load_state("networkidle")
    assert sum(sizes.values()) <= HEAVIEST, sizes.most_common(5)


# -- the explorer ----------------------------------------------------------------------


def state_of(page: Page) -> str:
    return page.locator(".ae-things").inner_text()


def test_the_explorer_by_keyboard(page: Page, url: str) -> None:
    page.goto(f"{url}/explorer/")
    page.locator("button.ae-step").first.focus()
    first = state_of(page)
    page.keyboard.press("1")
    assert page.locator(".ae-path li").count() == 1
    assert page.locator("button.ae-step:focus").count() == 1
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    assert page.locator(".ae-path li").count() == 3
    for _ in range(3):
        page.keyboard.press("b")
    assert state_of(page) == first


def test_a_link_of_step_names_leads_to_a_trace(page: Page, url: str) -> None:
    page.goto(f"{url}/reference/ablation/")
    details = page.locator("details#without-AE-FORK-5-AE-INV-1")
    details.locator("summary").click()
    details.get_by_role("link", name="Open in the explorer").click()
    page.locator(".ae-judged").get_by_text("AE-INV-1").first.wait_for()
    said = page.locator(".ae-said").inner_text()
    assert said.endswith("Breaks AE-FORK-5, AE-INV-1.")
    assert page.locator(".ae-cell-changed").count() > 0
    assert page.locator("svg rect.ae-changed[stroke-dasharray]").count() > 0
    taken = page.locator(".ae-path li").count()
    page.get_by_role("button", name="Back one step").click()
    link = page.locator("#ae-link").get_attribute("href") or ""
    page.goto(link)
    page.locator(".ae-path li").first.wait_for()
    assert page.locator(".ae-path li").count() == taken - 1


def test_a_damaged_link_is_told(page: Page, url: str) -> None:
    page.goto(f"{url}/explorer/?g=small-2.sketch&s=write&t=0.write-A,0.no-such-step")
    page.get_by_text("Step 2 of the link, 0.no-such-step, can't be taken").wait_for()
    assert page.locator(".ae-path li").count() == 1


@pytest.mark.parametrize("graph", ["ordering-1", "litmus.vmsplice-leak.mapcount"])
def test_other_worlds_and_tests_open(page: Page, url: str, graph: str) -> None:
    page.goto(f"{url}/explorer/")
    page.locator("#ae-graph option").first.wait_for(state="attached")
    value = page.locator(f'#ae-graph option[value^="{graph}"]').first
    page.locator("#ae-graph").select_option(value.get_attribute("value"))
    page.get_by_role("heading", level=2, name=value.inner_text()).wait_for()
    page.locator("#ae-way").select_option(index=2)
    page.locator(".ae-path li").first.wait_for()
    assert page.locator(".ae-things li").count() > 0


def way_to_an_edge() -> tuple[str, str, list[str]]:
    """A graph, where it begins, and steps to where nothing more is computed."""
    for path in sorted((SITE / "explorer" / "data").glob("*.without.*.js")):
        call = path.read_text(encoding="utf-8").strip().removesuffix(";")
        name, graph = json.loads(f"[{call.removeprefix('aeGraph(').removesuffix(')')}]")
        start, first = next(iter(graph["starts"].items()))
        ways: dict[int, list[str]] = {first: []}
        for state in (todo := [first]):
            if graph["edges"][state] == 0:
                return name, start, ways[state]
            for number, _, target in batched(graph["edges"][state], 3):
                if target not in ways:
                    ways[target] = [*ways[state], graph["names"][number]]
                    todo.append(target)
    raise AssertionError("every graph without a rule is complete")


def test_the_explorer_tells_where_it_ends(page: Page, url: str) -> None:
    name, start, steps = way_to_an_edge()
    page.goto(
        f"{url}/explorer/?g={quote(name)}&s={quote(start)}&t={','.join(steps[:-1])}"
    )
    last = page.locator(f'button.ae-step[data-step="{steps[-1]}"]')
    last.wait_for()
    assert page.locator(".ae-edge").count() == 0
    last.click()
    told = page.locator(".ae-edge").inner_text()
    assert told.startswith("What comes next here was not computed")
    assert page.locator("button.ae-step").count() == 0
    page.keyboard.press("b")
    last.wait_for()
    assert page.locator(".ae-edge").count() == 0


def test_the_explorer_works_from_a_local_file_on_a_phone(chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda said: troubles.append(said.text) if said.type == "error" else None,
    )
    page.goto((SITE / "explorer" / "index.html").as_uri())
    for _ in range(4):
        page.locator("button.ae-step").first.click()
    assert page.locator(".ae-path li").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
    assert not troubles


# -- cards, and reading without scripts ------------------------------------------------


def test_a_card_on_focus_stays_until_escape(page: Page, url: str) -> None:
    page.goto(f"{url}/spec/gup/")
    link = page.locator("article p a").filter(has_text="AE-").first
    id = link.inner_text()
    link.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    card = page.locator("#ae-hover")
    card.wait_for(state="visible")
    assert card.inner_text().startswith(id)
    assert link.get_attribute("aria-describedby") == "ae-hover"
    page.keyboard.press("Escape")
    assert card.is_hidden()
    assert page.evaluate("document.activeElement.textContent") == id


def test_a_card_on_hover_can_be_hovered(page: Page, url: str) -> None:
    page.goto(f"{url}/spec/gup/")
    page.locator("article a.ae-term").first.hover()
    card = page.locator("#ae-hover")
    card.wait_for(state="visible")
    card.hover()
    page.wait_for_timeout(400)
    assert card.is_visible()
    page.locator("article h1").hover()
    card.wait_for(state="hidden")


def test_pages_can_be_read_without_scripts(chromium: Browser, url: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/r/AE-FORK-2/")
    assert page.get_by_text("AE-FORK-2 revision").first.is_visible()
    page.goto(f"{url}/explorer/")
    assert page.get_by_text("This page needs JavaScript").is_visible()
    page.goto(f"{url}/spec/fork/")
    page.get_by_text("Cite AE-FORK-2").click()
    assert page.locator("#cite-AE-FORK-2").is_visible()
    context.close()


def test_print_leaves_controls_out(page: Page, url: str) -> None:
    page.goto(f"{url}/r/AE-FORK-2/")
    page.emulate_media(media="print")
    assert page.locator("button.ae-copy").first.is_hidden()
    assert page.locator("#cite-AE-FORK-2").is_visible()
    assert page.locator(".md-header").is_hidden()
