"""The page on performance, from the results that `make bench` has left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from spec.bench import GROWTH, RESULTS, SPIN, Measured, Point, Results, load_results
from spec.checker.explore import ARCHIVE_FROM
from spec.publish.drawings import WIDTH, Drawing
from spec.publish.tables import number, table

PAGE = "reference/performance.md"
BUSY = 0.5
"""From this load average on, times are not those of the machine alone."""
LEFT, RIGHT, TOP, BOTTOM = 90, 40, 40, 280
"""Where the axes of a picture lie."""


def performance_page() -> str:
    """What was measured, the ratio to Spin first, and how explorations grow."""
    if not RESULTS.exists():
        return "# Performance\n\nNothing is measured yet: `make bench` does it.\n"
    results = load_results()
    lines = ["# Performance", "", *_how(results), ""]
    for bounds, found in groupby(results.measured, lambda each: each.bounds):
        lines += [f"## Within {bounds}", "", _measured(list(found)), ""]
    for what, points in results.growth.items():
        lines += [f"## Growth with {what}", "", *_growth(what, points), ""]
    return "\n".join(lines)


def _how(results: Results) -> Iterator[str]:
    """On what was measured, and how to read the tables."""
    yield (
        f"Measured on {results.date} UTC by `make bench`. Each wall time is the median "
        "of the runs, start-up included. Compilation is not part of it and stands "
        "apart. Spin works on one section after the other, on one core; ours on as "
        "many sections at the same time as there are cores. The ratio is the wall time "
        "divided by that of Spin without reductions; below 1 is faster than Spin. "
        "Memory per state is the greatest resident memory of a process divided by the "
        "states of the largest section; within small bounds it is mostly that of the "
        "program itself."
    )
    yield ""
    yield (
        f"From {number(ARCHIVE_FROM)} states on, of states that were expanded only "
        "which they are is kept: rows are cut in two, the parts are numbered, and both "
        "numbers together take 32 bits of a table. On which level a state was met is "
        "forgotten; a violation that is found after that is explored once more with "
        "all levels."
    )
    if results.load > BUSY:
        yield ""
        yield (
            f"The machine had other work at the same time (load {results.load:g}): "
            "wall times are longer than they need be, and ratios rough."
        )
    yield ""
    rows = [
        *results.machine.items(),
        ("load before", results.load),
        *results.versions.items(),
        *((name, why) for name, why in results.skipped.items()),
    ]
    yield table(("What", "Which"), rows)


def _measured(found: Sequence[Measured]) -> str:
    """One line for each engine."""
    spin = next((each.median for each in found if each.engine == SPIN), None)
    rows = [
        (
            f"{each.median / spin:.2f}" if spin else "",
            each.engine,
            f"{each.median:.2f} s",
            len(each.seconds),
            number(each.states),
            number(each.transitions),
            number(round(each.states / each.median)),
            number(round(each.transitions / each.median)),
            number(round(each.bytes / each.largest)),
            f"{each.prepared:.0f} s" if each.prepared else "",
        )
        for each in found
    ]
    header = (
        *("Ratio", "Engine", "Wall time", "Runs", "States", "Transitions"),
        *("States/s", "Transitions/s", "Bytes per state", "Compiled in"),
    )
    return table(header, rows, "ae-tight")


def _growth(what: str, points: Sequence[Point]) -> Iterator[str]:
    """What runs in a series, its picture, and the table that says the same."""
    largest = GROWTH[what][points[-1].size]
    yield f"At the right end: {'; '.join(largest.describe())}."
    yield ""
    picture = chart(what, points).svg()
    yield f'<div class="ae-picture" data-search-exclude>{picture}</div>'
    yield ""
    rows = [
        (p.size, number(p.states), number(p.transitions), f"{p.seconds:.2f} s")
        for p in points
    ]
    yield table((what[:1].upper() + what[1:], "States", "Transitions", "Time"), rows)


# -- pictures --------------------------------------------------------------------------


def chart(what: str, points: Sequence[Point]) -> Drawing:
    """States and transitions by size, on a logarithmic scale.

    States are joined by a solid line and transitions by a dashed one.
    """
    drawing = Drawing(
        f"States and transitions with the number of {what}",
        "\n".join(
            f"{what} {p.size}: {p.states:,} states, {p.transitions:,} transitions"
            for p in points
        ),
        height=BOTTOM + 60,
    )
    highest = math.ceil(math.log10(max(p.transitions for p in points)))
    _axes(drawing, what, points, highest)
    for name, value, dashes in (
        ("states", lambda p: p.states, ""),
        ("transitions", lambda p: p.transitions, "6 3"),
    ):
        _line(drawing, name, _places(points, value, highest), dashes)
    return drawing


def _places(
    points: Sequence[Point], value: Callable[[Point], int], highest: int
) -> list[tuple[float, float]]:
    """Where the values of the points lie in the picture."""
    step = (WIDTH - LEFT - RIGHT - 100) / max(len(points) - 1, 1)
    return [
        (
            LEFT + 20 + step * i,
            BOTTOM - (BOTTOM - TOP) * math.log10(value(point)) / highest,
        )
        for i, point in enumerate(points)
    ]


def _axes(drawing: Drawing, what: str, points: Sequence[Point], highest: int) -> None:
    """A line for each power of ten, and the sizes below."""
    for power in range(highest + 1):
        y = BOTTOM - (BOTTOM - TOP) * power / highest
        ends = {"x1": f"{LEFT}", "x2": f"{WIDTH - RIGHT}", "y1": f"{y:g}"}
        faint = {"y2": f"{y:g}", "stroke-opacity": "0.3"}
        ET.SubElement(drawing.lines, "line", ends | faint)
        drawing.write(8, y + 4, f"{10**power:,}")
    for point, (x, _) in zip(
        points, _places(points, lambda p: p.states, highest), strict=True
    ):
        drawing.write(x - 4, BOTTOM + 22, str(point.size))
    drawing.write(LEFT, BOTTOM + 46, f"number of {what}")


def _line(
    drawing: Drawing, name: str, places: Sequence[tuple[float, float]], dashes: str
) -> None:
    """Points joined by a line, with its name at the end."""
    joined = " ".join(f"{x:g},{y:g}" for x, y in places)
    look = {"points": joined, "stroke-width": "2", "stroke-dasharray": dashes or "none"}
    ET.SubElement(drawing.lines, "polyline", look)
    for x, y in places:
        dot = {"cx": f"{x:g}", "cy": f"{y:g}", "r": "4", "fill": "currentColor"}
        ET.SubElement(drawing.lines, "circle", dot)
    x, y = places[-1]
    drawing.write(x + 10, y + (4 if dashes else 16), name)
