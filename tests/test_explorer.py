"""The explorer's graphs, the plain files of rules, versions, the changelog."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from spec.bounds import program
from spec.cells import SpecificationError
from spec.checker.program import Program
from spec.checker.replay import Move
from spec.decisions import sketch
from spec.litmus.files import catalogue
from spec.litmus.parser import read
from spec.models import MODELS
from spec.publish import (
    changes,
    citations,
    explored,
    explorer,
    glossary,
    pages,
    permalinks,
    policy,
    records,
    traces,
    versions,
)
from spec.publish.changes import Listed
from spec.publish.graphs import Graph
from spec.publish.verdicts import Store
from spec.publish.walk import Heeded, Phase, Walk
from spec.removals import Place
from spec.rules import find, load

SMALL = Place("small", 2)


@cache
def walked(removed: tuple[str, ...] = ()) -> explored.Made:
    return explored.section_graph(SMALL, "sketch", removed, most=explored.EVERYTHING)


# -- graphs ----------------------------------------------------------------------------


def test_a_whole_graph_has_the_states_that_the_checker_counts(store: Store) -> None:
    graph = walked().graph
    first = Place("small", 1)
    other = explored.section_graph(first, "sketch", most=explored.EVERYTHING).graph
    counted = store.check("small", "sketch")
    assert graph.complete
    assert len(graph.nodes) + len(other.nodes) == counted.states
    steps = sum(map(len, [*graph.edges.values(), *other.edges.values()]))
    assert steps == counted.transitions
    assert not any(graph.walk.broken(node) for node in graph.nodes)


def test_a_removed_rule_is_seen_to_be_broken() -> None:
    kept, removed = walked().graph, walked(("AE-SET-1",)).graph

    def broken(graph: Graph) -> set[str]:
        return {
            id for steps in graph.edges.values() for e in steps for id in e.said.broken
        }

    assert not broken(kept)
    assert "AE-SET-1" in broken(removed)


def test_a_step_names_the_rules_that_it_asks_for() -> None:
    obeyed = {
        id
        for steps in walked().graph.edges.values()
        for e in steps
        for id in e.said.kept
    }
    assert "AE-FORK-2" in obeyed
    without = walked(("AE-SET-1",)).graph
    said = [e.said for steps in without.edges.values() for e in steps]
    assert any("AE-SET-1" in each.removed for each in said)
    assert not any("AE-SET-1" in each.kept for each in said)


def test_steps_from_a_state_have_names_of_their_own() -> None:
    for node in (graph := walked().graph).edges:
        names = graph.names(node)
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[\w.~+-]+", name) for name in names)


def test_a_trace_that_no_longer_fits_is_one_sentence() -> None:
    made = walked().graph
    gone = Move("cpu0", ("no such answer",))
    with pytest.raises(SpecificationError, match="make records"):
        made.follow(next(iter(made.nodes)), [gone])


def test_what_is_looked_up_is_what_is_computed() -> None:
    """A walk that keeps nothing between states sees and does the same."""
    made = walked().graph
    heeded = Heeded()
    whole = program(SMALL.section, sketch, heeded)
    for node in list(made.edges)[::40]:
        fresh = Walk([Phase(whole, heeded)], whole.initial[0])
        fresh.histories = made.walk.histories
        assert fresh.seen(node) == made.walk.seen(node)
        assert fresh.edges(node) == made.edges[node]


def test_a_deadlock_is_told() -> None:
    def waits(cells: Any) -> Any:
        yield
        yield lambda: cells.read("never")

    whole = Program([{"never": False}], {"cpu0": waits})
    walk = Walk([Phase(whole, Heeded())], whole.initial[0])
    graph = Graph(walk)
    start = walk.start(whole.initial[0])
    graph.add(start)
    graph.spread(10)
    last = list(graph.nodes)[-1]
    assert walk.stuck(last, graph.edges[last])


def steps_of(graph: dict[str, Any], way: dict[str, Any]) -> list[int]:
    """The states along a way, walked as the script does it."""
    state = graph["starts"][way["start"]]
    found = [state]
    for name in way["steps"]:
        edges = graph["edges"][state]
        triples = [edges[i : i + 3] for i in range(0, len(edges), 3)]
        state = next(t for n, _, t in triples if graph["names"][n] == name)
        found.append(state)
    return found


def last_step(graph: dict[str, Any], way: dict[str, Any]) -> list[str]:
    """What the last step of a way breaks."""
    state = steps_of(graph, way)[-2]
    edges = graph["edges"][state]
    found: list[str] = next(
        graph["says"][edges[i + 1]][5]
        for i in range(0, len(edges), 3)
        if graph["names"][edges[i]] == way["steps"][-1]
    )
    return found


def test_every_recorded_trace_opens_and_breaks_what_it_is_recorded_for(
    store: Store,
) -> None:
    graphs = explorer.Graphs(explored.known(store))
    seen = 0
    for kept in records.rows().values():
        row = kept.found
        for id, run in [*row.breaks.items(), (row.rule, row.effect)]:
            if run is None:
                continue
            name = explorer.graph_name(run.place, row.model, [row.rule])
            graph = graphs.found[name]
            way = graph["ways"][id]
            end = str(steps_of(graph, way)[-1])
            broken = [*last_step(graph, way), *graph["broken"].get(end, [])]
            assert id in broken
            assert graphs.address(name, id).startswith(f"?g={name}&")
            seen += 1
    assert seen > 200
    for pair in (kept.found for kept in records.pairs()):
        for id, run in pair.breaks.items():
            assert graphs.address(
                explorer.graph_name(run.place, pair.model, pair.rules), id
            )


def test_every_litmus_violation_opens_at_its_outcome(store: Store) -> None:
    graphs = explorer.Graphs(explored.known(store))
    for test, found in store.litmus().items():
        for group in found:
            name = explorer.test_name(test, group.models[0])
            if group.verdict == "fine":
                continue
            graph = graphs.found[name]
            (way,) = graph["ways"].values()
            end = str(steps_of(graph, way)[-1])
            assert graph["ends"][end].startswith(f"The outcome is {group.verdict}")


def test_a_litmus_graph_has_a_phase_for_each_line() -> None:
    test = read(catalogue()["vmsplice-leak"])
    made = explored.test_graph(test, MODELS["mapcount"], "mapcount", ())
    graph = explored.as_dict(made)
    assert len(graph["phases"]) == len(test.lines)
    assert graph["complete"]
    assert set(graph["phase"]) == set(range(len(test.lines)))


# -- rules as files --------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(store: Store) -> pages.Site:
    return pages.Site(store)


def test_the_text_twin_is_the_citation(site: pages.Site) -> None:
    found = permalinks.files(site, glossary.meanings())
    for id, rule in site.registry.items():
        text = found[f"r/{id}.txt"]
        assert text == f"{citations.cite(rule, site.store)}\n"
        assert text.isascii()
        *lines, link = text.splitlines()
        assert max(map(len, lines)) <= traces.WIDTH
        assert link == f"Link: {citations.address(rule)}"
        assert len(link) <= traces.WIDTH
        assert f"Version:  anon-exclusive {citations.version()}" in lines
    every = found[permalinks.SPEC_TXT]
    assert all(f"\n{citations.cite(r, site.store)}\n" in every for r in load().values())


def test_rules_for_machines_are_complete(site: pages.Site) -> None:
    found = json.loads(permalinks.files(site, {})[permalinks.RULES_JSON])
    assert [rule["id"] for rule in found["rules"]] == list(load())
    assert found["version"] == citations.version()
    assert {rule["status"] for rule in found["rules"]} == {"in force"}


def test_a_withdrawn_rule_keeps_its_page_and_its_text(store: Store) -> None:
    gone = replace(find("AE-FORK-2"), withdrawn="AE-FORK-8 says the same.")
    site = pages.Site(store, {**load(), gone.id: gone})
    page = permalinks.pages(site)["r/AE-FORK-2.md"]
    assert "It is withdrawn: AE-FORK-8 says the same." in page
    assert "(withdrawn)" in page
    files = permalinks.files(site, {})
    assert files["r/AE-FORK-2.txt"].startswith("AE-FORK-2 revision 1 (withdrawn)")
    (entry,) = (
        rule
        for rule in json.loads(files[permalinks.RULES_JSON])["rules"]
        if rule["id"] == gone.id
    )
    assert entry["status"] == "withdrawn"
    assert "withdrawn" in site.rules_page()


# -- changes ---------------------------------------------------------------------------


def test_the_present_rules_follow_those_that_were_released() -> None:
    now = changes.listed(load().values())
    for rules in changes.released().values():
        assert changes.silent(rules, now) == []


def test_the_changelog_names_each_class(tmp_path: Path) -> None:
    now = changes.listed(load().values())
    old = {
        **{id: each for id, each in now.items() if id != "AE-FORK-2"},
        "AE-FORK-1": Listed(0, "00000000", "fork"),
        "AE-COW-1": replace(now["AE-COW-1"], chapter="fault"),
        "AE-OLD-1": Listed(1, "00000000", "bit"),
    }
    (tmp_path / "0.0.9.json").write_text(changes.as_json(old))
    assert changes.released(tmp_path) == {"0.0.9": old}
    found = changes.difference(old, now)
    assert found == {
        "added": ["AE-FORK-2"],
        "withdrawn": ["AE-OLD-1"],
        "changed": ["AE-FORK-1"],
        "moved": ["AE-COW-1"],
    }
    page = changes.changelog(load().values(), "0.1.0", tmp_path)
    assert page.index("## 0.1.0, not released yet") < page.index("## 0.0.9")
    assert changes.silent(old, now) == [
        "AE-OLD-1 is gone; withdraw it and keep its page"
    ]


# -- versions --------------------------------------------------------------------------


def built(folder: Path, version: str, checksum: str = "82f95ef6") -> Path:
    """A site of two pages."""
    site = folder / f"site-{version}-{checksum}"
    (site / "r" / "AE-FORK-2").mkdir(parents=True)
    (site / "versions").mkdir()
    rules = [{"id": "AE-FORK-2", "rev": 1, "checksum": checksum}]
    (site / "rules.json").write_text(json.dumps({"version": version, "rules": rules}))
    text = f'<body class="x"><h1>{version}</h1></body>'
    (site / "r" / "AE-FORK-2" / "index.html").write_text(text)
    listed = '<body><ul id="version-list"><li>none</li></ul></body>'
    (site / "versions" / "index.html").write_text(listed)
    return site


def test_a_published_version_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    versions.publish(built(tmp_path, "0.1.0"), out)
    versions.publish(built(tmp_path, "0.2.0", "00000000"), out)
    rule = Path("r", "AE-FORK-2", "index.html")
    assert "<h1>0.2.0</h1>" in (out / rule).read_text()
    kept = (out / "v" / "0.1.0" / rule).read_text()
    assert "<h1>0.1.0</h1>" in kept
    link = re.search(r'<a href="([^"]+)">The current version', kept)
    assert link is not None
    there = (out / "v" / "0.1.0" / rule).parent / link[1]
    assert there.resolve() == (out / rule).parent.resolve()
    found = json.loads((out / "versions.json").read_text())
    assert [each["version"] for each in found] == ["0.2.0", "0.1.0"]
    assert "v/0.1.0/" in (out / "versions" / "index.html").read_text()


def test_a_version_is_not_published_twice_with_other_rules(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    versions.publish(built(tmp_path, "0.1.0"), out)
    before = sorted(path.relative_to(out) for path in out.rglob("*"))
    with pytest.raises(SpecificationError, match=r"0\.1\.0 is published with other"):
        versions.publish(built(tmp_path, "0.1.0", "00000000"), out)
    assert sorted(path.relative_to(out) for path in out.rglob("*")) == before
    assert versions.main([str(tmp_path / "none"), str(out)]) == 2
    assert versions.main([str(tmp_path / "none"), ""]) == 2


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    mine = tmp_path / "home" / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(SpecificationError, match="give an empty folder"):
        versions.publish(built(tmp_path, "0.1.0"), mine.parent)
    assert mine.read_text() == "mine"


# -- policy and glossary ---------------------------------------------------------------


def test_the_policy_allows_the_scripts_of_the_page_and_no_others() -> None:
    page = f"{policy.HEAD}<script>one()</script><script src=x.js></script>"
    found = policy.with_policy(page)
    assert policy.digest("one()") in found
    assert policy.digest("two()") not in found
    assert "unsafe-inline" not in found
    assert "'unsafe-eval'" not in found
    for bad in ('<p style="color: red">', '<a onclick="x()">', "<style>p {}</style>"):
        with pytest.raises(policy.Inline):
            policy.with_policy(page + bad)


def test_terms_lead_to_the_glossary_once_and_not_in_code() -> None:
    page = "<p>A missed COW. <code>missed COW</code></p><p>missed COW</p><h2>reuse</h2>"
    found = glossary.linked(page, "g/")
    assert found.count("<a ") == 1
    assert '<a class="ae-term" href="g/#term-missed-cow">missed COW</a>' in found
    assert "<h2>reuse</h2>" in found
    abbreviated = glossary.linked('<p><abbr title="x">GUP</abbr></p>', "g/")
    assert abbreviated == '<p><a class="ae-term" href="g/#term-gup">GUP</a></p>'
