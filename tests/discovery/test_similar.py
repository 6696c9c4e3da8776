"""Similar features: those that share rare words, columns, tags and entities."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

from featdsl.definitions.catalog import Catalog
from featdsl.discovery.similar import similar


def catalog(*features: tuple[str, str, tuple[str, ...]], private: str = "") -> Catalog:
    """Return a catalogue of features, given by name, description and source columns, each in a group of its own."""
    made: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    for number, (name, description, roots) in enumerate(features):
        group = f"g{number}"
        groups[group] = SimpleNamespace(access="private" if name == private else "public")
        made[f"{group}.{name}"] = SimpleNamespace(
            address=f"{group}.{name}",
            name=name,
            group=group,
            description=description,
            roots=roots,
            tags=(),
            entity=group,
        )
    return cast("Catalog", SimpleNamespace(features=made, groups=groups))


def test_shared_rare_words_make_features_similar() -> None:
    """The feature that shares the most comes first, and one that shares nothing is not there."""
    found = similar(
        catalog(
            ("income", "Gross income.", ("rows.income",)),
            ("monthly_income", "Gross income a month.", ("rows.income",)),
            ("gross_debt", "Gross debt.", ("rows.debt",)),
            ("altitude", "Feet above the sea.", ("airports.alt",)),
        )
    )
    assert found["g0.income"][0] == "g1.monthly_income"
    assert found["g3.altitude"] == ()


def test_likeness_is_the_cosine_of_weighted_traits() -> None:
    """Two features with the same traits are as close as can be, computed here by hand over all words."""
    found = similar(catalog(("a_b", "", ()), ("a_b", "", ()), ("c_d", "", ()), ("e_f", "", ())))
    assert (found["g0.a_b"], found["g2.c_d"]) == ((), ())  # words of one letter say nothing
    found = similar(catalog(("aa_bb", "", ()), ("aa_cc", "", ()), ("dd_ee", "", ()), ("ff_gg", "", ())))
    shared, alone = math.log(5 / 2) ** 2, math.log(5 / 1) ** 2
    likeness = shared / (shared + 2 * alone)  # the word that both have; beside it a word of its own, and the entity
    assert likeness < 0.25
    assert found["g0.aa_bb"] == ()


def test_private_features_are_not_suggested() -> None:
    """A private feature is similar to nobody."""
    pay, others = ("rows.income",), [(name, "", ()) for name in ("altitude", "gate", "seat")]
    found = similar(
        catalog(("income", "", pay), ("income", "", pay), ("salary", "Income.", pay), *others, private="salary")
    )
    assert (found["g0.income"], "g2.salary" in found) == (("g1.income",), False)
