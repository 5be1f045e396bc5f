"""What turns verdicts into pages: traces, drawings, cards, citations, the store."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from spec import promises, selftest
from spec.ablation import Ablation
from spec.bounds import check
from spec.cells import PlainCells, SpecificationError
from spec.checker.program import Trace, TraceStep, Verdict, Violation
from spec.clients import names_for
from spec.litmus.exercise import ASKED_OF
from spec.memory import Machine, Pte
from spec.models import MODELS
from spec.prover import unpromised
from spec.prover.proving import Obligation, Result
from spec.publish import (
    ablations,
    cards,
    citations,
    drawings,
    litmus,
    obligations,
    pages,
    recorded,
    traces,
    verdicts,
)
from spec.publish.consumers import CONSUMERS_PAGE
from spec.publish.findings import FINDINGS_PAGE
from spec.publish.selftest import SELFTEST_PAGE
from spec.publish.tables import table
from spec.rules import find, load

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def leak() -> Violation:
    """A missed COW as the checker finds it in the model that has it."""
    return check("small", "mapcount").violations[0]


def small_trace() -> Violation:
    """Two steps made by hand: fork shares p1, then a write fault takes the PTL."""
    values: dict[str, Any] = {}
    machine = Machine(names_for(2, 2, 2, 0, ("x",)), cells=PlainCells(values))
    values.update(machine.initial())
    machine.start()
    p1 = machine.pages["p1"]
    p1.refcount = p1.mapcount = 1
    machine.mms["A"].pte["x"] = Pte("p1", writable=True)
    p1.anon_exclusive = True
    shared, old = Pte("p1", writable=False), Pte("p1", writable=True)
    fork = TraceStep(
        thread="cpu0",
        functions=("client", "fork", "copy_present_pte"),
        reads=(),
        writes=(
            ("A.mmap_lock", 0, -1),
            ("A.ptl", False, False),
            ("p1.anon_exclusive", True, False),
            ("A.pte[x]", old, shared),
            ("p1.refcount", 1, 2),
            ("p1.mapcount", 1, 2),
            ("B.pte[x]", None, shared),
            ("B.state", "unborn", "live"),
        ),
        choices=(("next", ("fork", "A", "B")),),
        broken=(),
    )
    write = TraceStep(
        thread="cpu1",
        functions=("client", "write", "do_wp_page"),
        reads=(("B.pte[x]", shared), ("p1.anon_exclusive", False)),
        writes=(("B.mmap_lock", 0, 1), ("B.ptl", False, True)),
        choices=(("next", ("write", "B")), ("AE-COW-3", False)),
        broken=("AE-INV-4",),
    )
    trace = Trace(values, (fork, write))
    return Violation("AE-INV-4", "", trace)


GOLDEN = """\
At first  pte(A) = p1 R/W
          p1: refcount 1, mapcount 1, anon_exclusive 1

    CPU 0                             CPU 1
    -----                             -----
1   fork(A -> B)
      copy_present_pte()
        takes mmap_lock(A) for write
        p1.anon_exclusive = 0
        pte(A) = p1 R/O
        p1.refcount 1 -> 2, mapcount 1 -> 2
        pte(B) = p1 R/O
        B is live
2                                     write(B)
                                        do_wp_page()
                                          takes mmap_lock(B), PTL(B)
                                          sees pte(B) = p1 R/O,
                                            p1.anon_exclusive = 0
                                          does not use AE-COW-3

Then      pte(A) = p1 R/O
          pte(B) = p1 R/O
          p1: refcount 2, mapcount 2, anon_exclusive 0
