"""Pages that are generated, and marks in pages that are written by hand.

The site's hook calls both functions on every build. This is the empty form: nothing
is generated, and every page is taken as it is.
"""


def generated_pages() -> dict[str, str]:
    """The generated pages: source address (`reference/rules.md`) to Markdown."""
    return {}


def expand(markdown: str, src_uri: str) -> str:
    """The Markdown of the page `src_uri` with its marks replaced.

    Called on every page, generated ones included, before MkDocs renders it and checks
    its links. Code cells are in it as fenced blocks; what they put out is not.
    """
    return markdown
