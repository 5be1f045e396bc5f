"""The generated page on who takes references and what they may rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spec.consumers import CONSUMERS, VERIFIED, Consumer
from spec.models import MODELS
from spec.promises import (
    KINDS,
    RELEASES,
    YES,
    Answers,
    Kind,
    asked,
    in_short,
    promised,
    questions,
)
from spec.publish.tables import code, table
from spec.releases import LINUX

if TYPE_CHECKING:
    from spec.publish.pages import Site

CONSUMERS_PAGE = "reference/consumers.md"
DURATIONS = {
    "call": "put before the call returns",
    "short": "for one request",
    "long": "until user space lets go",
}


def consumers_page(site: Site) -> str:
    """First what each user may rely on; then the answers for each kind of reference."""
    found = site.store.promises()
    lines = [
        "# Consumers",
        "",
        "Find what your driver or your program uses. A row says which reference it "
        "takes and what that may rely on in Linux "
        f"{RELEASES[-1]}; the section of the user has older releases. *Coherent* means "
        "that the process and the holder of the reference see the same page.",
        "",
        _overview(found),
        "",
        "A *no* below is shown by a run; a *yes* says that no interleaving of that "
        "program, on a base page, goes wrong. The sign before a *no* is that of the "
        "[class of verdict](litmus.md#classes): not promised, or promised and broken. "
        "Memory of hugetlb differs: there a FOLL_GET reference to read sees what other "
        "processes write.",
    ]
    lines += ["", "## What each kind of reference may rely on"]
    for kind in KINDS.values():
        lines += _promises(kind, found)
    lines += ["", "## Users", ""]
    lines.append(
        f"Read in {', '.join(VERIFIED)}. A release marked with *?* was not read: the "
        "reference is taken to be that of the oldest release read. Nothing is said of "
        "releases before a user's first row."
    )
    for consumer in CONSUMERS:
        lines += _section(consumer, found)
    return "\n".join(lines) + "\n"


def _overview(found: Answers) -> str:
    newest = RELEASES[-1]
    rows = [
        (
            f"[{consumer.name}](#{consumer.id})",
            f"[{kind.flags}](#{kind.id})",
            f"{consumer.device} memory, {DURATIONS[consumer.duration]}",
            _relies_on(consumer, kind, found, newest),
        )
        for consumer in CONSUMERS
        for kind in [consumer.kind(newest)]
        if kind is not None
    ]
    header = ("User", "Reference", "The user", "What it may rely on")
    return table(header, rows, "ae-wrap ae-names")


def _relies_on(consumer: Consumer, kind: Kind, found: Answers, release: str) -> str:
    if consumer.duration == "call":
        return "It needs no promise: the reference is put at once."
    return in_short(found[kind.id][f"{LINUX}{release}"])


def _section(consumer: Consumer, found: Answers) -> list[str]:
    """Call, note, and what is so in each release."""
    rows = []
    for release in RELEASES:
        use, kind = consumer.use(release), consumer.kind(release)
        if use is None or kind is None:
            continue
        mark = "" if release in VERIFIED else " ?"
        force = ", FOLL_FORCE" if use.force else ""
        relies = _relies_on(consumer, kind, found, release)
        flags = f"[{kind.flags}](#{kind.id}){force}"
        rows.append((f"{release}{mark}", flags, relies))
    return [
        "",
        f"### {consumer.name} {{#{consumer.id}}}",
        "",
        f"It {consumer.device} memory; the reference is kept "
        f"{DURATIONS[consumer.duration]}."
        if consumer.duration != "call"
        else f"It {consumer.device} memory; the reference is put before the call "
        "returns.",
        f"Call: {consumer.call}. {consumer.note}".rstrip(),
        "",
        table(("Linux", "Reference", "What it may rely on"), rows, "ae-wrap"),
    ]


def _promises(kind: Kind, found: Answers) -> list[str]:
    """Questions by models, then by releases."""
    users = [
        f"[{each.name}](#{each.id})"
        for each in CONSUMERS
        if kind.id in {use.kind for use in each.uses}
    ]
    releases = [name for name in asked() if name.startswith(LINUX)]
    says = ("*The model says*", *(promised(m, kind.foll) for m in MODELS.values()))
    return [
        "",
        f"### {kind.flags} {{#{kind.id}}}",
        "",
        f"{code('gup r = ' + kind.request)} in litmus tests. Taken by "
        f"{'; '.join(users) or 'nobody here'}.",
        "",
        table(
            ("Question", *MODELS),
            [says, *_answers(kind, found, list(MODELS))],
            "ae-tight",
        ),
        "",
        table(
            ("Question", *(name.removeprefix(LINUX) for name in releases)),
            _answers(kind, found, releases),
            "ae-tight",
        ),
    ]


def _answers(kind: Kind, found: Answers, names: list[str]) -> list[tuple[str, ...]]:
    return [
        (
            question.asks,
            *(_answer(found[kind.id][name][question.id]) for name in names),
        )
        for question in questions(kind)
    ]


def _answer(verdict: str) -> str:
    """Yes, or no with the class of what goes wrong as its sign and its title."""
    if verdict == YES:
        return f'<span class="v-{verdict}">yes</span>'
    return f'<span class="v-{verdict}" title="{verdict}">no</span>'
