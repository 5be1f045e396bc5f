"""Cells run in the reader's browser: all of them, and as the page shows them.

`make browser-tests` runs this after `make site`; `make browser` installs Chromium.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from browsing import CHROMIUM, SITE
from playwright.sync_api import Browser, Locator, Page, expect

from spec.publish import chapters
from spec.publish.live import shown

CHAPTERS = [path.relative_to(chapters.ROOT).as_posix() for path in chapters.sources()]
MINUTE = 60_000

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no Chromium; make browser installs it"
    ),
    pytest.mark.skipif(
        not (SITE / "lite" / "run.json").exists(),
        reason="there is no site; make site builds it",
    ),
]

# One worker for all chapters: `hear` answers with what a run has told.
WORKER = """() => {
  const worker = new Worker("/assets/run-worker.js", { type: "module" });
  let told = [];
  let answer;
  worker.onmessage = ({ data }) => {
    if (data.kind !== "loading") told.push(data);
    if (data.kind === "done" || data.kind === "failed") { answer(told); told = []; }
  };
  window.hear = (module, cells) => new Promise((resolve) => {
    answer = resolve;
    worker.postMessage({ command: "start", module });
    worker.postMessage({ command: "run", cells });
  });
}"""


@pytest.fixture(scope="module")
def worker(chromium: Browser, url: str) -> Iterator[Page]:
    """A page with a worker that stays for all tests of this module."""
    page = chromium.new_page()
    page.goto(f"{url}/glossary/")
    page.evaluate(WORKER)
    yield page
    page.close()


def run(worker: Page, module: str | None, sources: list[str]) -> list[dict[str, Any]]:
    """What the worker tells while it runs these sources as cells of `module`."""
    cells = [{"number": n, "source": s, "raises": False} for n, s in enumerate(sources)]
    told: list[dict[str, Any]] = worker.evaluate(
        "([module, cells]) => hear(module, cells)", [module, cells]
    )
    return told


def put_out(told: list[dict[str, Any]], number: int) -> list[tuple[str, str]]:
    """What a cell put out: kinds and texts, neighbours of one kind together.

    A cell that begins once more, since a package had to be loaded, loses what it had.
    """
    found: list[tuple[str, str]] = []
    for message in told:
        kind, text = message["kind"], message.get("text", "")
        if message.get("cell") != number or kind == "end":
            continue
        if kind == "begin":
            found.clear()
            continue
        if found and found[-1][0] == kind:
            text = found.pop()[1] + text
        found.append((kind, text))
    return found


def built(cell: Any) -> list[tuple[str, str]]:
    """What the cell put out when the site was built, in the worker's words."""
    kinds = {"text/html": "html", "image/svg+xml": "svg", "text/plain": "text"}
    found = []
    for out in cell.outputs:
        if out.output_type == "stream":
            found.append((out.name, out.text))
        else:
            mime = next(mime for mime in kinds if mime in out.data)
            found.append((kinds[mime], out.data[mime]))
    return found