"""


# -- traces ----------------------------------------------------------------------------


def test_a_small_trace_reads_like_a_commit_message() -> None:
    said = traces.violation_text(small_trace())
    assert said.startswith(GOLDEN)
    assert said.partition(GOLDEN)[2].strip().startswith("AE-INV-4 is broken: ")


def test_a_found_trace_is_narrow_ascii_and_names_what_breaks(leak: Violation) -> None:
    said = traces.violation_text(leak)
    assert said.isascii()
    assert max(map(len, said.splitlines())) <= traces.WIDTH
    assert f"{leak.property} is broken: " in said
    assert "fork(A -> B)" in said
    assert re.search(r"pte\([AB]\) = p1 R/W", said.partition("fork(A -> B)")[2])
    numbers = re.findall(r"^(\d+) ", said, re.M)
    assert numbers == [str(n) for n in range(1, leak.depth + 1)]


@pytest.mark.parametrize("cpus", [1, 2, 3, 4])
def test_columns_keep_the_width_however_many_cpus(leak: Violation, cpus: int) -> None:
    steps = [
        TraceStep(f"cpu{i % cpus}", s.functions, s.reads, s.writes, s.choices, ())
        for i, s in enumerate(leak.trace.steps)
    ]
    said = traces.text(Trace(leak.trace.initial, tuple(steps)))
    assert max(map(len, said.splitlines())) <= traces.WIDTH
    head = next(line for line in said.splitlines() if line.lstrip().startswith("CPU"))
    assert head.split() == [word for i in range(cpus) for word in ("CPU", str(i))]


def test_an_assignment_is_not_torn_apart(leak: Violation) -> None:
    for line in traces.violation_text(leak).splitlines():
        assert not line.rstrip().endswith((" =", " ->"))
        assert not line.lstrip().startswith(("= ", "-> "))


def test_a_trace_for_machines_is_json_and_complete(leak: Violation) -> None:
    found = json.loads(json.dumps(traces.as_dict(leak)))
    assert found["broken"] == leak.property
    assert found["depth"] == len(found["steps"]) == leak.depth
    state = dict(found["initial"])
    for step in found["steps"]:
        for write in step["writes"]:
            assert state[write["cell"]] == write["old"]
            state[write["cell"]] = write["new"]
    *_, last = leak.trace.states()
    assert state == {key: traces.plain(value) for key, value in last.items()}


def test_typographic_characters_become_ascii() -> None:
    assert traces.ascii_text("“Müller’s” – 中…") == '"Muller\'s" - ?...'


# -- drawings --------------------------------------------------------------------------


def parsed(drawing: drawings.Drawing) -> ET.Element:
    return ET.fromstring(drawing.svg())


def marks(svg: ET.Element) -> list[str]:
    """The texts that are drawn as changed; their boxes are marked alike."""
    texts = [t for t in svg.iter(f"{SVG}text") if t.get("class") == "ae-changed"]
    boxes = [r for r in svg.iter(f"{SVG}rect") if r.get("class") == "ae-changed"]
    assert len(texts) == len(boxes)
    assert all(box.get("stroke-dasharray") for box in boxes)
    assert all((t.text or "").endswith(" *") for t in texts)
    return [t.text or "" for t in texts]


def test_a_drawing_has_title_description_and_room(leak: Violation) -> None:
    svg = parsed(drawings.draw_trace(leak))
    assert svg.get("class") == "ae-drawing"
    assert leak.property in (svg.findtext(f"{SVG}title") or "")
    assert svg.findtext(f"{SVG}desc")
    _, _, width, height = map(float, (svg.get("viewBox") or "").split())
    for box in svg.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.get(k) or 0) for k in ("x", "y", "width", "height"))
        assert 0 <= x <= width - w
        assert 0 <= y <= height - h


def test_a_drawing_marks_what_a_step_changes() -> None:
    svg = parsed(drawings.draw_trace(small_trace()))
    assert marks(svg) == ["process A *", "process B *", "p1 not exclusive *"]
    captions = [t.text or "" for t in svg.iter(f"{SVG}text")]
    assert "1. CPU 0: fork(A -> B)" in captions
    assert not any(caption.startswith("2. ") for caption in captions)


def test_a_state_is_drawn_from_a_machine_and_from_cells(leak: Violation) -> None:
    *_, last = leak.trace.states()
    from_cells = drawings.draw(last)
    assert from_cells.svg() == drawings.draw(traces.machine_of(last)).svg()
    assert repr(from_cells) in (parsed(from_cells).findtext(f"{SVG}desc") or "")
    assert "pte(A) = p" in repr(from_cells)
    assert "<svg" in from_cells._repr_html_()
    assert not marks(parsed(from_cells))


# -- citations -------------------------------------------------------------------------


@pytest.mark.parametrize("id", list(load()))
def test_a_citation_can_be_mailed(id: str) -> None:
    rule = find(id)
    said = citations.cite(rule)
    assert said.isascii()
    *text, link = said.splitlines()
    assert all(len(line) <= traces.WIDTH for line in text)
    assert said.startswith(f"{id} revision {rule.rev} (checksum {rule.checksum})\n")
    assert traces.ascii_text(rule.sentence) in " ".join(said.split())
    assert link == f"Link: {citations.address(rule)}"
    assert link.endswith(f"/r/{id}/")


def test_a_citation_is_ascii_whatever_a_rule_says() -> None:
    rule = replace(find("AE-FORK-2"), source="Müller – “COW”", withdrawn="naïve")
    said = citations.cite(rule)
    assert said.isascii()
    assert 'Source:   Muller - "COW"' in said
    assert "(withdrawn)" in said
    assert "withdrawn: naive" in said


def test_citations_lead_to_the_site() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    address = next(line for line in config.splitlines() if line.startswith("site_url"))
    assert yaml.safe_load(address)["site_url"] == citations.SITE


# -- the store -------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the specification that may be changed."""
    target = tmp_path / "spec"
    shutil.copytree(ROOT / "spec", target, ignore=shutil.ignore_patterns("*.pyc"))
    return target


