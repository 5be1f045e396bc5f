"""The registry of rules, and that each rule is needed."""

from __future__ import annotations

import re

import pytest

from spec.ablation import checkable
from spec.cells import SpecificationError
from spec.rules import ID, REGISTRY, find, load, predicate_source, rule

RULES = load()


def test_ids_are_well_formed_and_keyed_by_themselves():
    assert all(ID.fullmatch(id) and id == r.id for id, r in RULES.items())


@pytest.mark.parametrize("id", list(RULES))
def test_a_sentence_has_one_modal_word(id):
    words = re.findall("MUST NOT|MUST|MAY|SHOULD", RULES[id].sentence)
    assert len(words) == (1 if checkable(RULES[id]) else 0)


def test_checksums_differ_and_do_not_depend_on_layout():
    assert len({r.checksum for r in RULES.values()}) == len(RULES)
    assert '"""' not in predicate_source(find("AE-FORK-2").holds)


@pytest.mark.parametrize("id", [i for i, r in RULES.items() if checkable(r)])
def test_each_rule_is_needed(store, id):
    """MUST: a guarantee breaks. MAY: taken and declined are both reached."""
    result = store.ablate(id)
    assert result.as_documented
    if RULES[id].modal.startswith("MUST") and not RULES[id].survives:
        assert result.violation is not None


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(SpecificationError, match="the nearest is AE-FORK-2"):
        find("AE-FROK-2")


@pytest.mark.parametrize(
    ("id", "sentence", "says"),
    [
        ("AE-XYZ-1", "It MUST be so.", "an id is AE-TOPIC-n"),
        ("AE-SET-99", "It is so.", "1 modal word"),
        ("AE-SET-99", "It MUST be so and MUST NOT be else.", "1 modal word"),
        ("AE-SET-99", "It MAY be so.", "needs both witnesses"),
        ("AE-FORK-2", "It MUST be so.", "is already"),
        ("AE-SET-99", "It MUST " + "really " * 40, "1 to 40 words"),
    ],
)
def test_a_malformed_rule_is_refused(id, sentence, says):
    def predicate(step):
        return True

    predicate.__doc__ = sentence
    before = dict(REGISTRY)
    with pytest.raises(SpecificationError, match=says):
        rule(id, source="test")(predicate)
    assert before == REGISTRY
