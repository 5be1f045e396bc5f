"""Pages that are generated, and rule cards and links in pages written by hand.

The site's hook calls `generated_pages` and then `expand` on every build. Each number
on a page comes from the store of computed verdicts.
"""

from __future__ import annotations

import difflib
import html
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from spec import bounds, fault, fork, gup, models, rules
from spec.cells import SpecificationError
from spec.checker.program import Verdict
from spec.counts import run
from spec.decisions import Foll
from spec.litmus.files import catalogue
from spec.memory import Machine, Names
from spec.promises import promised
from spec.publish import (
    ablations,
    anchors,
    cards,
    changes,
    chapters,
    citations,
    conformance,
    consumers,
    costs,
    drawings,
    explored,
    explorer,
    findings,
    glossary,
    litmus,
    obligations,
    performance,
    permalinks,
    races,
    records,
    selftest,
    traces,
    verdicts,
)
from spec.publish.cores import on_all_cores
from spec.publish.records import Recorded
from spec.publish.tables import code, number, spanning, table
from spec.removals import Pair, Row
from spec.rules import Rule

RULES = "reference/rules.md"
MODELS = "reference/models.md"
BOUNDS = "reference/bounds.md"
COUNTS = verdicts.ROOT / "tests" / "counts.json"
TESTS_ON_A_CARD = 6
"""How many litmus tests that fail without a rule its card names."""

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_VERDICTS = re.compile(r"<!-- verdicts: (\S+)((?: \S+)*) -->")
_COMMIT = re.compile(r"\b[0-9a-f]{12}\b")
_HEADING = re.compile(r"^#{1,6}\s")
_RULE_HEADING = re.compile(rf"^(#{{1,6}})\s+({rules.ID.pattern})\s*(\{{.*\}})?\s*$")
_MENTION = re.compile(
    rf"""
    <(pre|svg|code|a)\b.*?</\1> | <!--.*?--> | <[^>\n]+>    # HTML
    | (?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)            # inline code
    | !?\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\]|:.*?$)            # links and their targets
    | (?<![\w-])(?P<id>{rules.ID.pattern})(?![\w-])
    """,
    re.X | re.S | re.M,
)


# -- addresses -------------------------------------------------------------------------


def chapter_uri(rule: Rule) -> str:
    """The source address of the chapter that defines the rule."""
    return f"spec/{rule.chapter}.py"


def source_link(target: str, uri: str) -> str:
    """The link from the page `uri` to the page `target`, both as source addresses.

    >>> source_link("spec/fork.py", "reference/rules.md")
    '../spec/fork.py'
    """
    return posixpath.relpath(target, posixpath.dirname(uri) or ".")


def built_link(target: str, uri: str) -> str:
    """The same between the pages as they are built, for links in HTML.

    >>> built_link("reference/litmus.md", "spec/fork.py")
    '../../reference/litmus/'
    >>> built_link("reference/litmus.md", "index.md")
    'reference/litmus/'
    """

    def folder(page: str) -> str:
        path = PurePosixPath(page)
        return str(path.parent if path.stem == "index" else path.with_suffix(""))

    return posixpath.relpath(folder(target), folder(uri)) + "/"


def rule_link(rule: Rule, uri: str) -> str:
    """A Markdown link on the page `uri` to the heading of the rule."""
    target = chapter_uri(rule)
    page = "" if target == uri else source_link(target, uri)
    return f"[{rule.id}]({page}#{rule.id})"


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _topics(registry: dict[str, Rule]) -> Iterator[tuple[str, list[Rule]]]:
    """Each topic that has rules: what it is about, and its rules by number."""
    for topic, about in rules.TOPICS.items():
        found = [rule for rule in registry.values() if rule.topic == topic]
        if found:
            yield about, sorted(found, key=lambda rule: rule.number)


# -- the site --------------------------------------------------------------------------


