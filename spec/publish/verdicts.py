"""Computed verdicts, kept under build/verdicts until the specification changes.

The name of each file holds a fingerprint of the code that decides, so that nothing
stale is ever read; comments, docstrings and what only publishes do not count. Pages,
cards and the command line share the store.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spec.codename import (
    DECIDES,
    FURTHER_TESTS,
    PROVES,
    RUNS_TESTS,
    fingerprint,
    forget_others,
)
from spec.publish import recorded

if TYPE_CHECKING:
    from spec import promises, selftest
    from spec.ablation import Ablation
    from spec.checker.program import Verdict
    from spec.prover import proving
    from spec.publish.litmus import Group

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "verdicts"
SOURCES = ROOT / "spec"
TOO_LARGE = "large"
"""The bound that no page waits for."""
NORMATIVE = "sketch"
"""The model that the command line checks where nothing else is said."""

_ASKS = "publish/verdicts.py"
"""This module: what is kept is what it asks for."""
_ADDS = "publish/worlds.py"
"""What is proved besides what the solver proves."""
_DRAWN_WITH = ("publish/drawings.py", "publish/litmus.py", "publish/traces.py")
"""What is kept of litmus tests has their traces, as text and as pictures."""
_EXPLORED_WITH = (
    *("publish/explored.py", "publish/explorer.py", "publish/footprints.py"),
    *("publish/graphs.py", "publish/seen.py", "publish/walk.py"),
    *("publish/records.py", "records/ablation.json", "records/pairs.json"),
    *("removals.py", *_DRAWN_WITH),
)
"""What makes the graphs of the explorer."""
_CLASS = "class"


def _stated(sources: Path) -> tuple[tuple[str, int, int], ...]:
    """All files below, each with the time of its last change and its size."""
    files = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(sources)
        for name in names
        if os.path.splitext(name)[1] in DECIDES
    ]
    return tuple((f, (s := os.stat(f)).st_mtime_ns, s.st_size) for f in sorted(files))


@cache
def _keys(
    sources: Path, stated: tuple[tuple[str, int, int], ...], python: str = sys.version
) -> dict[str, str]:
    """The fingerprint for each kind of result, while the files are as stated."""

    def code(besides: Iterable[str], also: Iterable[str] = ()) -> str:
        return fingerprint(sources, besides, [_ASKS, *also], python)

    further = [*FURTHER_TESTS, *PROVES]
    return {
        **dict.fromkeys(["check", "ablate"], code([*RUNS_TESTS, *PROVES])),
        **dict.fromkeys(["prove", "folios", "world"], code(RUNS_TESTS, also=[_ADDS])),
        "litmus": code(further, also=_DRAWN_WITH),
        "graphs": code(further, also=_EXPLORED_WITH),
        **dict.fromkeys(["exercised", "selftest", "promises"], code(PROVES)),
    }


def encode(value: Any) -> Any:
    """The value as JSON has it; a dataclass of the package keeps its name."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        found = {f.name: encode(getattr(value, f.name)) for f in fields(value)}
        return {_CLASS: f"{kind.__module__}:{kind.__qualname__}", **found}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(value: Any) -> Any:
    """What `encode` was given, each list as a tuple."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if isinstance(value, dict):
        found = {key: decode(item) for key, item in value.items() if key != _CLASS}
        if _CLASS not in value:
            return found
        module, _, name = value[_CLASS].partition(":")
        return getattr(importlib.import_module(module), name)(**found)
    return value


class Store:
    """What was computed for the specification as it is now.

    Args:
        folder: where the files are kept.
        sources: the folder of the specification.
        say: called with a line about each computation.
        recorded: where results are recorded that need not be computed while they are
            of this code; nowhere: all are computed.
    """

    def __init__(
        self,
        folder: Path = FOLDER,
        sources: Path = SOURCES,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
        recorded: Path | None = recorded.RESULTS,
    ) -> None:
        self.folder = folder
        self.sources = sources
        self.recorded = recorded
        self.keys = self._keys_now()
        self.say = say
        self._read: dict[str, Any] = {}

    def _keys_now(self) -> dict[str, str]:
        return dict(_keys(self.sources, _stated(self.sources)))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.{self.keys[name.partition('.')[0]]}.json"

    def read(self, name: str) -> Any:
        """What is kept or recorded under `name`; `None` if nothing is."""
        if name not in self._read:
            if self._path(name).exists():
                content = self._path(name).read_text(encoding="utf-8")
                self._read[name] = decode(json.loads(content))
            elif (found := self.as_recorded(name)) is not None:
                self._read[name] = decode(found.result)
        return self._read.get(name)

    def has(self, name: str) -> bool:
        """Whether something is kept or recorded under `name`."""
        return (
            name in self._read
            or self._path(name).exists()
            or self.as_recorded(name) is not None
        )

    def code(self, name: str) -> str:
        """The fingerprint of what decides a result, whatever the version of Python."""
        stated = _stated(self.sources)
        return _keys(self.sources, stated, python="")[name.partition(".")[0]]

    def as_recorded(self, name: str) -> recorded.Recorded | None:
        """The record that `name` is taken from; nothing if it is computed."""
        if self.recorded is None or self._path(name).exists():
            return None
        found = recorded.read(name, self.recorded)
        return found if found is not None and found.code == self.code(name) else None

    def write(self, name: str, value: Any) -> None:
        """Keep `value` under `name`, in place of what older sources gave."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._path(name).with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(encode(value)), encoding="utf-8")
        for old in self.folder.glob(f"{name}.{'[0-9a-f]' * 16}.json"):
            old.unlink(missing_ok=True)
        part.replace(self._path(name))
        self._read[name] = value

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """What is kept under `name`, computed now if nothing is."""
        found = self.read(name)
        if found is None:
            began = time.monotonic()
            found = compute()
            self.say(f"verdicts: {name}: {time.monotonic() - began:.1f} s")
            # What was imported before a change would be kept as if it came after.
            changed = self._keys_now() != self.keys
            if not changed and not getattr(found, "interrupted", False):
                self.write(name, found)
        return found

    # -- what is asked for ------------------------------------------------------------

    def checked(self, bounds: str, model: str) -> Verdict | None:
        """The verdict on a model within named bounds, if it was computed."""
        found: Verdict | None = self.read(f"check.{bounds}.{model}")
        return found

    def ablated(self, rule: str) -> Ablation | None:
        """What the removal of a rule does, if it was computed."""
        found: Ablation | None = self.read(f"ablate.{rule}")
        return found

    def check(self, bounds: str, model: str) -> Verdict:
        """The verdict on a model within named bounds.

        What is learned of the normative model is kept: whoever asks for the same on the
        command line need not wait for it again.
        """
        from spec import bounds as named
        from spec.checker.program import Options

        learned = self.folder.with_name("learned") if model == NORMATIVE else None
        found: Verdict = self.get(
            f"check.{bounds}.{model}",
            lambda: named.check(bounds, model, options=Options(learned=learned)),
        )
        return found

    def ablate(self, rule: str) -> Ablation:
        """What the removal of a rule does."""
        from spec import ablation

        found: Ablation = self.get(f"ablate.{rule}", lambda: ablation.ablate(rule))
        return found

    def prove(self, model: str) -> proving.Result:
        """The proof of a model."""
        from spec.publish import worlds
        from spec.releases import find_model

        found: proving.Result = self.get(
            f"prove.{model}", lambda: worlds.prove(find_model(model))
        )
        return found

    def folios(self, model: str) -> proving.Result:
        """The proof of what a model does with large folios."""
        from spec.prover.proving import prove
        from spec.prover.scopes import LARGE
        from spec.releases import find_model

        found: proving.Result = self.get(
            f"folios.{model}", lambda: prove(find_model(model), scope=LARGE)
        )
        return found

    def world(self, rule: str) -> proving.Obligation:
        """What any number of CPUs do without a rule of a world of their own."""
        from spec.prover.proving import NORMATIVE
        from spec.publish import worlds
        from spec.releases import find_model
        from spec.rules import find

        def compute() -> proving.Obligation:
            of = [find(rule).world]
            [made] = worlds.obligations(find_model(NORMATIVE), [rule], of)
            return made

        found: proving.Obligation = self.get(f"world.{rule}", compute)
        return found

    def litmus(self) -> dict[str, tuple[Group, ...]]:
        """What each litmus test of the catalogue comes to, by test."""
        from spec.publish.litmus import all_groups

        found: dict[str, tuple[Group, ...]] = self.get("litmus", all_groups)
        return found

    def graphs(self, of: str) -> dict[str, dict[str, Any]]:
        """The graphs of the explorer by name: of a section, or of litmus tests."""
        from spec.publish import explored

        def compute() -> dict[str, dict[str, Any]]:
            if of == explored.TESTS:
                return explored.all_test_graphs(self.litmus())
            return explored.section_graphs(explored.place_named(of))

        found: dict[str, dict[str, Any]] = self.get(f"graphs.{of}", compute)
        return found

    def exercised(self, model: str) -> dict[str, dict[str, str]]:
        """The verdict without each rule that matters, by program and rule.

        Programs are the catalogue's, and those of the selftest on other memory.
        """
        from spec import selftest
        from spec.litmus.exercise import exercised
        from spec.litmus.files import catalogue
        from spec.litmus.parser import read
        from spec.models import MODELS

        def compute() -> dict[str, dict[str, str]]:
            tests = {name: read(path) for name, path in catalogue().items()}
            for case in selftest.CASES:
                for test, kind in selftest.variants(case):
                    tests[selftest.title(case.id, kind)] = test
            return {name: exercised(t, MODELS[model]) for name, t in tests.items()}

        found: dict[str, dict[str, str]] = self.get(f"exercised.{model}", compute)
        return found

    def selftest(self) -> selftest.Verdicts:
        """The verdict of each program of the selftest, by case, memory and model."""
        from spec.selftest import verdicts

        found: selftest.Verdicts = self.get("selftest", verdicts)
        return found

    def promises(self) -> promises.Answers:
        """What references may rely on, by kind, model or release, and question."""
        from spec.promises import all_answers

        found: promises.Answers = self.get("promises", all_answers)
        return found