def store_in(folder: Path, sources: Path = ROOT / "spec") -> verdicts.Store:
    return verdicts.Store(folder, sources, say=lambda line: None)


def test_what_is_kept_is_read_again(tmp_path: Path, leak: Violation) -> None:
    verdict = Verdict(5, 6, 7, False, (leak,), {"AE-COW-1": 3}, {"w": 2})
    ablation = Ablation("AE-COW-1", "sketch", "small", 3, leak, {}, "", 0.5)
    store_in(tmp_path).write("check.small.sketch", verdict)
    store_in(tmp_path).write("ablate.AE-COW-1", ablation)
    again = store_in(tmp_path)
    assert again.checked("small", "sketch") == verdict
    assert again.ablated("AE-COW-1") == ablation
    assert again.checked("small", "mapcount") is None


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("counts.py", "folio.refcount -= 1", "folio.refcount -= 2", True),
        ("memory.py", "# ## A process", "# ## One process", False),
        ("memory.py", '"""``struct page`` of', '"""A page, of', False),
        ("checker/search.py", "transitions = 0", "transitions = 1", True),
        ("publish/drawings.py", "WIDTH = 720", "WIDTH = 700", False),
        ("litmus/catalogue/cow.litmus", "litmus cow", "litmus cow ", False),
    ],
)
def test_a_change_of_what_decides_empties_the_store(
    tmp_path: Path, sources: Path, file: str, old: str, new: str, stale: bool
) -> None:
    store_in(tmp_path, sources).write("check.small.sketch", Verdict(1, 2, 3, True))
    edit(sources / file, old, new)
    kept = store_in(tmp_path, sources).checked("small", "sketch")
    assert (kept is None) == stale


def test_litmus_verdicts_change_with_a_litmus_file(
    tmp_path: Path, sources: Path
) -> None:
    store_in(tmp_path, sources).write("litmus", {"cow": {"sketch": "fine"}})
    assert store_in(tmp_path, sources).read("litmus") == {"cow": {"sketch": "fine"}}
    edit(sources / "litmus/catalogue/cow.litmus", "litmus cow", "litmus cow ")
    assert store_in(tmp_path, sources).read("litmus") is None


def test_a_newer_verdict_takes_the_place_of_the_old(
    tmp_path: Path, sources: Path
) -> None:
    folder = tmp_path / "verdicts"
    for name in ("ablate.AE-COW-1", "ablate.AE-COW-10"):
        store_in(folder, sources).write(name, "old")
    edit(sources / "counts.py", "folio.refcount -= 1", "folio.refcount -= 2")
    store_in(folder, sources).write("ablate.AE-COW-1", "new")
    kept = {path.name.split(".")[1]: path.read_text() for path in folder.iterdir()}
    assert kept == {"AE-COW-1": '"new"', "AE-COW-10": '"old"'}


def test_what_ran_while_sources_changed_is_not_kept(
    tmp_path: Path, sources: Path
) -> None:
    store = store_in(tmp_path / "verdicts", sources)

    def compute() -> str:
        edit(sources / "counts.py", "folio.refcount -= 1", "folio.refcount -= 2")
        return "verdict"

    assert store.get("check.small.sketch", compute) == "verdict"
    assert not (tmp_path / "verdicts").exists()