@dataclass
class Site:
    """Everything that pages are made of.

    Args:
        store: the computed verdicts.
        registry: the rules by id.
        rows: the recorded removals of single rules.
        pairs: the recorded removals of two rules.
    """

    store: verdicts.Store
    registry: dict[str, Rule] = field(default_factory=rules.load)
    rows: dict[str, Recorded[Row]] = field(default_factory=records.rows)
    pairs: list[Recorded[Pair]] = field(default_factory=records.pairs)

    def find(self, id: str, uri: str) -> Rule:
        """The rule that the page `uri` mentions; raises SpecificationError if none."""
        if id not in self.registry:
            near = difflib.get_close_matches(id, self.registry, n=1, cutoff=0.0)
            raise SpecificationError(
                f"{uri} mentions {id}, which is no rule; the nearest is {near[0]}"
            )
        return self.registry[id]

    def link(self, id: str, uri: str) -> str:
        """A Markdown link on the page `uri` to the rule; raises as `find` does."""
        return rule_link(self.find(id, uri), uri)

    # -- marks in pages ---------------------------------------------------------------

    def expand(self, markdown: str, uri: str) -> str:
        """The page with a card below each rule's heading, and mentions linked.

        Raises:
            SpecificationError: an id is unknown, a heading stands in the wrong
                chapter or twice, or a rule of this chapter has no heading.
        """
        for mark, put in _MARKS.items():
            if mark in markdown:
                markdown = markdown.replace(mark, put())
        markdown = _VERDICTS.sub(
            lambda mark: litmus.row(self, mark[1], mark[2].split(), uri), markdown
        )
        headed: list[str] = []
        pieces = []
        for is_prose, piece in _pieces(markdown):
            if heading := _RULE_HEADING.match(piece):
                headed.append(heading[2])
                pieces.append(self._headed(heading, uri))
            else:
                pieces.append(self._linked(piece, uri) if is_prose else piece)
        self._check_headings(headed, uri)
        return "".join(pieces) + self._moved_from(uri)

    def _moved_from(self, uri: str) -> str:
        """Pointers for the old links of rules that have left this chapter."""
        chapter = PurePosixPath(uri).stem if uri.startswith("spec/") else ""
        gone = rules.MOVED.get(chapter, ())
        links = [f"{self.link(id, uri)}{{#{id}}}" for id in gone]
        if not links:
            return ""
        return f"\n\n## Rules that moved\n\n{', '.join(links)}\n"

    def _headed(self, heading: re.Match[str], uri: str) -> str:
        rule = self.find(heading[2], uri)
        if uri == permalinks.page_uri(rule):
            return heading[0]
        if chapter_uri(rule) != uri:
            raise SpecificationError(
                f"{uri} has a heading {rule.id}, but {chapter_uri(rule)} defines it"
            )
        tests, near = self._tests_of(rule, uri), self._near_miss_of(rule, uri)
        explore = self._explore_removal(rule, uri)
        card = cards.rule_card(rule, self.store, tests, near, explore)
        return f"{heading[1]} {rule.id} {{#{rule.id}}}\n\n{card}\n\n"

    def _tests_of(self, rule: Rule, uri: str) -> tuple[tuple[str, str], ...]:
        """Litmus tests that name the rule or fail without it, with their addresses."""
        naming = [
            name
            for name, text in self.texts.items()
            if re.search(rf"{rule.id}(?!\d)", text)
        ]
        failing = self.tests.get(rule.id, [])[:TESTS_ON_A_CARD]
        return tuple(
            (name, built_link(litmus.uri(name), uri))
            for name in dict.fromkeys([*naming, *failing])
        )

    @cached_property
    def texts(self) -> dict[str, str]:
        """The litmus tests of the catalogue as they are written."""
        return {n: p.read_text(encoding="utf-8") for n, p in catalogue().items()}

    @cached_property
    def tests(self) -> dict[str, list[str]]:
        """For each rule, the litmus tests that fail without it, if that is known."""
        return selftest.tests_of(self.store)

    def _near_miss_of(self, rule: Rule, uri: str) -> str:
        """The address of the rule's near miss; empty if none is recorded."""
        kept = self.rows.get(rule.id)
        page = built_link(ablations.NEAR_MISSES, uri)
        return f"{page}#near-{rule.id}" if kept and kept.found.effect else ""

    def _explore_removal(self, rule: Rule, uri: str) -> str:
        """The trace on the rule's card in the explorer; empty if it is not recorded."""
        kept, ablation = self.rows.get(rule.id), self.store.ablated(rule.id)
        if kept is None or ablation is None or ablation.violation is None:
            return ""
        run = kept.found.breaks.get(ablation.violation.property)
        if run is None:
            return ""
        name = explorer.graph_name(run.place, kept.found.model, [rule.id])
        return self.explore(name, ablation.violation.property, uri)

    def _linked(self, prose: str, uri: str) -> str:
        def link(found: re.Match[str]) -> str:
            return (
                rule_link(self.find(found["id"], uri), uri) if found["id"] else found[0]
            )

        return _MENTION.sub(link, prose)

    def _check_headings(self, headed: list[str], uri: str) -> None:
        twice = next((id for id in headed if headed.count(id) > 1), None)
        if twice:
            raise SpecificationError(f"{uri} has two headings {twice}")
        for rule in self.registry.values():
            if chapter_uri(rule) == uri and rule.id not in headed:
                raise SpecificationError(
                    f"{uri} defines {rule.id} but has no heading ### {rule.id}"
                )

    # -- the explorer -----------------------------------------------------------------

    @cached_property
    def graphs(self) -> explorer.Graphs:
        """What the explorer shows."""
        return explorer.Graphs(explored.known(self.store))

    def explore(self, graph: str, way: str, uri: str) -> str:
        """The address of a trace in the explorer; empty if it is not there.

        Args:
            graph: the name of a graph.
            way: the title of the trace; empty for the first.
            uri: the page that leads there.
        """
        found = self.graphs.address(graph, way)
        folder = built_link(explorer.PAGE, uri)
        return f"{folder}index.html{found}" if found else ""

    def files(self) -> dict[str, str]:
        """Files of the site besides its pages: address to content."""
        said = {
            id: (rule.sentence, f"{built_link(chapter_uri(rule), 'index.md')}#{id}")
            for id, rule in self.registry.items()
        }
        return {
            **self.graphs.files(said),
            **permalinks.files(self, glossary.meanings()),
        }

    # -- generated pages --------------------------------------------------------------

    def groups(self) -> dict[str, Callable[[], dict[str, str]]]:
        """What makes the generated pages; what takes longest comes first."""
        return {
            "proof": lambda: {obligations.PAGE: obligations.proof_page(self)},
            "kernels": lambda: conformance.pages(self),
            "selftest": lambda: {selftest.SELFTEST_PAGE: selftest.selftest_page(self)},
            "removals": lambda: {
                ablations.ABLATION: ablations.ablation_page(self),
                ablations.NEAR_MISSES: ablations.near_misses_page(self),
            },
            "tests": lambda: {
                litmus.BY_MODEL: litmus.by_model_page(self),
                litmus.BY_RELEASE: litmus.by_release_page(self),
                litmus.BUGS_PAGE: litmus.bugs_page(self),
                **litmus.pages(self),
            },
            "others": self._others,
        }

    def _others(self) -> dict[str, str]:
        return {
            RULES: self.rules_page(),
            MODELS: self.models_page(),
            BOUNDS: self.bounds_page(),
            findings.FINDINGS_PAGE: findings.findings_page(self),
            findings.STEPS_PAGE: findings.steps_page(self),
            costs.COST_PAGE: costs.cost_page(self),
            consumers.CONSUMERS_PAGE: consumers.consumers_page(self),
            performance.PAGE: performance.performance_page(),
            races.PAGE: races.races_page(),
            anchors.ANCHORS_PAGE: anchors.anchors_page(self),
            **permalinks.pages(self),
            changes.PAGE: changes.changelog(
                self.registry.values(), citations.version()
            ),
        }

    def generated(self) -> dict[str, str]:
        """All generated pages: source address to Markdown."""
        return _merged(make() for make in self.groups().values())

    def _without(self, rule: Rule, uri: str) -> str:
        """What breaks without the rule, in a few words, linked to the trace."""
        ablation = self.store.ablated(rule.id)
        if ablation is None:
            return ""
        anchor = f"without-{rule.id}"
        if ablation.violation is not None:
            said = f"{ablation.violation.property}, {ablation.violation.depth} steps"
        elif rule.modal == "MAY":
            said, anchor = "permission", "permissions"
        else:
            said = "survives"
        return f"[{said}]({source_link(ablations.ABLATION, uri)}#{anchor})"

    def _cite_link(self, rule: Rule) -> str:
        page = source_link(permalinks.page_uri(rule), RULES)
        # from the heading on, the next thing that a keyboard reaches is the button
        return f'[cite]({page}#cite "Cite {rule.id}")'

    def rules_page(self) -> str:
        """The rule index: guarantees and assumptions are among the topics."""
        ablation = source_link(ablations.ABLATION, RULES)
        lines = [
            "# Rules",
            "",
            f"The specification has {len(self.registry)} citable statements. Each id "
            "leads to the rule's card: its source, its evidence, the trace that shows "
            "what breaks without it, and a citation to copy. Removing a rule to see "
            f"what breaks is called [ablation]({ablation}).",
        ]
        for about, members in _topics(self.registry):
            rows = [
                (
                    f"{rule_link(rule, RULES)}<br>{self._cite_link(rule)}",
                    "withdrawn" if rule.withdrawn else rule.modal,
                    rule.sentence,
                    ", ".join(rule.models),
                    self._without(rule, RULES),
                )
                for rule in members
            ]
            header = ("Id", "Word", "Sentence", "Asked of", "Without it")
            look = "ae-wrap ae-rules"
            lines += ["", f"## {_title(about)}", "", table(header, rows, look)]
        return "\n".join(lines) + "\n"

    def models_page(self) -> str:
        """Every decision with the answer of each model, and what each promises."""
        names, all_models = list(models.MODELS), list(models.MODELS.values())
        decisions = [
            (question, *(_answer(answers[name]) for name in names))
            for question, answers in models.decision_table()
        ]
        promises = [
            (
                f"`FOLL_{'PIN' if pin else 'GET'}`, {'R/W' if write else 'R/O'}",
                *(promised(model, Foll(write=write, pin=pin)) for model in all_models),
            )
            for pin in (False, True)
            for write in (False, True)
        ]
        return "\n".join(
            [
                "# Models",
                "",
                "A model answers these decisions and nothing else. The operations "
                "are the same for all.",
                "",
                "## Decisions",
                "",
                "Neighbours with one answer share a cell. An answer names the commit "
                "that brought it, and the release where that is not the first of its "
                "model.",
                "",
                spanning(["Decision", *map(_breakable, names)], decisions, "ae-models"),
                "",
                "## Promises",
                "",
                "A reference is *protected* if the model promises that its address "
                "keeps the page while the reference lives. Where a model promises "
                "nothing, a wrong COW is no violation of that model.",
                "",
                table(["Reference", *names], promises, "ae-wrap"),
                "",
            ]
        )

    def bounds_page(self) -> str:
        """What each bound contains, and what its exploration met for each model."""
        lines = [
            "# Bounds",
            "",
            "An exploration visits every interleaving within its bounds. It says "
            "nothing about larger machines. *Pinned* compares the counts with those "
            "that `tests/counts.json` fixes and the tests reproduce.",
        ]
        pinned = json.loads(COUNTS.read_text(encoding="utf-8"))
        named = bounds.BOUNDS.values()
        contents = {made.name: made.describe() for made in named}
        keys = dict.fromkeys(key for said in contents.values() for key in said)
        rows = [
            (_title(key), *(said.get(key, "") for said in contents.values()))
            for key in keys
        ]
        lines += ["", table(("Contains", *contents), rows, "ae-wrap")]
        for made in named:
            lines += ["", f"## {_title(made.name)} {{#{made.name}}}", ""]
            lines += [self._explored(made.name, pinned), "", _sections(made)]
        return "\n".join(lines) + "\n"

    def _explored(self, name: str, pinned: Any) -> str:
        """What the exploration of one bound met, for each model; which were left."""
        verdicts = {model: self.store.checked(name, model) for model in models.MODELS}
        rows = [
            (*_counts(model, verdict), _pinned(pinned, name, model, verdict))
            for model, verdict in verdicts.items()
            if verdict is not None
        ]
        header = ("Model", "States", "Transitions", "Depth", "Result", "Pinned")
        left = [f"`{model}`" for model, verdict in verdicts.items() if verdict is None]
        lines = [table(header, rows)] if rows else []
        if left:
            lines.append(
                f"The site is built without {', '.join(left)} here: that takes too "
                f"long. `anon-exclusive check --bounds {name} --model MODEL` runs it."
            )
        return "\n\n".join(lines)