# -- filling the store -----------------------------------------------------------------

Job = tuple[str, ...]


def jobs() -> list[Job]:
    """All that pages show: models within bounds, rules removed, litmus tests."""
    from spec.ablation import checkable
    from spec.bounds import BOUNDS
    from spec.litmus.exercise import ASKED_OF
    from spec.models import MODELS
    from spec.prover.proving import WRITTEN_FOR
    from spec.publish import explored, worlds
    from spec.rules import load

    names = [name for name in BOUNDS if name != TOO_LARGE]
    checks: list[Job] = [("check", b, m) for b in names for m in MODELS]
    removals: list[Job] = [
        ("ablate", rule.id)
        for rule in load().values()
        if checkable(rule) and not rule.withdrawn
    ]
    # What takes longest begins first.
    exercised: list[Job] = [("exercised", model) for model in ASKED_OF]
    # the graphs of litmus tests are made from the results of these
    graphs: list[Job] = [("graphs", name) for name in explored.sources()]
    proofs: list[Job] = [("prove", model) for model in WRITTEN_FOR]
    proofs += [("folios", model) for model in WRITTEN_FOR]
    few = [rule for world in worlds.WORLDS for rule in worlds.duties(world)]
    proofs += [("world", rule) for rule in few]
    runs: list[Job] = [*proofs, *exercised, ("selftest",), ("promises",), *graphs]
    return [*reversed(checks), *removals, *runs]


def missing(store: Store, wanted: Iterable[Job]) -> list[Job]:
    """The jobs whose results are not kept yet."""
    return [job for job in wanted if not store.has(".".join(job))]


def _do(folder: Path, sources: Path, keys: dict[str, str], job: Job) -> str:
    """Do one job, in a process of its own; returns the line that it says."""
    lines: list[str] = []
    store = Store(folder, sources, lines.append)
    store.keys = keys
    getattr(store, job[0])(*job[1:])
    return "\n".join(lines)


def fill(folder: Path = FOLDER, sources: Path = SOURCES) -> Store:
    """The store with everything that pages show; computes only what is missing.

    As many processes work as there are cores. Lines about progress go to stderr.
    """
    store = Store(folder, sources)
    todo = missing(store, jobs())
    forget_others(folder.with_name("learned"))
    if todo:
        store.say(f"verdicts: {len(todo)} to compute")
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(todo), os.cpu_count() or 1) or 1, fresh) as pool:
        running = [pool.submit(_do, folder, sources, store.keys, job) for job in todo]
        try:
            for i, done in enumerate(as_completed(running), 1):
                store.say(f"{done.result()} ({i} of {len(todo)})")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return store
