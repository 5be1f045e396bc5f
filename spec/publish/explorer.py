"""What the explorer on the site shows: which graphs there are, and links into them.

A graph is a script of the site, loaded when a reader opens it; a page that is read
from a local file may load scripts, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from spec.removals import Place

PAGE = "explorer.md"
DATA = "explorer/data"


@dataclass(frozen=True)
class Way:
    """A trace through a graph.

    Attributes:
        title: what it shows.
        start: the name of its first state.
        steps: the names of its steps.
    """

    title: str
    start: str
    steps: tuple[str, ...]


# -- names and links -------------------------------------------------------------------


def graph_name(place: Place, model: str, removed: Iterable[str] = ()) -> str:
    """The name of the graph of a section.

    >>> from spec.removals import Place
    >>> graph_name(Place("small", 1), "sketch", ["AE-FORK-5"])
    'small-1.sketch.without.AE-FORK-5'
    """
    without = ["without", *removed] if removed else []
    return ".".join([f"{place.bounds}-{place.number}", model, *without])


def sound_name(rule: str) -> str:
    """The name of the graph in which a near miss keeps its rule."""
    return f"near-miss.{rule}"


def test_name(test: str, model: str) -> str:
    """The name of the graph of a litmus test.

    >>> test_name("pin-fork", "upstream without AE-WP-5")
    'litmus.pin-fork.upstream-without-AE-WP-5'
    """
    return f"litmus.{test}.{model.replace(',', '').replace(' ', '-')}"


def address(graph: str, way: Way) -> str:
    """The link to the end of a way through a graph, from the explorer's own page.

    >>> address("small-1.sketch", Way("", "write", ("0.fork-A-B", "0.do_wp_page+X")))
    '?g=small-1.sketch&s=write&t=0.fork-A-B,0.do_wp_page%2BX'
    """
    steps = ",".join(way.steps)
    return f"?g={quote(graph)}&s={quote(way.start)}&t={quote(steps, safe=',~')}"


# -- scripts ---------------------------------------------------------------------------


def script(name: str, found: Mapping[str, Any]) -> str:
    """A graph as a script that hands it to the explorer."""
    return f"aeGraph({_json(name)},{_json(found)});\n"


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class Graphs:
    """All graphs of the site.

    Args:
        found: the graphs by name, as far as they were computed.
    """

    def __init__(self, found: Mapping[str, dict[str, Any]]) -> None:
        self.found = found

    def files(self, rules: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """The scripts of all graphs, and of their list: address to text.

        Args:
            rules: of each rule the sentence, and its address on the site.
        """
        entries = [[_kind(name), name, g["title"]] for name, g in self.found.items()]
        order = list(KINDS.values())
        entries.sort(key=lambda entry: order.index(entry[0]))
        index = f"aeIndex({_json(entries)},{_json(rules)});\n"
        scripts = {f"{DATA}/{n}.js": script(n, g) for n, g in self.found.items()}
        return {f"{DATA}/index.js": index, **scripts}

    def address(self, name: str, title: str = "") -> str:
        """The address of a way through a graph, from the explorer's page.

        Args:
            name: of the graph.
            title: of the way; the first one if it is empty.

        Returns:
            The address; empty if there is no such graph or way.
        """
        ways = self.found.get(name, {}).get("ways", {})
        way = ways.get(title or next(iter(ways), ""))
        return address(name, Way(**way)) if way else ""


WHOLE_SECTIONS = "Whole sections"
KINDS = {
    "": WHOLE_SECTIONS,
    "litmus": "Litmus tests",
    "near-miss": "Near misses, with the rule",
    "without": "Without a rule",
}


def _kind(name: str) -> str:
    """Under which heading a graph is listed."""
    first, *_ = name.split(".")
    return KINDS.get("without" if ".without." in name else first, WHOLE_SECTIONS)