def _answer(text: str) -> str:
    """An answer to a decision as HTML, its commits marked."""
    return _COMMIT.sub(r"<code>\g<0></code>", html.escape(text))


def _breakable(name: str) -> str:
    """The name of a model that may break into lines."""
    return name.replace("_", "_<wbr>")


def _counts(model: str, verdict: Verdict) -> tuple[str, ...]:
    if verdict.holds:
        result = "all guarantees hold"
    else:
        first = verdict.violations[0]
        result = f"{first.property} breaks in {first.depth} steps"
    counts = (verdict.states, verdict.transitions, verdict.depth)
    return (code(model), *map(number, counts), result)


def _sections(made: bounds.Bounds) -> str:
    """What each CPU does in each section of a bound."""
    rows = [
        (i, text)
        for i, section in enumerate(made.sections, 1)
        for text in section.describe()
    ]
    return table(("Section", "Who does what"), rows, "ae-wrap")


def _pinned(pinned: Any, bounds: str, model: str, verdict: Verdict) -> str:
    """Whether the counts are those that the tests expect."""
    expected = pinned.get(bounds, {}).get(model)
    if expected is None:
        return "no"
    found = {name: getattr(verdict, name) for name in expected}
    return "the same" if found == expected else "**not the same**"


def _pieces(markdown: str) -> Iterator[tuple[bool, str]]:
    """The page cut into pieces: prose to look for ids in, or not (code, headings)."""
    prose: list[str] = []
    fence = ""
    for line in markdown.splitlines(keepends=True):
        mark = _FENCE.match(line)
        inside = bool(fence)
        if mark and not fence:
            fence, inside = mark[1], True
        elif mark and mark[1].startswith(fence) and line.strip() == mark[1]:
            fence = ""
        if inside or _HEADING.match(line):
            if prose:
                yield True, "".join(prose)
                prose = []
            yield False, line
        else:
            prose.append(line)
    if prose:
        yield True, "".join(prose)