def test_an_interrupted_exploration_is_not_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.get("check.small.sketch", lambda: Verdict(1, 1, 1, False, interrupted=True))
    assert store.checked("small", "sketch") is None


def recorded_in(folder: Path, sources: Path) -> verdicts.Store:
    """A store that has computed nothing, and where a proof was recorded."""
    store = verdicts.Store(folder, sources, recorded=folder / "results")
    if not (folder / "results").exists():
        code = store.code("prove.sketch")
        recorded.write("prove.sketch", "proved", code, folder / "results")
    return store


def test_a_result_that_was_recorded_of_this_code_is_not_computed(
    tmp_path: Path, sources: Path
) -> None:
    store = recorded_in(tmp_path, sources)
    assert store.read("prove.sketch") == "proved"
    assert store.read("prove.upstream") is None
    found = store.as_recorded("prove.sketch")
    assert found is not None
    assert found.made == recorded.today()


def test_a_result_that_was_recorded_of_other_code_is_computed(
    tmp_path: Path, sources: Path
) -> None:
    recorded_in(tmp_path, sources)
    edit(sources / "counts.py", "folio.refcount -= 1", "folio.refcount -= 2")
    store = recorded_in(tmp_path, sources)
    assert store.as_recorded("prove.sketch") is None
    assert store.get("prove.sketch", lambda: "refuted") == "refuted"
    assert recorded_in(tmp_path, sources).read("prove.sketch") == "refuted"


def test_what_was_computed_is_not_called_recorded(
    tmp_path: Path, sources: Path
) -> None:
    store = recorded_in(tmp_path, sources)
    store.write("prove.sketch", "computed")
    assert store.as_recorded("prove.sketch") is None


@pytest.mark.parametrize("name", recorded.names())
def test_what_is_recorded_is_of_this_code(name: str) -> None:
    found = recorded.read(name)
    assert found is not None
    assert found.code == verdicts.Store().code(name), "make records"


# -- cards -----------------------------------------------------------------------------


