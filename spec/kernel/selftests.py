"""What cow.c came to on real kernels: recorded, and beside what the models predict.

A record is made from what cow.c prints (TAP). Kinds of memory lose their sizes, so that
one entry counts all sizes of large folios.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spec.decisions import Model
from spec.kernel.versions import model_of, release_of
from spec.litmus.run import run
from spec.models import MODELS, VARIANTS
from spec.publish.verdicts import SOURCES
from spec.selftest import CASES, KINDS, programs

FILE = SOURCES / "records" / "selftest.json"
RUN = re.compile(r"# \[RUN\] (.*?)(?: \.\.\. with (.*?)(?: \(\d+ kB\))?)?$")
RESULT = re.compile(r"(not )?ok \d+ (?:# (XFAIL|SKIP) ?)?(.*)$")
PASS, FAIL, XFAIL, SKIP = "pass", "fail", "xfail", "skip"
Results = dict[str, dict[str, dict[str, int]]]
"""By case, kind of memory and result, how often; a skip has its reason with it."""
NAMES = {case.id: case.name for case in CASES}
_WHOLE = (
    "cow.c protects the whole THP, the litmus test one address, which splits the PMD."
)
UNLIKE = {
    ("A4", "THP"): _WHOLE,
    ("A7", "THP"): _WHOLE,
    ("A6", "swapped-out base page"): (
        "cow.c reads the memory before it forks (`do_test_vmsplice_in_parent()`), so "
        "that nothing is swapped out any more; the litmus test does not."
    ),
}
"""Where cow.c is another program than its litmus test: results may differ."""


@dataclass(frozen=True)
class SelftestRun:
    """One run of cow.c.

    Attributes:
        kernel: its release and version, as uname prints them.
        made: the day.
        how: how it was run.
        results: see `Results`.
    """

    kernel: str
    made: str
    how: str
    results: Results

    @property
    def release(self) -> str:
        """The release whose model it is compared with."""
        return release_of(self.kernel)

    def totals(self) -> Counter[str]:
        """How many tests passed, failed, and so on."""
        found: Counter[str] = Counter()
        for kinds in self.results.values():
            for counts in kinds.values():
                for result, count in counts.items():
                    found[result.partition(":")[0]] += count
        return found


@dataclass(frozen=True)
class Compared:
    """A program of cow.c that is modelled, on one kernel.

    Attributes:
        case: its id.
        kind: of memory.
        verdict: what the model predicts.
        results: how often each result was recorded, without skips.
    """

    case: str
    kind: str
    verdict: str
    results: Mapping[str, int]

    @property
    def why(self) -> str:
        """Why results may differ from the prediction; empty if they may not."""
        return UNLIKE.get((self.case, self.kind), "")

    @property
    def agrees(self) -> bool:
        """Whether it failed just where the model says that something goes wrong."""
        return set(self.results) <= (
            {PASS} if self.verdict == "fine" else {FAIL, XFAIL}
        )


def parse(tap: str) -> Results:
    """What cow.c printed.

    >>> parse('''# [RUN] Basic COW after fork() ... with THP (2048 kB)
    ... not ok 3 Leak from parent into child''')
    {'Basic COW after fork()': {'THP': {'fail': 1}}}
    """
    found: Results = {}
    case = kind = ""
    for line in tap.splitlines():
        if begun := RUN.match(line):
            case, kind = begun[1], _kind(begun[2])
        elif ended := RESULT.match(line):
            counts = found.setdefault(case, {}).setdefault(kind, {})
            result = _result(ended)
            counts[result] = counts.get(result, 0) + 1
    return found


def _kind(printed: str | None) -> str:
    return (printed or "THP").replace("swapped out", "swapped-out")


def _result(line: re.Match[str]) -> str:
    fails, directive, text = line.groups()
    if directive == "SKIP":
        return f"{SKIP}: {text}"
    if directive == "XFAIL":
        return XFAIL
    return FAIL if fails else PASS


def runs() -> list[SelftestRun]:
    """All recorded runs."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return [SelftestRun(**each) for each in found]


def write(kept: list[SelftestRun]) -> None:
    """Record these runs, in place of those that were."""
    rows = ",\n".join(_row(each) for each in kept)
    FILE.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def _row(each: SelftestRun) -> str:
    cases = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in each.results.items()]
    fields: dict[str, Any] = vars(each) | {"results": None}
    text = json.dumps(fields)
    return text.replace('"results": null', f'"results": {{\n{",\n".join(cases)}}}')


def compared(each: SelftestRun) -> Iterator[Compared]:
    """Each program that is modelled and was not skipped, with the model's verdict."""
    model = model_of(each.kernel)
    for (case, kind), test in programs().items():
        recorded = each.results.get(NAMES[case], {}).get(kind, {})
        results = {r: n for r, n in recorded.items() if not r.startswith(SKIP)}
        judge = _special(kind, model)
        if results and judge is not None:
            yield Compared(case, kind, run(test, judge).verdict, results)


def _special(kind: str, model: Model) -> Model | None:
    """The model of memory of a kind on a kernel; ``None`` if there is none."""
    models = {each.name: each.models for each in KINDS}.get(kind, tuple(MODELS))
    if models == tuple(MODELS):
        return model
    variant = VARIANTS[models[0]]
    return variant if variant.family == model.family else None