# -- marks -----------------------------------------------------------------------------


def _topics_table() -> str:
    """What each topic of an id is about."""
    rows = [(code(topic), about) for topic, about in rules.TOPICS.items()]
    return table(("Topic", "About"), rows)


def _fork_picture() -> str:
    """A process takes a reference and forks: both states, from the operations."""
    machine = Machine(Names(refs=("r",)), models.MODELS["sketch"])
    parent, child = machine.start("A"), machine.mms["B"]
    run(fault.write(parent, "x"))
    run(gup.get_user_pages(parent, "x", machine.refs["r"], Foll(pin=True)))
    before = traces.describe(machine)
    picture = drawings.Drawing("fork() copies a page to which a reference is held")
    picture.caption("A has taken the reference r: the page is exclusive")
    picture.row(drawings.boxes(machine))
    run(fork.fork(parent, child))
    picture.caption("A forks B: the child gets a copy, A and r keep the page")
    picture.row(drawings.boxes(machine))
    said = ["Before:", *before, "After:", *traces.describe(machine)]
    picture.text = "\n".join(said)
    return f'<div class="ae-picture" data-search-exclude>{picture.svg()}</div>'


_MARKS = {
    "<!-- picture: fork -->": _fork_picture,
    "<!-- topics -->": _topics_table,
}


