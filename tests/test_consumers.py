"""Who takes references, and what the models promise them."""

import pytest

from spec.consumers import CONSUMERS
from spec.history import parse
from spec.litmus.run import run
from spec.models import MODELS
from spec.promises import (
    KINDS,
    QUESTIONS,
    answers,
    in_short,
    program,
    promised,
    questions,
)
from spec.publish.consumers import DURATIONS
from spec.releases import find_model

UPSTREAM, SKETCH = MODELS["upstream"], MODELS["sketch"]


def find(id: str):
    return next(each for each in CONSUMERS if each.id == id)


def test_every_consumer_is_well_formed():
    ids = [each.id for each in CONSUMERS]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & KINDS.keys()
    for each in CONSUMERS:
        assert each.duration in DURATIONS
        assert each.device in ("reads", "writes", "reads and writes")
        assert all(use.kind in KINDS for use in each.uses)
        since = [parse(use.since or "0") for use in each.uses]
        assert since == sorted(set(since))


def test_who_writes_asks_to_write():
    for each in CONSUMERS:
        for use in each.uses:
            if "writes" in each.device:
                assert KINDS[use.kind].foll.write


@pytest.mark.parametrize(
    "name", ["O_DIRECT", "vmsplice", "io_uring", "RDMA", "VFIO", "KVM", "AF_XDP"]
)
def test_readers_find_what_they_look_for(name):
    assert any(name in each.name for each in CONSUMERS)


def test_the_kind_changes_with_the_release():
    direct = find("o-direct-read")
    kinds = [direct.kind(release).id for release in ("6.1", "6.2", "6.3", "7.3")]
    assert kinds == ["get-rw", "get-rw", "pin-rw", "pin-rw"]
    assert find("ublk").kind("6.1") is None


def test_kinds_say_the_same_to_gup_and_to_litmus():
    for kind in KINDS.values():
        for question in questions(kind):
            gup = [o for o in program(question, kind).operations if o.foll is not None]
            assert [o.foll for o in gup] == [kind.foll]


# -- promises --------------------------------------------------------------------------


def test_the_sketch_keeps_all_references_of_anonymous_pages():
    for kind in KINDS.values():
        no = {id for id, verdict in answers(kind, SKETCH).items() if verdict != "fine"}
        assert no <= {"untouched"}


def test_upstream_protects_pins_and_no_reader_leaks():
    for kind in KINDS.values():
        no = {k for k, verdict in answers(kind, UPSTREAM).items() if verdict != "fine"}
        assert not no & {"others", "parent", "swapped"}
        if kind.foll.pin:
            assert no <= {"untouched"}
    assert promised(UPSTREAM, KINDS["get-ro"].foll) == "not protected"


def test_what_a_model_promises_is_not_what_it_keeps():
    pin = KINDS["longterm-rw"]
    assert promised(MODELS["page_count"], pin.foll) == "protected, also across fork"
    assert answers(pin, MODELS["page_count"])["mprotect"] == "wrong-cow"


@pytest.mark.parametrize(
    ("kind", "question", "rule", "model"),
    [
        ("longterm-rw", "fork", "AE-FORK-8", "upstream"),
        ("longterm-rw", "fork", "AE-FORK-2", "sketch"),
        ("pin-ro", "shared", "AE-GUP-5", "upstream"),
        ("get-rw", "mprotect", "AE-CLR-1", "upstream"),
        ("get-rw", "swap", "AE-SWAP-2", "sketch"),
        ("longterm-ro", "untouched", "AE-GUP-6", "upstream"),
        ("get-ro", "parent", "AE-COW-2", "sketch"),
    ],
)
def test_a_yes_becomes_a_no_without_the_rule(kind, question, rule, model):
    asked = next(each for each in QUESTIONS if each.id == question)
    test = program(asked, KINDS[kind])
    assert run(test, MODELS[model]).verdict == "fine"
    assert run(test, MODELS[model], frozenset({rule})).verdict != "fine"


@pytest.mark.parametrize(
    ("release", "kind", "says"),
    [
        ("5.7", "get-ro", "It reads what other processes write."),
        ("5.10", "longterm-rw", "Not coherent after mprotect(), soft-dirty tracking"),
        ("6.1", "longterm-ro", "also across fork, but for the first write"),
        ("6.12", "longterm-ro", "Coherent until it is put, also across fork."),
        ("7.3", "get-rw", "Coherent until the process forks."),
        ("7.3", "get-ro", "It never reads what other processes write."),
    ],
)
def test_in_short(release, kind, says):
    assert says in in_short(answers(KINDS[kind], find_model(f"linux-{release}")))
