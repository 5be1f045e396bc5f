"""What a reference may rely on, asked of every model by running programs.

A question is a litmus test with a gap for the request. It is asked for each kind of
reference, on each model and on releases of Linux. The verdict ``fine`` is a yes; any
other verdict says in which way the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spec.decisions import Foll, Model
from spec.litmus.parser import parse
from spec.litmus.program import Test
from spec.litmus.run import run
from spec.memory import Machine, Names
from spec.models import MODELS
from spec.releases import LINUX, find_model

YES = "fine"
RELEASES = ("5.7", "5.10", "6.1", "6.12", "7.3")
"""The releases that are asked."""


@dataclass(frozen=True)
class Kind:
    """A kind of reference: what its user asks of GUP.

    Attributes:
        id: for links.
        flags: the flags as the kernel writes them.
        request: the same in the language of litmus tests.
        foll: the same as `Foll`.
    """

    id: str
    flags: str
    request: str
    foll: Foll


KINDS = {
    kind.id: kind
    for kind in (
        Kind("get-ro", "FOLL_GET, R/O", "ro get", Foll()),
        Kind("get-rw", "FOLL_GET, R/W", "rw get", Foll(write=True)),
        Kind("pin-ro", "FOLL_PIN, R/O", "ro pin", Foll(pin=True)),
        Kind("pin-rw", "FOLL_PIN, R/W", "rw pin", Foll(pin=True, write=True)),
        Kind(
            "longterm-ro",
            "FOLL_PIN and FOLL_LONGTERM, R/O",
            "ro pin longterm",
            Foll(pin=True, longterm=True),
        ),
        Kind(
            "longterm-rw",
            "FOLL_PIN and FOLL_LONGTERM, R/W",
            "rw pin longterm",
            Foll(pin=True, write=True, longterm=True),
        ),
    )
}


@dataclass(frozen=True)
class Question:
    """Something that the holder of a reference wants to know.

    Attributes:
        id: one word or two.
        asks: the question; yes is what the holder hopes for.
        program: a litmus test without its header; ``GUP`` stands for the request.
        no: what a no means, for a sentence.
        of: ``owner`` if it is about what happens to an anonymous page of the process,
            ``fork`` if the process forks later, ``leak`` if it is about what others
            write or see, ``file`` if the page is not anonymous.
        writes: whether only a holder that may write can ask.
    """

    id: str
    asks: str
    no: str
    of: str
    program: str
    writes: bool = False


_TAKEN = "A: write 1\nA: gup r = GUP\n"
_SEES = "A: write 2\nrequire r == 2"
_CHILD_TAKES = "B: gup r = GUP\nB: munmap\nA: write 2\nforbid r == 2"
_READS_OTHERS = "It reads what other processes write."

QUESTIONS = (
    Question(
        "later",
        "Does it see what its process writes later?",
        "the first write",
        "owner",
        _TAKEN + _SEES,
    ),
    Question(
        "mprotect",
        "Also after mprotect() to read-only and back?",
        "mprotect()",
        "owner",
        f"{_TAKEN}A: mprotect r\nA: mprotect rw\n{_SEES}",
    ),
    Question(
        "softdirty",
        "Also after soft-dirty tracking began?",
        "soft-dirty tracking",
        "owner",
        f"{_TAKEN}A: softdirty\n{_SEES}",
    ),
    Question(
        "uffd-wp",
        "Also after userfaultfd write-protected the page?",
        "userfaultfd",
        "owner",
        f"{_TAKEN}A: uffd-wp\nA: uffd-unwp\n{_SEES}",
    ),
    Question(
        "swap",
        "Also after reclaim tried to swap the page out?",
        "swap-out",
        "owner",
        f"{_TAKEN}A: swapout\nA: read\n{_SEES}",
    ),
    Question(
        "migration",
        "Also after somebody tried to migrate it?",
        "migration",
        "owner",
        f"{_TAKEN}A: migrate\nA: read\n{_SEES}",
    ),
    Question(
        "shared",
        "Also if a child shared the page when it was asked for?",
        "an earlier fork",
        "owner",
        f"A: write 1\nA: fork B\nA: gup r = GUP\n{_SEES}",
    ),
    Question(
        "exited",
        "Also if a child had shared it, and has exited?",
        "an earlier fork",
        "owner",
        f"A: write 1\nA: fork B\nB: exit\nA: gup r = GUP\n{_SEES}",
    ),
    Question(
        "fork",
        "Also if the process forks afterwards?",
        "a later fork",
        "fork",
        f"{_TAKEN}A: fork B\n{_SEES}",
    ),
    Question(
        "device",
        "Does the process see what the device writes after a fork?",
        "a later fork",
        "fork",
        f"{_TAKEN}A: fork B\nA: write 2\nr: write 9\nx = A: read\nrequire x == 9",
        writes=True,
    ),
    Question(
        "untouched",
        "Does it see later writes if nothing was written before?",
        "the first write to untouched memory",
        "file",
        f"A: read\nA: gup r = GUP\n{_SEES}",
    ),
    Question(
        "child",
        "Is a child spared what the device writes after the fork?",
        "After a fork the child gets what the device writes.",
        "leak",
        f"{_TAKEN}A: fork B\nr: write 9\ny = B: read\nforbid y == 9",
        writes=True,
    ),
    Question(
        "others",
        "Taken before fork: is it kept from what the child writes?",
        _READS_OTHERS,
        "leak",
        f"{_TAKEN}A: fork B\nA: munmap\nB: write 2\nforbid r == 2",
    ),
    Question(
        "parent",
        "Taken in the child: is it kept from what the parent writes?",
        _READS_OTHERS,
        "leak",
        f"A: write 1\nA: fork B\n{_CHILD_TAKES}",
    ),
    Question(
        "swapped",
        "The same, if the page was in swap when the parent forked?",
        _READS_OTHERS,
        "leak",
        f"A: write 1\nA: swapout\nA: fork B\n{_CHILD_TAKES}",
    ),
)


def program(question: Question, kind: Kind) -> Test:
    """The litmus test that asks `question` of a reference of `kind`."""
    text = question.program.replace("GUP", kind.request)
    return parse(f"litmus {question.id}-{kind.id}\n{text}")


def questions(kind: Kind) -> Iterator[Question]:
    """The questions that a reference of `kind` can ask."""
    for question in QUESTIONS:
        if kind.foll.write or not question.writes:
            yield question


def answers(
    kind: Kind, model: Model, without: frozenset[str] = frozenset()
) -> dict[str, str]:
    """The verdict on each question: ``fine`` is yes.

    Args:
        kind: which reference.
        model: who answers.
        without: ids of rules that are not obeyed.

    >>> answers(KINDS["pin-rw"], MODELS["mapcount"])["fork"]
    'wrong-cow'
    """
    return {
        question.id: run(program(question, kind), model, without).verdict
        for question in questions(kind)
    }


Answers = dict[str, dict[str, dict[str, str]]]


def asked() -> list[str]:
    """The models and releases that are asked, by name."""
    return [*MODELS, *(f"{LINUX}{release}" for release in RELEASES)]


def all_answers() -> Answers:
    """The answers by kind of reference, model or release, and question."""
    return {
        id: {name: answers(kind, find_model(name)) for name in asked()}
        for id, kind in KINDS.items()
    }


# -- in words --------------------------------------------------------------------------


def promised(model: Model, foll: Foll) -> str:
    """What a model says of itself, without a run."""
    if not model.protects(foll):
        return "not protected"
    ref = Machine(Names(refs=("r",))).refs["r"]
    ref.pin, ref.write = foll.pin, foll.write
    across = model.protects_across_fork(ref)
    return "protected, also across fork" if across else "protected until fork"


def in_short(found: dict[str, str]) -> str:
    """The answers to all questions about one kind of reference, in a sentence or two.

    >>> in_short(answers(KINDS["pin-rw"], MODELS["upstream"]))
    'Coherent until it is put, also across fork.'
    >>> in_short(answers(KINDS["get-rw"], MODELS["upstream"]))
    'Coherent until the process forks. After a fork the child gets what the device \
writes. It never reads what other processes write.'
    """
    no = [q for q in QUESTIONS if found.get(q.id, YES) != YES]
    leaks = dict.fromkeys(q.no for q in no if q.of == "leak")
    if any(q.of in ("owner", "fork") for q in no) and _READS_OTHERS not in leaks:
        leaks["It never reads what other processes write."] = None
    return " ".join([_coherence(no), *leaks])


def _coherence(no: list[Question]) -> str:
    """What ends the coherence of a reference with its process."""
    lost = list(dict.fromkeys(q.no for q in no if q.of in ("owner", "fork")))
    if any(q.of == "owner" for q in no):
        return f"Not coherent after {_listed(lost)}."
    forks = "until the process forks" if lost else "until it is put, also across fork"
    untouched = [f", but for {q.no}" for q in no if q.of == "file"]
    return f"Coherent {forks}{''.join(untouched)}."


def _listed(words: list[str]) -> str:
    """The words with commas and an "or" between them."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