# -- what the hook calls ---------------------------------------------------------------

_site: list[Site] = []
_KEPT = chapters.ROOT / "build" / "pages"
_ALSO_SHOWN = ("bench", "docs", "docs/includes", "tests")
"""Folders beside the package from which generated pages take something."""


def _merged(parts: Iterable[dict[str, str]]) -> dict[str, str]:
    return {uri: markdown for part in parts for uri, markdown in part.items()}


def _group(name: str) -> dict[str, str]:
    """A group of pages, in a process of its own."""
    return Site(verdicts.Store()).groups()[name]()


def generated_pages() -> dict[str, str]:
    """The generated pages: source address (`reference/rules.md`) to Markdown.

    Computes what is missing in the store of verdicts, which takes its time once. The
    pages are kept until anything changes but the prose of chapters, which none shows.
    """
    _site[:] = [Site(verdicts.fill())]
    read = [
        path for folder in _ALSO_SHOWN for path in (chapters.ROOT / folder).glob("*")
    ]
    key = chapters.package_key(*(path for path in read if path.is_file()))
    kept = _KEPT / f"{key}.json"
    if kept.exists():
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    made = _merged(on_all_cores(_group, _site[0].groups()))
    _KEPT.mkdir(parents=True, exist_ok=True)
    for old in _KEPT.glob("*.json"):
        old.unlink(missing_ok=True)
    kept.write_text(json.dumps(made), encoding="utf-8")
    return made


def generated_files() -> dict[str, str]:
    """What is generated besides pages: address on the site to content."""
    return _site[0].files()


def expand(markdown: str, src_uri: str) -> str:
    """The Markdown of the page `src_uri` with its marks replaced.

    Called on every page, generated ones included, before MkDocs renders it and checks
    its links. Code cells are in it as fenced blocks; what they put out is not.
    """
    if not _site:
        _site.append(Site(verdicts.Store()))
    return _site[0].expand(markdown, src_uri)
