"""The page on cost, and the same counts as text and for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from spec.claims import BASELINE, CLAIMS, SUBJECTS, Check, Claim, Subject
from spec.cost import COUNTED, Range, costs, shown
from spec.decisions import Model
from spec.models import MODELS
from spec.publish.drawings import WIDTH, Drawing
from spec.publish.tables import code, table
from spec.workloads import NO_GUP, PAGES, WORKLOADS, Workload

if TYPE_CHECKING:
    from spec.publish.pages import Site

COST_PAGE = "reference/cost.md"
COMPARED = ("page_count", "sketch", "always", "upstream")
"""The models of the pictures: those that are judged, and the kernel of the time."""

PANELS = ("copies", "write", "slow", "count", "sets", "clears")
LABELS = 172  # two names of models
LINE = 15

Counts = Mapping[str, Range]


@cache
def _all() -> dict[str, dict[str, dict[str, Range]]]:
    """The counts of each workload on each model."""
    return {
        name: {model.name: costs(made, model) for model in MODELS.values()}
        for name, made in WORKLOADS.items()
    }


def title(counted: str) -> str:
    """What a key of `COUNTED` is called."""
    return COUNTED[counted][0]


# -- for the command line --------------------------------------------------------------


def text(workload: Workload, found: Mapping[str, Counts]) -> str:
    """The counts of one workload, a line for each model; at most 80 columns."""
    kept = [
        key for key in COUNTED if any(each[key] != (0, 0) for each in found.values())
    ]
    head = f"{workload.name}: {workload.title}"
    if not kept:
        return f"{head}\n  nothing to count\n"
    words = [title(key).split() for key in kept]
    cells = [
        ["", *((each[:-1] or [""])[0] for each in words)],
        ["", *(each[-1] for each in words)],
        *([name, *(shown(each[key]) for key in kept)] for name, each in found.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        " ".join(
            [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        ).rstrip()
        for row in cells
    ]
    return "\n".join([head, *(f"  {line}" for line in lines), ""])


def as_dict(workload: Workload, model: Model, found: Counts) -> dict[str, Any]:
    """The counts of one workload on one model, for machines."""
    return {
        "workload": workload.name,
        "title": workload.title,
        "model": model.name,
        "pages": PAGES,
        "counts": {key: list(found[key]) for key in COUNTED},
    }


# -- the page --------------------------------------------------------------------------


def cost_page(site: Site) -> str:
    """Claims and verdicts, pictures, a table for each thing counted, the method."""
    return "\n".join(
        [
            "# Cost",
            "",
            f"Each model runs the same workloads on {PAGES} pages, and what it copies, "
            "how often it faults and what it looks at is counted. No time is measured.",
            "",
            "## Claims",
            "",
            *_claims(site),
            "",
            "## Pictures",
            "",
            "A filled bar is a count. A dashed one goes on to the most, where "
            "permissions decide. Workloads on which these four models have the same "
            "counts are left out; the tables below have all numbers.",
            "",
            _picture("Cost where nobody asks GUP", NO_GUP),
            "",
            _picture(
                "Cost of GUP, and after it",
                [each for each in WORKLOADS.values() if each not in NO_GUP],
            ),
            "",
            "## Counts",
            "",
            f"`anon-exclusive cost` prints them. {_ranges()} A workload that is not in "
            "a table counts nothing there in any model.",
            *(line for counted in COUNTED for line in _counted(counted)),
            "",
            "## Workloads",
            "",
            "Each line acts on every page in turn; fork and exit act once. What stands "
            "above the comment prepares the workload and is not counted.",
            *(line for made in WORKLOADS.values() for line in _program(made)),
            "",
            *_method(site),
            "",
        ]
    )


def _ranges() -> str:
    return "`a..b` is the least and the most, as permissions are used or not."


def _claims(site: Site) -> Iterator[str]:
    yield (
        "Each claim is decided by counts, anew whenever the site is built; *no* marks "
        "a count that is not as claimed. The sketch without "
        f"{site.link('AE-SET-4', COST_PAGE)} sets the bit always and still asks for "
        "the count, which its author argued against on 2021-12-21. Without "
        f"{site.link('AE-FORK-4', COST_PAGE)} it asks for the count of every page."
    )
    for price, heading in ((False, "Promise"), (True, "Price")):
        members = [claim for claim in CLAIMS if claim.price == price]
        header = (heading, "Sentence", *map(str, SUBJECTS))
        rows = [
            (
                f"[{claim.title}](#{claim.id})",
                claim.sentence,
                *(f"**{claim.verdict(subject)}**" for subject in SUBJECTS),
            )
            for claim in members
        ]
        yield from ("", table(header, rows, "ae-wrap ae-tight"))
    for claim in CLAIMS:
        yield from ("", *_claim(site, claim))


def _claim(site: Site, claim: Claim) -> Iterator[str]:
    """The section of one claim: the checks that tell its subjects apart."""
    kind = "Price" if claim.price else "Promise"
    yield f"### {kind}: {claim.title} {{#{claim.id}}}"
    yield from ("", f"> {claim.sentence}", "", f"Source: {claim.source}.", "")
    yield claim.reading
    telling = [c for c in claim.checks if not all(map(c.holds, SUBJECTS))]
    telling = telling or list(claim.checks)
    rows = [
        (
            f"[{check.workload}](#{check.workload})",
            title(check.counted),
            _wanted(check),
            *(_found(check, subject) for subject in SUBJECTS),
        )
        for check in telling
    ]
    header = ("Workload", "Counted", "Claimed", *map(str, SUBJECTS))
    yield from ("", table(header, rows))
    if others := len(claim.checks) - len(telling):
        yield from ("", f"Further counts, as claimed in all of them: {others}.")


def _wanted(check: Check) -> str:
    wanted = check.wanted()
    if check.expected is None:
        return f"at most {wanted[1]} ({code(str(BASELINE))})"
    return shown(wanted)


def _found(check: Check, subject: Subject) -> str:
    said = shown(check.found(subject))
    return said if check.holds(subject) else f"**{said}** no"


def _counted(counted: str) -> Iterator[str]:
    """The table of one thing that is counted."""
    name, meaning = COUNTED[counted]
    rows = [
        (
            f"[{workload}](#{workload})",
            *(shown(each[counted]) for each in found.values()),
        )
        for workload, found in _all().items()
        if any(each[counted] != (0, 0) for each in found.values())
    ]
    yield from ("", f"### {_sentence(name)}", "", f"{_sentence(meaning)}.")
    yield from ("", table(("Workload", *MODELS), rows, "ae-tight"))


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _program(made: Workload) -> Iterator[str]:
    yield from (
        "",
        f"### {made.name} {{#{made.name} data-search-exclude}}",
        "",
        f"{made.title}.",
        "",
    )
    yield from ("``` { .text }", str(made), "```")


def _method(site: Site) -> Iterator[str]:
    """How it is counted, and what the counts do not say."""
    yield from ("## Method and limits", "")
    yield (
        "Each operation runs alone, so nothing here is the cost of a race. Faults and "
        "slow GUP are counted where `handle_mm_fault()` and `get_user_pages()` begin. "
        "A test is a read that a decision of the model makes; what taking and dropping "
        "references reads does not count. A permission "
        f"({site.link('AE-COW-3', COST_PAGE)}, {site.link('AE-COW-5', COST_PAGE)}) is "
        "always used or never. Each way is run, so the ends of two ranges need not "
        "belong to the same run."
    )
    yield ""
    yield (
        "The counts do not weigh. One copy outweighs many tests, and clearing "
        "a bit in fork is cheap where \"the 'struct page' cacheline is already "
        'getting dirtied" (Torvalds, quoted in the sketch). A pin test is one read '
        "here; Linux first asks whether the process has ever pinned anything, and then "
        f"reads the refcount of a small folio ({site.link('AE-ASM-3', COST_PAGE)}). "
        "All models share the operations: Linux 5.9 to 5.17 did not try to leave the "
        "swap cache before it copied, which lies within the range shown."
    )


# -- the pictures ----------------------------------------------------------------------


def _picture(name: str, workloads: Iterable[Workload]) -> str:
    """Bars for each workload on which the compared models differ."""
    drawing = Drawing(name, description=f"{name}, as bars; the tables say the same.")
    found = _all()
    most = max(
        each[key][1]
        for made in found.values()
        for each in made.values()
        for key in PANELS
    )
    width = (WIDTH - LABELS) / len(PANELS)
    unit = (width - 48) / most  # a range of two numbers has room after the bar
    drawing.height = 40
    for i, key in enumerate(PANELS):
        first, _, last = title(key).rpartition(" ")
        drawing.write(LABELS + i * width, 15, first)
        drawing.write(LABELS + i * width, 32, last)
    for made in workloads:
        lines = _merged({model: found[made.name][model] for model in COMPARED})
        if len(lines) > 1:
            drawing.caption(f"{made.name}: {made.title}")
            for label, counts in lines:
                _bars(drawing, label, counts, width, unit)
    drawing.height += 8
    return f'<div class="ae-picture" data-search-exclude>{drawing.svg()}</div>'


def _merged(found: Mapping[str, Counts]) -> list[tuple[str, Counts]]:
    """Models with the same counts on one line, with their names."""
    groups: dict[tuple[Range, ...], list[str]] = {}
    for model, counts in found.items():
        groups.setdefault(tuple(counts[key] for key in PANELS), []).append(model)
    return [(_label(names), found[names[0]]) for names in groups.values()]


def _label(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 3 else "the other three"


def _bars(
    drawing: Drawing, label: str, counts: Counts, width: float, unit: float
) -> None:
    """One line of a picture: a bar and its number in each panel."""
    y = drawing.height
    drawing.write(8, y + 11, label)
    for i, key in enumerate(PANELS):
        left, (least, most) = LABELS + i * width, counts[key]
        if least:
            drawing.bar(left, y + 2, least * unit)
        if most > least:
            drawing.bar(
                left + least * unit, y + 2, (most - least) * unit, certain=False
            )
        drawing.write(left + most * unit + 5, y + 11, shown(counts[key]))
    drawing.height += LINE
