"""The generated pages on removed rules: what breaks without them, and near misses."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from spec.checker.program import Trace
from spec.publish import cards, citations, contrasts, explorer, traces
from spec.publish.records import Recorded
from spec.publish.tables import code, number, table
from spec.removals import (
    SECTIONS_OF_A_PAIR,
    NearMiss,
    Pair,
    Place,
    Row,
    Run,
    judged,
    near_miss,
    play,
)
from spec.rules import Rule

if TYPE_CHECKING:
    from spec.publish.pages import Site

ABLATION = "reference/ablation.md"
NEAR_MISSES = "reference/near-misses.md"


def ablation_page(site: Site) -> str:
    """Rules against guarantees, pairs of rules, permissions, and the traces."""
    rows = list(site.rows.values())
    lines = [
        "# Ablation",
        "",
        "Each rule in turn is removed from a model that keeps it. A number below a "
        "guarantee is the length of the shortest trace that was found to break it, and "
        "leads to that trace. *Takes effect* is the length of the shortest trace to a "
        "step that does what the removed rule forbids, and leads to the "
        "[near miss](near-misses.md).",
        "",
        "*Holds*: every section that was searched was explored to its end. *> n*: an "
        "exploration ended early; every trace of up to n steps was explored. An empty "
        "cell is a guarantee that is not judged where the rule applies. Searched are "
        "the [sections](bounds.md) in which an operation asks for the rule, of `huge` "
        "for rules on large folios, of `ordering` for those on memory ordering, else "
        "of `small` and `standard`: all that are about the rule's topic, and others "
        "that are not larger than the budget; larger ones as long as nothing breaks. "
        "The section on each rule names them.",
        "",
        *_provenance(rows, "ablate RULE --beyond N --record"),
        "",
        _matrix(site, [each.found for each in rows]),
        "",
        *_alone(site, [each.found for each in rows]),
        *_pairs(site),
        *_permissions(site),
    ]
    for rule in site.registry.values():
        lines += _removal(site, rule)
    return "\n".join(lines) + "\n"


def _provenance(
    kept: Iterable[Recorded[Row] | Recorded[Pair]], again: str
) -> list[str]:
    """When the results were recorded, of which code, and how far the search went."""
    found = list(kept)
    if not found:
        return [f"Nothing is recorded; `anon-exclusive {again}` does it."]
    days = sorted({each.made for each in found})
    beyond = sorted({each.beyond for each in found})
    old = sum(not each.current for each in found)
    since = (
        "The operations, rules and bounds have not changed since."
        if not old
        else f"For {old} of {len(found)} results the code has changed since: their "
        f"traces are valid, but a shorter one may exist. `anon-exclusive {again}` "
        "records anew."
    )
    return [
        f"Recorded {' to '.join([days[0], *days[-1:][: len(days) - 1]])}: explorations "
        f"in which something broke went on until {_range(beyond)} states were stored, "
        "the others to their end, or until they were twice as large as they are with "
        "all rules. Each trace on this page is replayed on the present "
        f"operations when the page is built. {since}"
    ]


def _range(numbers: list[int]) -> str:
    ends = dict.fromkeys([numbers[0], numbers[-1]])
    return " to ".join(number(each) for each in ends)


# -- the matrix ------------------------------------------------------------------------


def guarantees(rows: Iterable[Row]) -> list[str]:
    """What some row is judged by: guarantees by number, then deadlock."""
    found = {id for row in rows for id in (*judged(row), *row.breaks)}
    return sorted(found, key=lambda id: (len(id), id) if id != "deadlock" else (99, id))


def _anchor(ids: Iterable[str], property: str = "") -> str:
    return "-".join(filter(None, ["without", *ids, property]))


def _matrix(site: Site, rows: list[Row]) -> str:
    columns = guarantees(rows)
    body = []
    for row in rows:
        rule = site.registry[row.rule]
        effect = (
            f"[{row.effect.depth}](near-misses.md#near-{row.rule})"
            if row.effect
            else "never"
        )
        known = judged(row)
        cells = [_cell(row, id, known) for id in columns]
        body.append([site.link(row.rule, ABLATION), rule.modal, effect, *cells])
    return table(("Rule", "Word", "Takes effect", *columns), body, "ae-tight")


def _cell(row: Row, id: str, known: frozenset[str]) -> str:
    if id in row.breaks:
        return f"[{row.breaks[id].depth}](#{_anchor([row.rule], id)})"
    return verdict(row) if id in known else ""


def verdict(row: Row) -> str:
    """What is known of the guarantees that were not seen to break."""
    return "holds" if row.complete else f"> {row.depth}"


def _alone(site: Site, rows: list[Row]) -> Iterator[str]:
    """The rules whose removal breaks one guarantee and leaves all others whole."""
    single = [row for row in rows if row.complete and len(row.breaks) == 1]
    if single:
        said = ", ".join(
            f"{site.link(row.rule, ABLATION)} ({next(iter(row.breaks))})"
            for row in single
        )
        yield from (
            f"One guarantee alone breaks, all others hold, without: {said}.",
            "",
        )


# -- pairs -----------------------------------------------------------------------------


def _pairs(site: Site) -> Iterator[str]:
    """Pairs of rules that fail only together, and what was searched for them."""
    kept = site.pairs
    pairs = [each.found for each in kept]
    done = [search for pair in pairs for search in pair.searched]
    together = [(pair, id) for pair in pairs for id in pair.breaks]
    yield from ("## Two rules at a time {#pairs}", "")
    yield (
        "A guarantee may survive the removal of each of two rules and not that of "
        f"both. Searched were {number(len(pairs))} pairs of rules of one model, both "
        "asked for by one run of an operation. Each pair was removed in up to "
        f"{SECTIONS_OF_A_PAIR} of the sections where that happens and where each rule "
        "was removed alone as well, those first that are about the rules' topics. "
        f"{number(sum(not s.complete for s in done))} of {number(len(done))} "
        "explorations ended before their end, because something had broken. Listed "
        f"are {number(len({pair.rules for pair, _ in together}))} pairs: in the "
        "section of the trace neither removal alone breaks the guarantee, as far as "
        "*alone* says. The trace needs both removals: with one alone the same schedule "
        "breaks nothing. In another section one rule may be needed by itself, as the "
        "matrix shows. No more is claimed for pairs that are not listed, nor for pairs "
        "whose rules no run has in common."
    )
    yield from ("", *_provenance(kept, "ablate --pairs --beyond N --record"), "")
    if not together:
        return
    yield table(
        ("Rules", "Breaks", "Steps", "Alone", "Section"),
        [
            (
                " and ".join(site.link(id, ABLATION) for id in pair.rules),
                property,
                f"[{pair.breaks[property].depth}](#{_anchor(pair.rules, property)})",
                ", ".join(_alone_there(pair, id, property) for id in pair.rules),
                f"{code(pair.model)}, {pair.breaks[property].place}",
            )
            for pair, property in together
        ],
    )
    yield ""
    for pair, property in together:
        run = pair.breaks[property]
        yield from (_trace(site, run, pair.model, pair.rules, property), "")


def _alone_there(pair: Pair, id: str, property: str) -> str:
    """What the removal of one rule of a pair does where both together break it."""
    place = pair.breaks[property].place
    done = next(each for each in pair.alone[id] if each.place == place)
    return "holds" if done.complete else f"> {done.depth}"


# -- permissions, and each rule --------------------------------------------------------


def _permissions(site: Site) -> list[str]:
    rows = [
        (
            site.link(rule.id, ABLATION),
            rule.sentence,
            ablation.witnesses.get("taken", "never"),
            ablation.witnesses.get("declined", "never"),
        )
        for rule in site.registry.values()
        if rule.modal == "MAY" and (ablation := site.store.ablated(rule.id))
    ]
    return [
        "## Permissions",
        "",
        "A permission is not removed. A step that uses it and a step that does not can "
        "both be reached; the numbers say how early.",
        "",
        table(("Rule", "Sentence", "Used", "Not used"), rows, "ae-wrap"),
    ]


def _removal(site: Site, rule: Rule) -> Iterator[str]:
    """The section on the removal of one rule: what breaks, and every trace."""
    ablation, kept = site.store.ablated(rule.id), site.rows.get(rule.id)
    if rule.modal == "MAY" or (ablation is None and kept is None):
        return
    yield from ("", f"## Without {rule.id} {{#without-{rule.id}}}", "", rule.sentence)
    breaks = kept.found.breaks if kept else {}
    model = kept.found.model if kept else ""
    if ablation is not None:
        said = citations.without(rule, site.store)
        yield from ("", f"{said[:1].upper()}{said[1:]}.")
        shown = ablation.violation
        if shown is not None and not _recorded_as_short(
            breaks, shown.property, shown.depth
        ):
            yield from ("", cards.trace_pre(shown))
    if kept is not None:
        yield from ("", _extent(kept.found))
    for property, run in breaks.items():
        yield from ("", _trace(site, run, model, [rule.id], property))


def _extent(row: Row) -> str:
    """Where all guarantees were judged, and which explorations ended early."""
    early = [each.place for each in row.searched if not each.complete]
    ended = f" Not to the end: {_places(early)}." if early else ""
    return (
        f"All guarantees were judged on `{row.model}`, in {number(row.states)} states "
        f"of {_places(each.place for each in row.searched)}.{ended}"
    )


def _places(places: Iterable[Place]) -> str:
    """Sections by bounds: ``small 1, 2; standard 3``."""
    by_bounds: dict[str, list[str]] = {}
    for place in sorted(places):
        by_bounds.setdefault(place.bounds, []).append(str(place.number))
    return "; ".join(f"{name} {', '.join(found)}" for name, found in by_bounds.items())


def _recorded_as_short(breaks: Mapping[str, Run], property: str, depth: int) -> bool:
    return property in breaks and breaks[property].depth <= depth


def _trace(
    site: Site, run: Run, model: str, removed: Iterable[str], property: str
) -> str:
    """A recorded trace, replayed, to unfold; search leaves it out."""
    ids = list(removed)
    found = play(run, model, ids, property)
    names = " and ".join(f"<code>{id}</code>" for id in ids)
    graph = explorer.graph_name(run.place, model, ids)
    link = cards.explore_link(site.explore(graph, property, ABLATION))
    summary = (
        f"Without {names}: <code>{property}</code> after {run.depth} steps "
        f"({model}, {run.place})"
    )
    body = f"{link}{cards.trace_pre(found)}"
    return cards.folded("ae-without", summary, body, _anchor(ids, property))


# -- near misses -----------------------------------------------------------------------


def near_misses_page(site: Site) -> str:
    """For each rule, where it stops what would break it."""
    found = [near_miss(each.found) for each in site.rows.values()]
    missed = [each for each in found if each is not None]
    lines = [
        "# Near misses",
        "",
        "Each rule is shown at work. The checker removes it and looks for the shortest "
        "way to a step that does what the rule forbids. The same schedule then runs on "
        "operations that obey. Both do the same, up to one step: there the rule makes "
        "the difference, for nothing else differs between the two programs. Obeying, "
        "the CPU goes on alone until its operation ends or has to wait.",
        "",
        *_provenance(site.rows.values(), "ablate RULE --beyond N --record"),
        "",
        # its cells name what every trace names, and would drown a search
        "<div data-search-exclude markdown>",
        "",
        table(
            ("Rule", "Same steps", "With the rule", "Without it"),
            [_near_row(site, each) for each in missed],
            "ae-wrap",
        ),
        "",
        "</div>",
    ]
    for each in missed:
        lines += _near_section(site, each)
    return "\n".join(lines) + "\n"


def _near_row(site: Site, found: NearMiss) -> tuple[str, ...]:
    return (
        f"[{found.rule}](#near-{found.rule})",
        str(len(found.before.steps)),
        _first_step(found, found.obeying) or "has to wait",
        _first_step(found, found.breaking),
    )


def _first_step(found: NearMiss, way: Trace) -> str:
    """The step that differs, in a few words."""
    whole = Trace(found.before.initial, (*found.before.steps, *way.steps))
    for step in traces.said(whole):
        if step.number == len(found.before.steps) + 1:
            where = f"{step.function}()" if step.function else ""
            return "; ".join(filter(None, [step.operation, where, *step.phrases]))
    return ""


def _common_steps(count: int) -> str:
    said = {0: "At once", 1: "After one step that is the same,"}
    return said.get(count, f"After {count} steps that are the same,")


def _near_section(site: Site, found: NearMiss) -> list[str]:
    text = html.escape(contrasts.contrast_text(found))
    picture = contrasts.draw_contrast(found).svg()
    same = len(found.before.steps)
    without = explorer.graph_name(found.place, found.model, [found.rule])
    links = [
        (site.explore(explorer.sound_name(found.rule), "", NEAR_MISSES), "with"),
        (site.explore(without, found.rule, NEAR_MISSES), "without"),
    ]
    explore = "".join(
        cards.explore_link(address, f"Open in the explorer, {word} the rule")
        for address, word in links
    )
    return [
        "",
        f"## {found.rule} steps in {{#near-{found.rule}}}",
        "",
        f"{site.registry[found.rule].sentence} ({site.link(found.rule, NEAR_MISSES)})",
        "",
        f"{_common_steps(same)} step {same + 1} differs. Without the rule, step "
        f"{same + len(found.breaking.steps)} breaks it ({found.model}, {found.place}).",
        "",
        cards.folded(
            "ae-without",
            "Both ways on from there",
            f'{explore}<pre class="ae-trace">{text}</pre>'
            f'<div class="ae-picture">{picture}</div>',
        ),
    ]
