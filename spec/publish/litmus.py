"""Litmus tests on the site: a page for each, tables by model and by release.

What a page shows of a run is computed once and kept in the store of verdicts: models
that come to one verdict in one way share a trace.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spec.bugs import BUGS, Bug, Shown
from spec.cells import one_of
from spec.litmus.files import catalogue
from spec.litmus.parser import read
from spec.litmus.program import Test
from spec.litmus.run import Node, Outcome, Result, run
from spec.litmus.show import SHORT, machine_at, steps_text
from spec.models import MODELS
from spec.publish import cards, drawings, explorer
from spec.publish.cores import on_all_cores
from spec.publish.tables import code, table
from spec.releases import CHANGES, LINUX, RELEASES, find_model

if TYPE_CHECKING:
    from spec.publish.pages import Site

BY_MODEL = "reference/litmus.md"
BY_RELEASE = "reference/releases.md"
BUGS_PAGE = "reference/bugs.md"
FOUND_FIRST = ("---", "search: {boost: 1.5}", "---", "")
"""A page that tells of a bug weighs more than others, and less than a chapter."""
_LINUXES = [f"{LINUX}{release}" for release in RELEASES]
CLASSES = {
    "missed-cow": "A page is reused although somebody else may still read it: a leak.",
    "wrong-cow": "A page is copied away from a reference that relies on it.",
    "lost": "An update is lost by other means.",
    "side-effect": "Somebody is told of a write that nobody makes.",
    "not-guaranteed": "The test asks for more than the model promises.",
    "unnecessary-copy": "A page is copied although nobody else uses it.",
    "fine": "Every outcome meets the conditions.",
}
"""The classes of 2021-12-18 (Hildenbrand, same thread) and those between them."""


@dataclass(frozen=True)
class Group:
    """The models on which a test comes to one verdict in one way.

    Attributes:
        verdict: the class of the worst outcome.
        models: names of models and of releases.
        text: the worst outcome, line by line.
        picture: the same as SVG; empty where all is fine.
    """

    verdict: str
    models: tuple[str, ...]
    text: str
    picture: str


def columns() -> list[str]:
    """Every model and release that a table has."""
    return [*MODELS, *_LINUXES]


def further(test: str) -> dict[str, Shown]:
    """Where `test` shows a bug besides the columns: a variant, a rule taken away."""
    return {
        on(shown): shown
        for bug in BUGS
        for shown in bug.shown
        if shown.litmus == test and on(shown) not in columns()
    }


def on(shown: Shown) -> str:
    """The model on which a bug is shown, and the rules that it does not obey."""
    return " without ".join(filter(None, [shown.model, ", ".join(shown.without)]))


def groups(test: Test) -> tuple[Group, ...]:
    """What `test` comes to on each model, those of `columns` first."""
    runs = [(name, run(test, find_model(name))) for name in columns()]
    runs += [
        (name, run(test, find_model(shown.model), frozenset(shown.without)))
        for name, shown in further(test.name).items()
    ]
    found: dict[tuple[str, str], list[tuple[str, Result]]] = {}
    for name, result in runs:
        text = "\n".join(steps_text(result, result.worst))
        found.setdefault((result.verdict, text), []).append((name, result))
    return tuple(
        Group(verdict, tuple(name for name, _ in same), text, _picture(same[0][1]))
        for (verdict, text), same in found.items()
    )


def all_groups() -> dict[str, tuple[Group, ...]]:
    """`groups` of each test of the catalogue, on all cores."""
    paths = catalogue()
    return dict(zip(paths, on_all_cores(groups_of, paths.values()), strict=True))


def groups_of(path: Path) -> tuple[Group, ...]:
    """`groups` of the test in a file."""
    return groups(read(path))


def _picture(result: Result) -> str:
    return "" if result.verdict == "fine" else draw(result, result.worst).svg()


def draw(result: Result, outcome: Outcome) -> drawings.Drawing:
    """A picture of one outcome: one row for each line that changes what is drawn."""
    text = "\n".join(steps_text(result, outcome))
    drawing = drawings.Drawing(
        f"{result.test.name}: {outcome.verdict}",
        text,
        "The state after each line of the test as a row of boxes. The same stands "
        "beside it as text.",
    )
    before = outcome.node.path()[0]
    for number, line in enumerate(result.test.lines):
        after = [n for n in outcome.node.path() if n.line == number][-1]
        drawing.caption(f"{line.line}. {line}")
        machine = machine_at(result, after)
        if drawings.boxes(machine) != drawings.boxes(machine_at(result, before)):
            drawing.row(drawings.boxes(machine, _changed(before, after)))
        before = after
    drawing.caption(outcome.verdict)
    return drawing


def _changed(before: Node, after: Node) -> set[str]:
    return {key for key, value in after.state.items() if before.state[key] != value}


# -- pages -----------------------------------------------------------------------------


def uri(test: str) -> str:
    """The source address of the page of a test."""
    return f"litmus/{test}.md"


def verdicts(found: Iterable[Group]) -> dict[str, str]:
    """The verdict on each model and release."""
    return {model: group.verdict for group in found for model in group.models}


def badge(word: str, label: str = "") -> str:
    """A verdict with its sign and colour, perhaps under a shorter name."""
    return f'<span class="v-{word}">{label or word}</span>'


def short(model: str) -> str:
    """What a column is called: a release without its prefix."""
    return model.removeprefix(LINUX)


def pages(site: Site) -> dict[str, str]:
    """The page of each test: source address to Markdown."""
    found = site.store.litmus()
    tests = {name: read(catalogue()[name]) for name in found}
    return {
        uri(name): test_page(site, test, found[name]) for name, test in tests.items()
    }


def test_page(site: Site, test: Test, found: tuple[Group, ...]) -> str:
    """Story, program, bugs, verdicts, and one trace for each way to a verdict."""
    of = verdicts(found)
    told = any(bug.shown and bug.shown[0].litmus == test.name for bug in BUGS)
    lines = [
        *(FOUND_FIRST if told else ()),
        f"# {test.name}",
        "",
        " ".join(test.story.split()),
        "",
        "``` { .text }",
        str(test).rstrip(),
        "```",
        *(line for bug in BUGS for line in _bug(site, test.name, bug, of)),
        "",
        "## Verdicts",
        "",
        _row_of(of, MODELS),
        "",
        _row_of(of, _LINUXES),
    ]
    lines += _disagreements(test, of)
    lines += ["", "## Traces", ""]
    for group in found:
        lines += _trace(site, test, group)
    return "\n".join(lines) + "\n"


def _bug(site: Site, test: str, bug: Bug, of: Mapping[str, str]) -> Iterator[str]:
    """What a page says of a bug that its test shows; the first test has the story."""
    shown = [each for each in bug.shown if each.litmus == test]
    if not shown:
        return
    first = bug.shown[0].litmus
    if test == first:
        fix = f" ({bug.commit})" if bug.commit else ""
        yield from ("", f"## {bug_title(bug)}{fix} {{#{bug.id}}}", "", bug.story, "")
        yield from facts(site, bug, uri(test))
    else:
        yield from ("", f"## Another form of {first}", "")
        yield f"- Bug: [{bug_title(bug)}]({first}.md#{bug.id})"
    places = (
        f"[{badge(of[on(each)])}](#{anchor(on(each))}) on {_named(each)}"
        for each in shown
    )
    yield f"- Shown: {', '.join(places)}"


def _named(shown: Shown) -> str:
    named = f"Linux {short(shown.model)}" if shown.model.startswith(LINUX) else ""
    without = f" without {', '.join(shown.without)}" if shown.without else ""
    return f"{named or code(shown.model)}{without}"


def bug_title(bug: Bug) -> str:
    """The heading of a bug: its CVE if it has one, and the title of its fix."""
    return ", ".join([*bug.cve, bug.title])


def facts(site: Site, bug: Bug, here: str) -> Iterator[str]:
    """Class, fix, rules and what is unverified of a bug, as a list."""
    commit = f"{code(bug.commit)} " if bug.commit else ""
    release = f"first in {bug.fixed}" if bug.fixed else ""
    yield f"- Class: {badge(bug.verdict)}"
    yield f"- Fixed: {commit}{release}" if commit or release else "- Not fixed."
    for id in bug.rules:
        yield f"- Forbidden by {site.link(id, here)}: {site.find(id, here).sentence}"
    if bug.note:
        yield f"- Note: {bug.note}"


def _row_of(of: Mapping[str, str], names: Iterable[str]) -> str:
    chosen = list(names)
    cells = [f"[{badge(of[name])}](#{name})" for name in chosen]
    return table([short(name) for name in chosen], [cells], "ae-tight")


def _disagreements(test: Test, of: Mapping[str, str]) -> list[str]:
    lines = []
    for stated in test.expectations:
        if of[stated.model] != stated.verdict:
            lines += ["", f"The file expects another verdict of {code(stated.model)}: "]
            lines[-1] += f"{badge(stated.verdict)}."
    return lines


def _trace(site: Site, test: Test, group: Group) -> list[str]:
    """One way to a verdict: for which models, as text and as a picture."""
    anchors = "".join(f'<span id="{anchor(name)}"></span>' for name in group.models)
    named = [model for model in group.models if model not in _LINUXES]
    releases = [short(model) for model in group.models if model in _LINUXES]
    on = [code(model) for model in named]
    on += [f"Linux {', '.join(releases)}"] if releases else []
    text = html.escape(group.text)
    graph = explorer.test_name(test.name, group.models[0])
    explore = site.explore(graph, "", uri(test.name))
    lines = [
        f"{anchors}{badge(group.verdict)} on {', '.join(on)}",
        "",
        *([cards.explore_link(explore), ""] if explore else []),
        "<details data-search-exclude><summary>The worst outcome, line by line"
        f'</summary><pre class="ae-trace">{text}</pre></details>',
    ]
    if group.picture:
        picture = f'<div class="ae-picture" data-search-exclude>{group.picture}</div>'
        lines += ["", picture]
    return [*lines, ""]


def anchor(name: str) -> str:
    """The anchor of the trace of a model, perhaps ablated.

    >>> anchor("upstream without AE-WP-5")
    'upstream-without-AE-WP-5'
    """
    return name.replace(",", "").replace(" ", "-")


# -- tables ----------------------------------------------------------------------------


def _legend() -> str:
    rows = [(badge(word), SHORT[word], said) for word, said in CLASSES.items()]
    return table(("Verdict", "In tables", "What it says"), rows, "ae-wrap")


def _matrix(site: Site, names: Iterable[str], here: str) -> str:
    """Tests by models; each cell leads to its trace."""
    chosen = list(names)
    rows = [
        (
            f"[{test}]({_link(test, here)})",
            *(
                f"[{badge(of[name], SHORT[of[name]])}]({_link(test, here)}#{name})"
                for name in chosen
            ),
        )
        for test, found in site.store.litmus().items()
        for of in [verdicts(found)]
    ]
    header = [short(name).replace("_", "_<wbr>") for name in chosen]
    return table(("Test", *header), rows, "ae-tight ae-matrix")


def row(site: Site, test: str, names: Iterable[str], here: str) -> str:
    """One test and its verdict on some models, for a page written by hand.

    Raises:
        SpecificationError: there is no such test, or no such model.
    """
    found = site.store.litmus()
    of = verdicts(found[one_of(test, found, "litmus test")])
    chosen = [one_of(name, of, "model") for name in names]
    cells = [f"[{badge(of[name])}]({_link(test, here)}#{name})" for name in chosen]
    lead = f"[{test}]({_link(test, here)})"
    return table(("Test", *map(short, chosen)), [(lead, *cells)], "ae-tight")


def _link(test: str, here: str) -> str:
    from spec.publish.pages import source_link

    return source_link(uri(test), here)


def by_model_page(site: Site) -> str:
    """The verdict of each model on each test."""
    return "\n".join(
        [
            "# Litmus tests",
            "",
            f"{len(site.store.litmus())} programs and the verdict of each model on "
            "each, over all interleavings and all permissions: the class of the worst "
            "outcome. A cell leads to that outcome, a name to the program. "
            "[By release](releases.md) has the same for Linux as it was released.",
            "",
            _matrix(site, MODELS, BY_MODEL),
            "",
            "## Classes",
            "",
            _legend(),
            "",
        ]
    )


def by_release_page(site: Site) -> str:
    """The verdict of each release on each test, and what changed between them."""
    return "\n".join(
        [
            "# Releases",
            "",
            "A release is the model of its time without the rules that it did not "
            "know. A column stands for all releases up to the next one: nothing that "
            "matters here changed between them. `anon-exclusive litmus NAME --kernel "
            "5.10` runs a test on the model of a release.",
            "",
            "## Verdicts",
            "",
            _matrix(site, _LINUXES, BY_RELEASE),
            "",
            "## What changed",
            "",
            "*Rules* are obeyed since that release; *decisions* are answered otherwise "
            "since then, which [the table of models](models.md) has.",
            "",
            _changes(site),
            "",
        ]
    )


def bugs_page(site: Site) -> str:
    """All bugs in one table; those outside the model with the reason."""
    rows = [
        (
            f"[{bug.id}]({_page_of(bug)}#{bug.id})",
            f"{code(bug.commit)} {bug_title(bug)}" if bug.commit else bug_title(bug),
            bug.fixed or "not fixed",
            badge(bug.verdict),
            _seen(site, bug, most=2),
        )
        for bug in BUGS
    ]
    header = ("Bug", "Fixed by", "In", "Class", "Seen")
    lines = [
        "# Bugs",
        "",
        f"{len(BUGS)} bugs of copy-on-write, fork and GUP. Each is shown by a program "
        "in the model that had it, which has its story, or by a rule whose removal "
        "brings it back, or it needs state that the specification does not have; those "
        "two kinds are told below.",
        "",
        table(header, rows, "ae-wrap"),
    ]
    for bug in BUGS:
        if not bug.shown:
            lines += ["", f"## {bug_title(bug)} {{#{bug.id}}}", "", bug.story, ""]
            lines += facts(site, bug, BUGS_PAGE)
            lines.append(f"- Seen: {_seen(site, bug)}")
            lines += [f"- Outside the model: {bug.outside}"] if bug.outside else []
    return "\n".join(lines) + "\n"


def _page_of(bug: Bug) -> str:
    """The link to the page with a bug's story: of its first test, or this one."""
    return _link(bug.shown[0].litmus, BUGS_PAGE) if bug.shown else ""


def _seen(site: Site, bug: Bug, most: int = 99) -> str:
    """Where a bug is shown: tests, rules whose removal shows it, or nowhere."""
    if bug.outside:
        return "outside the model"
    tests = dict.fromkeys(shown.litmus for shown in bug.shown)
    shown = [f"[{test}]({_link(test, BUGS_PAGE)})" for test in tests]
    shown += [
        f"[without {id}](ablation.md#without-{id})"
        for id in bug.ablated
        if site.find(id, BUGS_PAGE)
    ]
    more = [f"{len(shown) - most} more"] if len(shown) > most else []
    return ", ".join(shown[:most] + more)


def _changes(site: Site) -> str:
    rows = [
        (
            change.release,
            code(change.commit),
            change.subject,
            ", ".join(site.link(id, BY_RELEASE) for id in change.rules),
            ", ".join(map(code, change.answers)),
        )
        for change in CHANGES
    ]
    header = ("Release", "Commit", "Change", "Rules", "Decisions")
    return table(header, rows, "ae-wrap")
