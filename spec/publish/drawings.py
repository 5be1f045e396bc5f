"""Pictures of processes, pages and references as SVG, for pages and for notebooks.

A row shows one state: page table entries on the left, pages in the middle, references
on the right, arrows to the pages. What a step has changed is drawn thick and dashed
and carries a star, so that no meaning rests on colour. Colours are the text's own.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

from spec.checker.program import TraceStep, Violation
from spec.memory import ZERO_PAGE, Machine, Mm, NonPresent, Page, Pte
from spec.publish import traces

WIDTH = 720
ROW = 54  # height that one box and the gap below it need
BOX = 42
CAPTION = 30
COLUMNS = {"pte": (8, 192), "page": (270, 190), "ref": (570, 142)}  # left, width
OF_PAGE = (
    *("refcount", "mapcount", "pincount", "entire_mapcount", "anon_exclusive"),
    *("value", "swap", "dirty", "swapbacked", "writeback", "ksm", "head"),
)
OF_SLOT = ("count", "folio", "value")


@dataclass(frozen=True)
class Box:
    """One box of a row: a page table entry, a page or a reference.

    Attributes:
        column: ``pte``, ``page`` or ``ref``.
        lines: what is written in it.
        target: the page that its arrow points to, if any.
        marked: whether the step before has changed it.
    """

    column: str
    lines: tuple[str, ...]
    target: str | None = None
    marked: bool = False
    name: str = ""


@dataclass
class Drawing:
    """An SVG picture with a title and its twin in text.

    Args:
        title: what it shows, in a few words.
        text: what it shows, in full.
        description: what a screen reader says; `text` unless that stands beside it.

    Shown as the picture where HTML is understood, as the text elsewhere.
    """

    title: str
    text: str = ""
    description: str = ""
    height: int = 0
    root: ET.Element = field(init=False)
    said: ET.Element = field(init=False)
    lines: ET.Element = field(init=False)
    words: ET.Element = field(init=False)

    def __post_init__(self) -> None:
        self.root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "class": "ae-drawing",
                "role": "img",
                "font-family": "monospace",
                "font-size": "13",
            },
        )
        ET.SubElement(self.root, "title").text = self.title
        self.said = ET.SubElement(self.root, "desc")
        lines = {"fill": "none", "stroke": "currentColor"}
        self.lines = ET.SubElement(self.root, "g", lines)
        self.words = ET.SubElement(self.root, "g", {"fill": "currentColor"})

    def svg(self) -> str:
        """The picture as an SVG element, fit to stand in an HTML page."""
        self.said.text = self.description or self.text
        self.root.set("viewBox", f"0 0 {WIDTH} {self.height}")
        self.root.set("width", str(WIDTH))
        return ET.tostring(self.root, encoding="unicode")

    def _repr_html_(self) -> str:
        twin = html.escape(self.text)
        return (
            f"{self.svg()}<details><summary>The same as text</summary>"
            f'<pre class="ae-trace">{twin}</pre></details>'
        )

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return self.text

    # -- strokes ----------------------------------------------------------------------

    def write(self, x: float, y: float, text: str, *, marked: bool = False) -> None:
        """Write one line of text; its baseline is at `y`."""
        attributes = {"x": f"{x:g}", "y": f"{y:g}"}
        if marked:
            attributes |= {"class": "ae-changed", "font-weight": "bold"}
        ET.SubElement(self.words, "text", attributes).text = text

    def box(self, x: float, y: float, width: float, box: Box) -> None:
        """Draw the outline of `box` and what is written in it."""
        attributes = {
            "x": f"{x:g}",
            "y": f"{y:g}",
            "width": f"{width:g}",
            "height": f"{BOX}",
            "rx": "3",
        }
        if box.marked:
            attributes |= {
                "class": "ae-changed",
                "stroke-width": "3",
                "stroke-dasharray": "6 3",
            }
        ET.SubElement(self.lines, "rect", attributes)
        for i, line in enumerate(box.lines):
            star = " *" if box.marked and i == 0 else ""
            self.write(x + 8, y + 17 + 17 * i, line + star, marked=bool(star))

    def bar(self, x: float, y: float, length: float, *, certain: bool = True) -> None:
        """Draw a bar: filled, or dashed where the count may be less."""
        look = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{length:g}", "height": "9"}
        if certain:
            look |= {"class": "ae-filled", "fill": "currentColor"}
        else:
            look |= {"stroke-dasharray": "3 2"}
        ET.SubElement(self.lines, "rect", look)

    def arrow(self, x1: float, y1: float, x2: float, y2: float, marked: bool) -> None:
        """Draw an arrow from one point to another."""
        back = 8 if x1 < x2 else -8
        line = {
            "x1": f"{x1:g}",
            "y1": f"{y1:g}",
            "x2": f"{x2 - back:g}",
            "y2": f"{y2:g}",
        }
        if marked:
            line |= {"class": "ae-changed", "stroke-width": "3"}
        ET.SubElement(self.lines, "line", line)
        head = f"M{x2:g} {y2:g} l{-back} -4 v8 z"
        look = {"d": head, "class": "ae-filled", "fill": "currentColor"}
        ET.SubElement(self.lines, "path", look)

    # -- rows -------------------------------------------------------------------------

    def caption(self, text: str) -> None:
        """Write a line over the row that comes next."""
        self.height += CAPTION
        self.write(8, self.height - 9, text)

    def row(self, boxes: list[Box]) -> None:
        """Draw one state below what is drawn already."""
        columns = {
            name: [box for box in boxes if box.column == name] for name in COLUMNS
        }
        middles: dict[str, float] = {}
        for name, (left, width) in COLUMNS.items():
            for i, box in enumerate(columns[name]):
                y = self.height + i * ROW
                self.box(left, y, width, box)
                if name == "page":
                    middles[box.name] = y + BOX / 2
        left, width = COLUMNS["page"]
        for name, start, end in (
            ("pte", sum(COLUMNS["pte"]), left),
            ("ref", COLUMNS["ref"][0], left + width),
        ):
            for i, box in enumerate(columns[name]):
                if box.target in middles:
                    middle = self.height + i * ROW + BOX / 2
                    self.arrow(start, middle, end, middles[box.target], box.marked)
        self.height += ROW * max(map(len, columns.values()))


def _marks(changed: Set[str], *keys: str) -> bool:
    return not changed.isdisjoint(keys)


def boxes(machine: Machine, changed: Set[str] = frozenset()) -> list[Box]:
    """The boxes of one state.

    Args:
        machine: the state.
        changed: the names of the cells that the step before has changed.
    """
    found = [
        box for mm in traces.alive(machine) for box in entries(machine, mm, changed)
    ]
    zero = any(box.target == ZERO_PAGE for box in found)
    for page in machine.pages.values():
        keys = [f"{page}.{name}" for name in OF_PAGE]
        if traces.in_use(page) or _marks(changed, f"{page}.refcount"):
            marked = _marks(changed, *keys)
            found.append(Box("page", page_lines(page), None, marked, page.name))
    if zero:
        found.append(Box("page", ("zeropage",), name=ZERO_PAGE))
    for slot in machine.slots.values():
        if traces.slot_in_use(slot):
            entries_said = f"{slot.count} swap entries"
            lines = (f"slot {slot} = {slot.value}", entries_said)
            marked = _marks(changed, *(f"{slot}.{name}" for name in OF_SLOT))
            found.append(Box("page", lines, None, marked, slot.name))
    for ref in machine.refs.values():
        if ref.state != "free":
            state = "" if ref.state == "live" else " pending"
            lines = (f"{ref} of {ref.mm}", f"{traces.kind(ref)}{state}")
            marked = _marks(changed, f"{ref}.state")
            found.append(Box("ref", lines, ref.pfn, marked))
    return found


def entries(machine: Machine, mm: Mm, changed: Set[str]) -> list[Box]:
    """The boxes of what one process maps: its huge PMD, or its PTEs."""
    if mm.pmd is not None:
        lines = (f"process {mm}", f"pmd({mm}) {mm.pmd!r}")
        return [Box("pte", lines, mm.pmd.head(), _marks(changed, f"{mm}.pmd"))]
    found = []
    for va in machine.names.vas:
        pte = mm.pte[va]
        name = traces.pte_name(machine, mm.name, va)
        target, access = None, traces.entry(pte)
        if isinstance(pte, Pte):
            target = pte.pfn
            access = " ".join(["R/W" if pte.writable else "R/O", pte.trap]).strip()
        elif isinstance(pte, NonPresent):
            slots = (s.name for s in machine.slots.values() if pte.names(s))
            target = next(slots, None) or pte.leads_to(machine)
        marked = _marks(changed, f"{mm}.pte[{va}]")
        found.append(Box("pte", (f"process {mm}", f"{name} {access}"), target, marked))
    return found


def page_lines(page: Page) -> tuple[str, ...]:
    """What stands in the box of a page."""
    bit = "exclusive" if page.anon_exclusive else "not exclusive"
    value = f" = {page.value}" if page.value else ""
    if not traces.in_use(page):
        return (f"{page}{value} {bit}", "free")
    tail = page.head not in (None, page.name)
    counts = f"part of {page.head}" if tail else f"refcount {page.refcount}"
    # what matters most has room; the text beside the picture has the rest
    cached = [f"in {page.swap}"] if page.swap is not None else []
    marks = cached or traces.flags(page) or [f"mapcount {page.mapcount}"]
    return (f"{page}{value} {bit}", f"{counts} {marks[0]}")


def draw(state: Machine | Mapping[str, Any]) -> Drawing:
    """A picture of one state.

    Args:
        state: a machine, or the cells of one by name.
    """
    machine = state if isinstance(state, Machine) else traces.machine_of(state)
    said = traces.describe(machine)
    drawing = Drawing("Processes, pages and references", "\n".join(said))
    drawing.height = 8
    drawing.row(boxes(machine))
    return drawing


draw_state = draw


def _changed(step: TraceStep) -> set[str]:
    return {key for key, old, new in step.writes if old != new}


def draw_trace(violation: Violation) -> Drawing:
    """A picture of a trace: its first state, and one row for each step that shows.

    Steps that only look, or only take locks, have no row; rows keep the numbers that
    the steps have in the text.
    """
    words = traces.violation_text(violation)
    drawing = Drawing(
        f"How {violation.property} is broken",
        words,
        "The trace as rows of boxes, one row for each step that changes something. "
        "The trace as text stands beside it and says the same.",
    )
    if not traces.is_machine(violation.trace.initial):
        return drawing
    machines = [traces.machine_of(state) for state in violation.trace.states()]
    drawing.caption("At first")
    drawing.row(boxes(machines[0]))
    running: dict[str, str] = {}
    for said, step, (before, after) in zip(
        traces.said(violation.trace),
        violation.trace.steps,
        pairwise(machines),
        strict=True,
    ):
        running[said.cpu] = said.operation or running.get(said.cpu, said.function)
        if boxes(before) != boxes(after):
            cpu = traces.title(said.cpu)
            drawing.caption(f"{said.number}. {cpu}: {running[said.cpu]}")
            drawing.row(boxes(after, _changed(step)))
    drawing.caption(f"{violation.property} is broken")
    return drawing