class Flat(HTMLParser):
    """The text of a piece of HTML, and whether its elements close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def store(tmp_path: Path, leak: Violation) -> verdicts.Store:
    """A store that holds a few verdicts made by hand."""
    made = store_in(tmp_path)
    made.write("check.small.sketch", Verdict(1234, 5678, 9, True))
    made.write("check.small.mapcount", Verdict(12, 34, leak.depth, False, (leak,)))
    made.write("ablate.AE-FORK-2", Ablation("AE-FORK-2", "sketch", "small", 7, leak))
    made.write(
        "ablate.AE-COW-3",
        Ablation("AE-COW-3", "sketch", "small", witnesses={"taken": 4, "declined": 6}),
    )
    made.write(
        "ablate.AE-CLR-2",
        Ablation("AE-CLR-2", "sketch", "standard", 5, reason="the <count> holds it"),
    )
    made.write("litmus", {name: groups(name) for name in pages.catalogue()})
    others = [
        selftest.title(case.id, kind)
        for case in selftest.CASES
        for _, kind in selftest.variants(case)
    ]
    names = [*pages.catalogue(), *others]
    without = {name: {"AE-FORK-2": "missed-cow"} for name in names}
    for model in ASKED_OF:
        made.write(f"exercised.{model}", without)
    made.write("selftest", {"A1": {"base page": {"mapcount": "missed-cow"}}})
    yes = {question.id: "fine" for question in promises.QUESTIONS}
    no = {**yes, "fork": "wrong-cow"}
    answers = dict.fromkeys(promises.asked(), no)
    made.write("promises", dict.fromkeys(promises.KINDS, answers))
    obligation = Obligation("fork", "copy_present_pte", "get_page", steps=3)
    made.write("prove.sketch", Result("sketch", (), [obligation], 1.0))
    for more in unpromised.MORE:
        made.write(f"prove.{more.id}", unpromised.Shown(more.id, (), 5, ()))
    reached = [unpromised.Reached(rule.id, 6, None) for rule in unpromised.unpromised()]
    made.write("prove.sketch-on-upstream", reached)
    return made


LEAKING, *FINE = litmus.columns()


def groups(test: str) -> tuple[litmus.Group, ...]:
    fine = (*FINE, *litmus.further(test))
    return (
        litmus.Group("missed-cow", (LEAKING,), "A: <write> 1", "<svg></svg>"),
        litmus.Group("fine", fine, "A: write 1", ""),
    )


def test_a_card_says_what_a_rule_rests_on(
    store: verdicts.Store, leak: Violation
) -> None:
    rule = find("AE-FORK-2")
    card = cards.rule_card(rule, store, (("some-test", "../litmus/#some-test"),))
    said = " ".join(Flat(card).text.split())
    about = " ".join(Flat(card.partition("<details")[0] + "</div>").text.split())
    assert f"Source{rule.source}" in about
    for word in (rule.id, rule.modal, rule.sentence, rule.source, rule.checksum):
        assert word in said
    for symbol in (*rule.kernel, *rule.models, "some-test", "1,234 states"):
        assert symbol in said
    assert f"{leak.property} breaks in {leak.depth} steps" in said
    assert "takes effect in step 7" in said
    assert 'data-copy="#cite-AE-FORK-2"' in card
    assert 'id="cite-AE-FORK-2"' in card
    assert "<svg" in card
    assert " ".join(traces.violation_text(leak).split()) in said


def test_a_permission_shows_both_witnesses(store: verdicts.Store) -> None:
    said = Flat(cards.rule_card(find("AE-COW-3"), store)).text
    assert "taken: first in step 4" in said
    assert "declined: first in step 6" in said


def test_a_rule_that_survives_says_why(store: verdicts.Store) -> None:
    said = Flat(cards.rule_card(find("AE-CLR-2"), store)).text
    assert "no guarantee breaks: the <count> holds it" in said


def test_a_card_in_a_notebook_needs_no_store() -> None:
    rule = find("AE-FORK-2")
    card = rule._repr_html_()
    assert rule.sentence in Flat(card).text
    assert citations.UNKNOWN in Flat(card).text
    assert "data-copy" not in card
    assert " id=" not in card


# -- pages -----------------------------------------------------------------------------


@pytest.fixture
def site(store: verdicts.Store) -> pages.Site:
    return pages.Site(store)


def chapter(name: str, **changes: str) -> str:
    """A page with a heading for each rule of a chapter; `changes` rewrite headings."""
    ids = [rule.id for rule in load().values() if rule.chapter == name]
    heads = [changes.get(id.replace("-", "_"), f"### {id} {{#{id}}}") for id in ids]
    return "\n\n".join(["# Title", *heads, "Prose."]) + "\n"


def test_a_card_stands_below_each_heading(site: pages.Site) -> None:
    found = site.expand(chapter("fork", AE_FORK_2="#### AE-FORK-2"), "spec/fork.py")
    lines = found.splitlines()
    at = lines.index("#### AE-FORK-2 {#AE-FORK-2}")
    assert lines[at + 1] == ""
    assert lines[at + 2].startswith('<div class="ae-card">')
    here = [rule for rule in load().values() if rule.chapter == "fork"]
    assert found.count('class="ae-card"') == len(here)
    assert 'href="../../reference/near-misses/#near-AE-FORK-2"' in found


def test_mentions_become_links_and_code_does_not(site: pages.Site) -> None:
    prose = """\
See AE-FORK-2, (AE-COW-1) and `AE-FORK-2`; [AE-INV-1](x.md), [as AE-INV-1][y].

## About AE-FORK-2

```python
AE-FORK-2  # and AE-NONE-1
```