@pytest.mark.parametrize("uri", CHAPTERS)
def test_chapter_runs_to_its_end(worker: Page, uri: str) -> None:
    """Every cell puts out in the browser what the page shows."""
    notebook = nbformat.read(SITE / "download" / f"{uri[:-3]}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    module = chapters.module_name(chapters.ROOT / uri)
    told = run(worker, module, [cell.source for cell in cells])
    assert told[-1] == {"kind": "done", "good": True}, told[-3:]
    for number, cell in enumerate(cells):
        assert put_out(told, number) == built(cell)


def test_nothing_of_a_run_is_left_for_the_next(worker: Page) -> None:
    spoil = "import spec.fork\nspec.fork.fork = None"
    assert run(worker, None, [spoil])[-1]["good"]
    told = run(worker, None, ["import spec.fork", "spec.fork.fork is None"])
    assert put_out(told, 1) == [("text", "False")]


def test_traceback_begins_with_the_readers_code(worker: Page) -> None:
    told = run(worker, None, ["def f():\n    assert 1 == 2", "f()", "print(1)"])
    assert told[-1] == {"kind": "done", "good": False}
    (kind, name), (_, traceback) = put_out(told, 1)
    assert (kind, name) == ("error", "AssertionError")
    assert [line for line in traceback.splitlines() if "File" in line] == [
        '  File "cell 1", line 1, in <module>',
        '  File "cell 0", line 2, in f',
    ]
    assert put_out(told, 2) == []


def test_a_solver_is_loaded_when_a_cell_imports_it(worker: Page) -> None:
    told = run(
        worker, None, ["import z3\nx = z3.Int('x')\nz3.prove(z3.Implies(x > 1, x > 0))"]
    )
    assert {"kind": "fetching", "text": "z3-solver"} in told
    assert put_out(told, 0)[-1] == ("stdout", "proved\n")


def test_a_changed_chapter_can_be_checked_at_once(worker: Page) -> None:
    """As the last cell of each chapter in JupyterLite does, before and after."""
    lite = nbformat.read(SITE / "lite/files/spec/fork.ipynb", as_version=4)
    cells = [
        cell.source
        for cell in lite.cells
        if cell.cell_type == "code" and cell.id != "enter"
    ]
    share = next(source for source in cells if "def copy_present_pte" in source)
    careless = share.replace("if not mm.model.may_share(mm, page):", "if False:")
    assert careless != share
    told = run(worker, "spec.fork", [*cells, careless, cells[-1], share, cells[-1]])
    before, changed, repaired = (
        put_out(told, number)[0][1]
        for number in (len(cells) - 1, len(cells) + 1, len(cells) + 3)
    )
    assert before.startswith("All rules and guarantees hold")
    assert "AE-INV-7 is broken" in changed
    assert repaired == before


def test_values_are_shown_as_a_notebook_shows_them(worker: Page) -> None:
    values = ["[1, 'two', None]", "{'a': (1, 2)}", "'text'", "3.5"]
    told = run(worker, None, values)
    for number, value in enumerate(values):
        assert put_out(told, number) == [shown(eval(value))]


# -- the page --------------------------------------------------------------------------


def row_of(page: Page, cell: int) -> Locator:
    return page.locator(f"#cell-{cell} + .ae-row")


def cell_with(page: Page, text: str) -> int:
    """The number of the first cell whose code has `text`."""
    box = page.locator(".nb-code", has=page.get_by_text(text)).first
    return int((box.get_attribute("id") or "").removeprefix("cell-"))


def edit(page: Page, cell: int, old: str, new: str) -> Locator:
    """Put `new` in place of `old` in the code of the cell; its text area."""
    row_of(page, cell).get_by_role("button", name="Edit").click()
    area = page.locator(f"#cell-{cell} textarea")
    assert old in area.input_value()
    expect(page.locator(f"#cell-{cell} > pre")).to_be_hidden()
    area.fill(area.input_value().replace(old, new))
    return area


def test_change_a_rule_and_see_what_breaks(page: Page, url: str) -> None:
    """Edit with Ctrl-Enter, run all, read the traceback, reset, run again."""
    page.goto(f"{url}/spec/fork/")
    every = page.get_by_role("button", name="Run all cells of this page")
    changed = cell_with(page, "def copy_present_pte")
    status = page.locator(".ae-bar .ae-status")
    area = edit(page, changed, "if not mm.model.may_share(mm, page):", "if False:")
    area.press("Control+Enter")
    told = row_of(page, changed).locator(".ae-status")
    expect(told).to_contain_text("ran (", timeout=MINUTE)
    expect(row_of(page, changed).get_by_text("changed")).to_be_visible()
    area.press("Escape")
    expect(page.locator(f"#cell-{changed} textarea")).to_have_count(0)
    expect(page.locator(f"#cell-{changed}")).to_contain_text("if False:")
    check = page.locator(".nb-code").last
    every.click()
    expect(status).to_contain_text("failed", timeout=MINUTE)
    expect(page.locator(".nb-output .nb-error").first).to_have_text("AssertionError")
    expect(check.locator("~ .nb-output")).to_have_count(0)
    # what was put out above moves the button, which a click can miss
    check.locator("+ .ae-row").get_by_role("button", name="Run").press("Enter")
    expect(check.locator("~ .nb-output")).to_contain_text(
        "AE-INV-7 is broken", timeout=MINUTE
    )
    row_of(page, changed).get_by_role("button", name="Reset").click()
    expect(page.locator(f"#cell-{changed}")).not_to_contain_text("if False:")
    every.click()
    expect(status).to_contain_text("Ran in", timeout=MINUTE)
    expect(page.locator(".nb-output .nb-error")).to_have_count(0)
    expect(check.locator("~ .nb-output")).to_contain_text("All rules and guarantees")


def test_stop_ends_a_cell_that_never_ends(page: Page, url: str) -> None:
    page.goto(f"{url}/spec/memory/")
    first = page.locator(".nb-code").first
    cell = int((first.get_attribute("id") or "").removeprefix("cell-"))
    edit(page, cell, "from typing", "while True:\n    pass\nfrom typing")
    runs = row_of(page, cell).locator("button").first
    runs.click()
    status = row_of(page, cell).locator(".ae-status")
    expect(status).to_have_text(f"Cell {cell} is running", timeout=MINUTE)
    expect(runs).to_have_text("Stop")
    runs.click()
    expect(status).to_contain_text("Stopped")
    row_of(page, cell).get_by_role("button", name="Reset").click()
    runs.click()
    expect(status).to_contain_text("ran (", timeout=MINUTE)


def test_nothing_is_loaded_before_a_click(page: Page, url: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{url}/spec/fork/")
    page.wait_for_load_state("networkidle")
    assert [address for address in asked if "/lite/" in address] == []
    assert page.locator(".ae-row").count() == page.locator(".nb-code").count()


# -- JupyterLite -----------------------------------------------------------------------

IDLE = """() =>
  document.querySelector(".jp-Toolbar-kernelName")?.innerText.startsWith("Python") &&
  document.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status === "idle"
"""


def run_in_jupyterlite(page: Page, url: str, chapter: str) -> None:
    """From the link on the chapter's page to its last cell."""
    page.set_default_timeout(MINUTE)
    page.goto(f"{url}/{chapter}/")
    page.get_by_role("link", name="Open in JupyterLite").click()
    page.wait_for_function(IDLE)  # what is asked before is lost without a word
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator(".lm-Menu").get_by_text("Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    notebook = nbformat.read(SITE / f"lite/files/{chapter}.ipynb", as_version=4)
    count = sum(cell.cell_type == "code" for cell in notebook.cells)
    expect(last).to_have_text(f"[{count}]:", timeout=MINUTE)


# The proof needs all that the other chapter needs, and the solver.
@pytest.mark.parametrize(
    ("chapter", "name"),
    [("proof", "proof"), pytest.param("fork", "machine", marks=pytest.mark.slow)],
)
def test_jupyterlite_runs_a_chapter_in_its_own_module(
    page: Page, url: str, chapter: str, name: str
) -> None:
    """The chapter, and then a cell of the reader's own."""
    run_in_jupyterlite(page, url, f"spec/{chapter}")
    assert page.locator(".jp-OutputArea-output", has_text="Traceback").count() == 0
    # The last cell is the current one; the one that comes after it is new.
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    page.keyboard.press("Enter")
    page.keyboard.type(f"import spec.{chapter}; spec.{chapter}.{name} is {name}")
    page.keyboard.press("Control+Enter")
    output = page.locator(".jp-OutputArea-output").last
    expect(output).to_have_text("True", timeout=MINUTE)
