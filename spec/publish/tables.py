"""Tables of generated pages, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby


def cell(text: object) -> str:
    """The text of one cell: on one line, bars escaped."""
    return " ".join(str(text).split()).replace("|", r"\|")


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], look: str = ""
) -> str:
    """A Markdown table in a box that scrolls where it is wider than the page.

    Args:
        header: one word or phrase for each column.
        rows: the cells, each as Markdown.
        look: ``ae-wrap`` to break long cells into lines, ``ae-tight`` for many columns,
            ``ae-names`` beside ``ae-wrap`` where the first column has long links.

    Raises:
        ValueError: a row has more or fewer cells than the header.

    >>> print(table(["id", "n"], [["a|b", 1]]))
    <div class="ae-table" markdown>
    <BLANKLINE>
    | id | n |
    | --- | --- |
    | a\\|b | 1 |
    <BLANKLINE>
    </div>
    """
    lines = [header, ["---"] * len(header), *rows]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"every row of a table needs {len(header)} cells")
    body = ["| " + " | ".join(map(cell, line)) + " |" for line in lines]
    box = f'<div class="{" ".join(["ae-table", *look.split()])}" markdown>'
    return "\n".join([box, "", *body, "", "</div>"])


def spanning(header: Sequence[str], rows: Iterable[Sequence[str]], look: str) -> str:
    """An HTML table in which equal neighbours of a row are one cell.

    Args:
        header: one phrase for each column; the first column names the row.
        rows: the cells, each as HTML.
        look: classes of the box, as for `table`.

    >>> print(spanning(["", "a", "b"], [["x", "1", "1"]], "ae-tight"))
    <div class="ae-table ae-tight"><table><thead>
    <tr><th scope="col"></th><th scope="col">a</th><th scope="col">b</th></tr>
    </thead><tbody>
    <tr><th scope="row">x</th><td colspan="2">1</td></tr>
    </tbody></table></div>
    """
    heads = "".join(f'<th scope="col">{name}</th>' for name in header)
    body = []
    for lead, *cells in rows:
        runs = [(text, len(list(same))) for text, same in groupby(cells)]
        spans = "".join(
            f'<td colspan="{wide}">{text}</td>' if wide > 1 else f"<td>{text}</td>"
            for text, wide in runs
        )
        body.append(f'<tr><th scope="row">{lead}</th>{spans}</tr>')
    return "\n".join(
        [
            f'<div class="ae-table {look}"><table><thead>',
            f"<tr>{heads}</tr>",
            "</thead><tbody>",
            *body,
            "</tbody></table></div>",
        ]
    )


def code(text: str) -> str:
    """Inline code."""
    return f"`{text}`"


def number(count: int) -> str:
    """A count with commas between the thousands."""
    return f"{count:,}"