~~~
AE-FORK-2
```
~~~

<pre>AE-FORK-2</pre> <!-- AE-FORK-2 --> <i title="AE-FORK-2">AE-FORK-2</i>
XAE-FORK-2 AE-FORK-22x
"""
    found = site.expand(prose, "reference/some.md")
    fork = "[AE-FORK-2](../spec/fork.py#AE-FORK-2)"
    assert found == prose.replace(
        "See AE-FORK-2, (AE-COW-1)",
        f"See {fork}, ([AE-COW-1](../spec/cow.py#AE-COW-1))",
    ).replace('">AE-FORK-2</i>', f'">{fork}</i>')


@pytest.mark.parametrize(
    ("page", "uri", "message"),
    [
        ("as AE-FROK-2 says", "index.md", "index.md mentions AE-FROK-2, which is no"),
        ("### AE-FORK-99", "spec/fork.py", "AE-FORK-99, which is no rule"),
        ("### AE-COW-1", "spec/fork.py", "but spec/cow.py defines it"),
        ("# Fork", "spec/fork.py", "has no heading ### AE-FORK-"),
        ("### AE-COW-1\n", "index.md", "but spec/cow.py defines it"),
    ],
)
def test_a_wrong_id_fails_with_one_sentence(
    site: pages.Site, page: str, uri: str, message: str
) -> None:
    with pytest.raises(SpecificationError, match=re.escape(message)) as caught:
        site.expand(page, uri)
    assert "\n" not in str(caught.value)


def test_a_heading_twice_fails(site: pages.Site) -> None:
    with pytest.raises(SpecificationError, match="two headings AE-FORK-1"):
        site.expand(chapter("fork") + "\n### AE-FORK-1\n", "spec/fork.py")


def test_generated_pages_show_what_the_store_holds(
    site: pages.Site, leak: Violation
) -> None:
    made = site.generated()
    for id in load():
        assert f"[{id}](../spec/" in made[pages.RULES]
    without = f"[{leak.property}, {leak.depth} steps](ablation.md#without-AE-FORK-2)"
    assert without in made[pages.RULES]
    assert "## Without AE-FORK-2 {#without-AE-FORK-2}" in made[ablations.ABLATION]
    for property, run in site.rows["AE-FORK-2"].found.breaks.items():
        anchor = f"without-AE-FORK-2-{property}"
        assert f"| [{run.depth}](#{anchor}) |" in made[ablations.ABLATION]
        assert f'id="{anchor}"' in made[ablations.ABLATION]
    assert "AE-FORK-2 steps in {#near-AE-FORK-2}" in made[ablations.NEAR_MISSES]
    assert (
        "| `sketch` | 1,234 | 5,678 | 9 | all guarantees hold | **not the same** |"
        in made[pages.BOUNDS]
    )
    assert f"{leak.property} breaks in {leak.depth} steps" in made[pages.BOUNDS]
    badge = litmus.badge("missed-cow", "MISSED")
    leaking = f"[{badge}](../litmus/cow.md#{LEAKING})"
    assert leaking in made[litmus.BY_MODEL]
    assert "](../litmus/cow.md#linux-5.7)" in made[litmus.BY_RELEASE]
    assert "57efa1fe5957" in made[litmus.BY_RELEASE]
    assert "| fork | `copy_present_pte` | `get_page` |  | 3 |" in made[obligations.PAGE]
    cow = made[litmus.uri("cow")]
    assert f"The file expects another verdict of `{LEAKING}`" in cow
    assert "A: &lt;write&gt; 1" in cow
    assert cow.count("<svg") == 1
    assert all(f'id="{name}"' in cow for name in litmus.columns())
    assert "a FOLL_GET reference | `carry` | 0 | 1 | 1 | 0 |" in made[FINDINGS_PAGE]
    assert "A1 on base page, `mapcount`: fine expected." in made[SELFTEST_PAGE]
    assert '<span class="v-missed-cow">missed-cow</span> A1' in made[SELFTEST_PAGE]
    assert "There is none: each case fails without some rule." in made[SELFTEST_PAGE]
    assert "Coherent until the process forks." in made[CONSUMERS_PAGE]
    assert (
        '<span class="v-wrong-cow" title="wrong-cow">no</span>' in made[CONSUMERS_PAGE]
    )
    for page in made.values():
        assert page.rpartition("---\n\n")[2].startswith("# ")
        # statements of operations may well have it
        assert "None" not in re.sub("`[^`]*`", "", page)


def test_promises_are_what_the_models_answer(site: pages.Site) -> None:
    page = site.models_page()
    row = next(line for line in page.splitlines() if "`FOLL_GET`, R/O" in line)
    promises = dict(zip(MODELS, row.split(" | ")[1:], strict=True))
    assert "also across fork" in promises["sketch"]
    assert promises["mapcount"].startswith("not protected")


def test_marks_of_hand_written_pages_are_replaced(site: pages.Site) -> None:
    uris = [path.name for path in (ROOT / "docs").glob("*.md")]
    assert "index.md" in uris
    for uri in uris:
        page = site.expand((ROOT / "docs" / uri).read_text(encoding="utf-8"), uri)
        assert "<!--" not in page
        if uri == "index.md":
            assert "<svg" in page


def test_a_table_has_as_many_cells_in_each_row() -> None:
    with pytest.raises(ValueError, match="needs 2 cells"):
        table(["a", "b"], [["only one"]])
