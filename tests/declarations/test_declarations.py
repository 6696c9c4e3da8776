"""Declarations: entities, sources, features, groups, sets and models are validated where they are written."""

from __future__ import annotations

import copy
import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from featdsl import DeclarationError, Entity, Feature, FeatureAlias, FeatureGroup, FeatureNotFoundError, FeatureSet
from featdsl.declarations.declaration import Declaration
from featdsl.definitions.quality_rules import Expectation
from tests.waiting import PATIENCE

WORDS = """
from datetime import date, datetime
from decimal import Decimal
from featdsl import *
user = Entity("user", keys={"user_id": int})
rows = Source("rows", path="rows.parquet", timestamp="at")
class Profile(FeatureGroup, entity=user, source=rows):
    age = Feature(int)
    income = Feature(float)
class Usage(FeatureGroup, entity=user, source=rows):
    age = Feature(int)
risk = FeatureSet("risk", version=1, features=[Profile.age, Profile.income])
"""


def declare(code: str) -> dict[str, Any]:
    """Return the names that a module of this code declares; its lines count from 1."""
    names: dict[str, Any] = {"__name__": "bank"}
    exec(WORDS, names)  # noqa: S102 - the code is this file's own
    exec(compile(code, "features/bank.py", "exec"), names)  # noqa: S102 - the code is this file's own
    return names


def refusal(code: str) -> str:
    """Return the error message for invalid code."""
    with pytest.raises(DeclarationError) as raised:
        declare(code)
    return str(raised.value)


# Entities


def test_an_entity_keeps_its_keys_as_database_types() -> None:
    """Python types and type names become one spelling."""
    entity = Entity("user", keys={"user_id": int, "country": str, "since": "timestamptz"}, description="A person.")

    assert entity.keys == {"user_id": "BIGINT", "country": "VARCHAR", "since": "TIMESTAMP WITH TIME ZONE"}
    assert (entity.name, entity.address, entity.description) == ("user", "user", "A person.")


def test_a_declaration_knows_its_file_and_line() -> None:
    """Errors and lineage point at the user's line, not at the library."""
    names = declare("\n\nflight = Entity(\n    'flight', keys={'flight': str})")

    assert str(names["flight"].origin) == "features/bank.py:3"


# Groups and features


def test_a_class_body_declares_a_group() -> None:
    """The class header has entity, source and TTL; the docstring is the description."""
    names = declare(
        '''
class UserProfile(FeatureGroup, entity=user, source=rows, keys={"user_id": "uid"}, ttl="30 days", tags={"b", "a"}):
    """Who the account holder is.

    In more words.
    """

    age = Feature(int, sql="years", description="Whole years.", expect="age > 0", tags="kyc")
'''
    )
    group = names["UserProfile"].declaration
    age = names["UserProfile"].age

    assert (group.name, group.entity, group.source) == ("user_profile", names["user"], names["rows"])
    assert (group.keys, group.ttl, group.tags) == ({"user_id": "uid"}, "30 days", ("a", "b"))
    assert group.description == "Who the account holder is.\n\nIn more words."
    assert group.features == {"age": age}
    assert (age.name, age.address, age.group) == ("age", "user_profile.age", group)
    assert (age.dtype, age.sql, age.expect, age.tags) == (
        "BIGINT", "years", (Expectation(condition="age > 0"),), ("kyc",),
    )  # fmt: skip


def test_a_loop_in_a_class_body_makes_features() -> None:
    """A loop adds features through `locals()` of the class body."""
    names = declare(
        """
class Lags(FeatureGroup, entity=user, source=rows):
    for hours in (1, 6):
        locals()[f"lag_{hours}h"] = Feature(float, sql=f"lag_{hours}")
"""
    )

    assert {name: feature.sql for name, feature in names["Lags"].declaration.features.items()} == {
        "lag_1h": "lag_1",
        "lag_6h": "lag_6",
    }


@pytest.mark.parametrize(
    "features",
    [
        "{f'lag_{h}h': Feature(float, sql=f'lag_{h}') for h in (1, 6)}",
        "[Feature(float, sql=f'lag_{h}', name=f'lag_{h}h') for h in (1, 6)]",
    ],
    ids=["mapping", "list"],
)
def test_generated_features_come_from_a_mapping_or_a_list(features: str) -> None:
    """`features=` adds features to the body, named by key or by `name=`."""
    lags = declare(
        f"class Lags(FeatureGroup, entity=user, source=rows, features={features}):\n    here = Feature(float)"
    )["Lags"]

    assert list(lags.declaration.features) == ["here", "lag_1h", "lag_6h"]
    assert lags["lag_6h"].sql == "lag_6"
    assert lags["lag_6h"] is lags.lag_6h


def test_a_group_may_be_named_unlike_its_class() -> None:
    """`name=` is the name in the store."""
    names = declare("class P2(FeatureGroup, entity=user, source=rows, name='person'):\n    age = Feature(int)")

    assert names["P2"].age.address == "person.age"
    assert repr(names["P2"]) == "<FeatureGroup person>"


def test_a_group_may_have_no_entity() -> None:
    """Global values belong to no entity."""
    names = declare("class Rates(FeatureGroup, entity=None, source=rows):\n    base = Feature(float)")

    assert names["Rates"].declaration.entity is None


def test_a_derived_group_keeps_its_inputs_in_order() -> None:
    """Inputs are features as objects, aliases or addresses."""
    names = declare(
        """
old = Usage.age.alias("usage_age")
class Both(FeatureGroup, entity=user, inputs=[Profile.age, old, "other.income"]):
    ratio = Feature(float, sql="age / usage_age")
"""
    )

    assert names["Both"].declaration.inputs == (names["Profile"].age, names["old"], "other.income")


def test_an_unknown_feature_of_a_group_names_the_nearest() -> None:
    """The message for `Profile["incom"]` suggests the right name."""
    with pytest.raises(FeatureNotFoundError) as raised:
        declare("Profile['incom']")

    assert str(raised.value) == ("Unknown feature\n  Group profile has no feature 'incom'.\n  Did you mean \"income\"?")


# Aliases


def test_an_alias_gives_another_name_and_another_role() -> None:
    """The feature stays the same; its column and its keys are renamed."""
    names = declare("there = Profile.age.alias('age_there', keys={'user_id': 'friend_id'})")
    there = names["there"]

    assert isinstance(there, FeatureAlias)
    assert (there.name, there.keys, there.feature) == ("age_there", {"user_id": "friend_id"}, names["Profile"].age)


def test_an_alias_without_a_name_keeps_the_name() -> None:
    """An alias may only set keys."""
    there = declare("there = Profile.age.alias(keys={'user_id': 'friend_id'})")["there"]

    assert there.name == "age"


# Sets and models


def test_a_set_keeps_the_order_of_its_features() -> None:
    """The columns of a training set have this order."""
    names = declare("two = FeatureSet('two', version=3, features=[Profile.income, 'profile.age'], description='Two.')")
    two = names["two"]

    assert (two.address, two.features, two.description) == (
        "two@3",
        (names["Profile"].income, "profile.age"),
        "Two.",
    )


def test_a_set_of_a_python_set_has_an_order_of_its_own() -> None:
    """The order does not depend on the hash seed."""
    names = declare("two = FeatureSet('two', version=1, features={Profile.income, Profile.age, 'other.x'})")

    assert names["two"].features == ("other.x", names["Profile"].age, names["Profile"].income)


def test_a_group_in_a_set_stands_for_its_features() -> None:
    """The class of a group selects all its features."""
    names = declare("all_of_it = FeatureSet('all_of_it', version=1, features=[Profile])")

    assert names["all_of_it"].features == (names["Profile"].age, names["Profile"].income)


def test_evolve_adds_and_removes() -> None:
    """The next version starts from this one, which does not change."""
    names = declare("next_one = risk.evolve(version=2, add=[Usage.age], remove=[Profile.age])")

    assert names["next_one"].address == "risk@2"
    assert names["next_one"].features == (names["Profile"].income, names["Usage"].age)
    assert names["risk"].features == (names["Profile"].age, names["Profile"].income)


@pytest.mark.parametrize("removed", ["Profile.age", "'profile.age'", "'age'"])
def test_evolve_removes_by_object_address_or_column(removed: str) -> None:
    """All three names remove the same feature."""
    names = declare(f"next_one = risk.evolve(version=2, remove=[{removed}])")

    assert names["next_one"].features == (names["Profile"].income,)


def test_evolve_removes_one_of_two_roles() -> None:
    """An alias is removed by its own name; the plain feature stays."""
    names = declare(
        "both = FeatureSet('both', version=1, features=[Profile.age, Profile.age.alias('age_there')])\n"
        "one = both.evolve(version=2, remove=['age_there'])\n"
        "other = both.evolve(version=2, remove=[Profile.age])"
    )

    assert [feature.name for feature in names["one"].features] == ["age"]
    assert [feature.name for feature in names["other"].features] == ["age_there"]


def test_evolve_keeps_the_description_unless_told() -> None:
    """The description is inherited."""
    names = declare(
        "a = FeatureSet('a', version=1, features=[Profile.age], description='For loans.')\n"
        "b = a.evolve(version=2)\nc = a.evolve(version=3, description='')"
    )

    assert (names["b"].description, names["c"].description) == ("For loans.", "")


def test_a_model_names_the_version_that_it_trains_on() -> None:
    """A model points at one set version."""
    names = declare("loan = Model('loan', features=risk, description='Lends.')")

    assert (names["loan"].features, names["loan"].description) == (names["risk"], "Lends.")


# Mistakes, reported with file and line

MISTAKES = {
    "entity without keys": (
        "Entity('e', keys={})",
        (
            "Invalid declaration\n"
            "  Entity 'e': keys: an entity needs at least one key column; for values without an entity, give the group entity=None\n"
            "  features/bank.py:1"
        ),
    ),
    "entity with the time column as key": (
        "Entity('e', keys={'event_timestamp': datetime})",
        (
            "Invalid declaration\n"
            "  Entity 'e': keys: 'event_timestamp' is a time column of feature tables, so it cannot be a key\n"
            "  features/bank.py:1"
        ),
    ),
    "name in capitals": (
        "Entity('UserAccount', keys={'user_id': int})",
        (
            "Invalid declaration\n"
            "  Entity 'UserAccount': name: 'UserAccount' is not a name: use lower-case letters, digits and underscores,"
            " such as 'user_account'\n"
            "  features/bank.py:1"
        ),
    ),
    "key type that is none": (
        "Entity('e', keys={'id': object})",
        ("Invalid declaration\n  Entity 'e': keys.id: 'object' is not a type for features\n  features/bank.py:1"),
    ),
    "unknown option of an entity": (
        "Entity('e', key={'id': int}, keys={'id': int})",
        "Unknown option\n  Entity 'e' has no option 'key'.\n  features/bank.py:1\n  Did you mean \"keys\"?",
    ),
    "unknown option of a feature": (
        "Feature(int, expects='x > 1')",
        "Unknown option\n  Feature has no option 'expects'.\n  features/bank.py:1\n  Did you mean \"expect\"?",
    ),
    "unknown option of a group": (
        "class G(FeatureGroup, entity=user, source=rows, tll='1 day'):\n    x = Feature(int)",
        "Unknown option\n  FeatureGroup 'g' has no option 'tll'.\n  features/bank.py:1\n  Did you mean \"ttl\"?",
    ),
    "unknown option of a set": (
        "FeatureSet('s', version=1, features=[Profile.age], describtion='x')",
        (
            "Unknown option\n  FeatureSet 's' has no option 'describtion'.\n  features/bank.py:1\n"
            '  Did you mean "description"?'
        ),
    ),
    "unknown option of a source": (
        "Source('s', path='a.csv', time='at')",
        'Unknown option\n  Source \'s\' has no option \'time\'.\n  features/bank.py:1\n  Did you mean "timezone" or "time_unit" or "timestamp"?',
    ),
    "unknown option of a model": (
        "Model('m', features=risk, set=risk)",
        "Unknown option\n  Model 'm' has no option 'set'.\n  features/bank.py:1",
    ),
    "source of nothing": (
        "Source('s')",
        (
            "Invalid declaration\n  Source 's': give one of path=, table=, sql=, frame= or function=; none is given\n"
            "  features/bank.py:1"
        ),
    ),
    "source of two places": (
        "Source('s', path='a.csv', sql='SELECT 1')",
        (
            "Invalid declaration\n  Source 's': give one of path=, table=, sql=, frame= or function=; path and sql are given\n"
            "  features/bank.py:1"
        ),
    ),
    "table without a database": (
        "Source('s', table='main.t')",
        (
            "Invalid declaration\n"
            "  Source 's': give the database= of the table; without one, table= is a table of an engine's own catalogue, such as 'spark_catalog.db.events'\n"
            "  features/bank.py:1"
        ),
    ),
    "database with a password": (
        "Source('s', table='main.t', database='postgresql://ann:pw@wh/shop')",
        (
            "Invalid declaration\n"
            "  Source 's': database= contains a password, which would be stored and shown; put the whole URL in a variable,"
            ' and name the variable: database="env:WAREHOUSE_URL"\n'
            "  features/bank.py:1"
        ),
    ),
    "path with a key": (
        "Source('s', path=['a.csv', 's3://b/a.csv?s3_secret_access_key=abc'])",
        (
            "Invalid declaration\n"
            "  Source 's': path= contains a password or a key, which would be stored and shown; read s3:// with the variables"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY\n"
            "  features/bank.py:1"
        ),
    ),
    "path to a place that is not read": (
        "Source('s', path='gs://bucket/a.csv')",
        (
            "Invalid declaration\n"
            "  Source 's': gs:// is not supported; give a file, or one of s3://, https://, http://\n"
            "  features/bank.py:1"
        ),
    ),
    "two tables of a lake": (
        "Source('s', path=['lake/a', 'lake/b'], format='delta')",
        ("Invalid declaration\n  Source 's': format='delta' reads one table; give one path\n  features/bank.py:1"),
    ),
    "path that tells no format": (
        "Source('s', path='a.dat')",
        (
            "Invalid declaration\n"
            "  Source 's': the format of ('a.dat',) is unknown; give format=, one of parquet, csv, json, iceberg, delta\n"
            "  features/bank.py:1"
        ),
    ),
    "tie break without a timestamp": (
        "Source('s', path='a.csv', tie_break='n')",
        (
            "Invalid declaration\n"
            "  Source 's': tie_break= chooses between rows with the same timestamp, so it needs timestamp=\n"
            "  features/bank.py:1"
        ),
    ),
    "known time without a timestamp": (
        "Source('s', path='a.csv', available_at='loaded')",
        (
            "Invalid declaration\n"
            "  Source 's': available_at= is the time when a row became known, so it needs timestamp=\n"
            "  features/bank.py:1"
        ),
    ),
    "decimal without precision": (
        "Feature(Decimal)",
        (
            'Invalid declaration\n  Feature: dtype: Decimal needs a precision; write "DECIMAL(18, 2)"\n'
            "  features/bank.py:1"
        ),
    ),
    "group without features": (
        "class G(FeatureGroup, entity=user, source=rows):\n    pass",
        "Invalid declaration\n  FeatureGroup 'g': the group has no features\n  features/bank.py:1",
    ),
    "group of neither source nor inputs": (
        "class G(FeatureGroup, entity=user):\n    x = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': give either source= (rows to compute from) or inputs= (features to derive from)\n"
            "  features/bank.py:1"
        ),
    ),
    "group of no inputs": (
        "class G(FeatureGroup, entity=user, inputs=[]):\n    x = Feature(int)",
        (
            "Invalid declaration\n  FeatureGroup 'g': inputs= is empty; list the features to derive from\n"
            "  features/bank.py:1"
        ),
    ),
    "one input instead of a list": (
        "class G(FeatureGroup, entity=user, inputs=Profile.age):\n    x = Feature(int)",
        (
            "Invalid declaration\n  FeatureGroup 'g': inputs: <Feature profile.age> is one feature; write a list: [...]\n"
            "  features/bank.py:1"
        ),
    ),
    "group as input": (
        "class G(FeatureGroup, entity=user, inputs=[Profile]):\n    x = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': inputs: <FeatureGroup profile> is not a feature;"
            " name features as UserProfile.age or 'user_profile.age'\n"
            "  features/bank.py:1"
        ),
    ),
    "time to live of a derived group": (
        "class G(FeatureGroup, entity=user, inputs=[Profile.age], ttl='1 day'):\n    x = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': ttl= and keys= are for groups over a source; the inputs bring their own\n"
            "  features/bank.py:1"
        ),
    ),
    "time to live that is none": (
        "class G(FeatureGroup, entity=user, source=rows, ttl='soon'):\n    x = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': ttl: 'soon' is not a duration, such as '30 days' or '1 hour'\n"
            "  features/bank.py:1"
        ),
    ),
    "key that the entity does not have": (
        "class G(FeatureGroup, entity=user, source=rows, keys={'uid': 'id'}):\n    x = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': keys= renames 'uid', which is not a key of the entity; its keys are ['user_id']\n"
            "  features/bank.py:1"
        ),
    ),
    "feature named as a key": (
        "class G(FeatureGroup, entity=user, source=rows):\n    user_id = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': 'user_id' is already a column of the group's table; rename the feature\n"
            "  features/bank.py:1"
        ),
    ),
    "feature named as an attribute of groups": (
        "class G(FeatureGroup, entity=user, source=rows):\n    declaration = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': 'declaration' is an attribute of every group; rename the feature\n"
            "  features/bank.py:1"
        ),
    ),
    "feature in capitals": (
        "class G(FeatureGroup, entity=user, source=rows):\n    Age = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': features.Age: 'Age' is not a name: use lower-case letters, digits and underscores,"
            " such as 'age'\n"
            "  features/bank.py:1"
        ),
    ),
    "source by name": (
        "class G(FeatureGroup, entity=user, source='rows'):\n    x = Feature(int)",
        "Invalid declaration\n  FeatureGroup 'g': source: 'rows' is not a Source\n  features/bank.py:1",
    ),
    "feature name twice in one body": (
        (
            "class G(FeatureGroup, entity=user, source=rows):\n    x = Feature(int)\n    y = Feature(int)\n"
            "    x = Feature(float)"
        ),
        (
            "Name used twice\n  g has two features named x; the other one is at line 2.\n  features/bank.py:4\n"
            "  Rename one of them."
        ),
    ),
    "feature name twice in a list": (
        (
            "class G(FeatureGroup, entity=user, source=rows, name='gg', features=[\n"
            "    Feature(int, name='x'),\n    Feature(float, name='x')]):\n    pass"
        ),
        (
            "Name used twice\n  gg has two features named x; the other one is at line 2.\n  features/bank.py:3\n"
            "  Rename one of them."
        ),
    ),
    "feature name in the body and in a list": (
        "class G(FeatureGroup, entity=user, source=rows, features=[Feature(int, name='x')]):\n    x = Feature(float)",
        (
            "Name used twice\n  g has two features named x; the other one is at line 2.\n  features/bank.py:1\n"
            "  Rename one of them."
        ),
    ),
    "listed feature without a name": (
        "class G(FeatureGroup, entity=user, source=rows, features=[Feature(int)]):\n    pass",
        (
            "Invalid declaration\n  FeatureGroup 'g': features: a feature in features=[...] needs name=\n"
            "  features/bank.py:1"
        ),
    ),
    "listed feature that is none": (
        "class G(FeatureGroup, entity=user, source=rows, features={'x': 'profile.age'}):\n    pass",
        "Invalid declaration\n  FeatureGroup 'g': features: 'profile.age' is not a Feature\n  features/bank.py:1",
    ),
    "feature of another group": (
        "class G(FeatureGroup, entity=user, source=rows):\n    x = Profile.age",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': features: 'x' is the same object as profile.age; declare a separate Feature\n"
            "  features/bank.py:1"
        ),
    ),
    "one feature under two names": (
        "class G(FeatureGroup, entity=user, source=rows):\n    x = y = Feature(int)",
        (
            "Invalid declaration\n"
            "  FeatureGroup 'g': features: 'y' is the same object as x; declare a separate Feature\n"
            "  features/bank.py:1"
        ),
    ),
    "empty set": (
        "FeatureSet('s', version=1, features=[])",
        (
            "Invalid declaration\n  FeatureSet 's': features: the set is empty; list at least one feature\n"
            "  features/bank.py:1"
        ),
    ),
    "set of one feature without a list": (
        "FeatureSet('s', version=1, features=Profile.age)",
        (
            "Invalid declaration\n  FeatureSet 's': features: <Feature profile.age> is one feature; write a list: [...]\n"
            "  features/bank.py:1"
        ),
    ),
    "set of numbers": (
        "FeatureSet('s', version=1, features=[1])",
        (
            "Invalid declaration\n"
            "  FeatureSet 's': features: 1 is not a feature; name features as UserProfile.age or 'user_profile.age'\n"
            "  features/bank.py:1"
        ),
    ),
    "version zero": (
        "FeatureSet('s', version=0, features=[Profile.age])",
        ("Invalid declaration\n  FeatureSet 's': version: 0 is not at least 1\n  features/bank.py:1"),
    ),
    "version as text": (
        "FeatureSet('s', version='1', features=[Profile.age])",
        "Invalid declaration\n  FeatureSet 's': version: '1' is not a whole number\n  features/bank.py:1",
    ),
    "evolve without a feature that is not there": (
        "\nrisk.evolve(version=2, remove=['incom'])",
        (
            "Unknown feature\n  Version 2 removes incom, which risk@1 does not contain.\n  features/bank.py:2\n"
            '  Did you mean "income"?'
        ),
    ),
    "evolve without a namesake of another group": (
        "risk.evolve(version=2, remove=[Usage.age])",
        (
            "Unknown feature\n  Version 2 removes usage.age, which risk@1 does not contain.\n  features/bank.py:1\n"
            '  Did you mean "age"?'
        ),
    ),
    "model of a group": (
        "Model('m', features=Profile)",
        "Invalid declaration\n  Model 'm': features: <FeatureGroup profile> is not a FeatureSet\n  features/bank.py:1",
    ),
    "alias that is no name": (
        "Profile.age.alias('Age There')",
        (
            "Invalid declaration\n"
            "  FeatureAlias 'Age There': name: 'Age There' is not a name: use lower-case letters, digits and underscores,"
            " such as 'age_there'\n"
            "  features/bank.py:1"
        ),
    ),
    "two mistakes in one declaration": (
        "Entity('E', keys={'a b': int})",
        (
            "Invalid declaration\n"
            "  Entity 'E': name: 'E' is not a name: use lower-case letters, digits and underscores, such as 'e'\n"
            "  features/bank.py:1\n"
            "\n"
            "Invalid declaration\n"
            "  Entity 'E': keys.a b: 'a b' is not a column name: use letters, digits and underscores\n"
            "  features/bank.py:1"
        ),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_where_it_is_written(name: str) -> None:
    """Each mistake is a DeclarationError with file, line and reason."""
    code, message = MISTAKES[name]

    assert refusal(code) == message


def test_a_feature_without_a_group_cannot_be_used() -> None:
    """A feature needs a group for its address."""
    with pytest.raises(DeclarationError, match="Feature \\(unnamed\\) is used before it belongs to a group"):
        _ = Feature(int).group


def test_declarations_are_frozen() -> None:
    """Nothing can change a declaration after its creation."""
    entity = Entity("user", keys={"user_id": int})

    with pytest.raises(ValueError, match="Instance is frozen"):
        entity.name = "other"


def test_declarations_are_compared_by_identity() -> None:
    """Two declarations with the same content are different."""
    one, two = (Entity("user", keys={"user_id": int}) for _ in range(2))

    assert one != two
    assert len({one, two}) == 2


def test_a_copy_of_a_declaration_is_the_declaration() -> None:
    """Copying a structure keeps its references to features."""
    age = declare("")["Profile"].age

    assert copy.copy(age) is age
    assert copy.deepcopy({"a": [age]})["a"][0] is age


# Pickles

PICKLED = {
    "pickled_bank/__init__.py": "",
    "pickled_bank/making.py": """
from featdsl import Feature


def lag(hours):
    return Feature(float, sql=f"lag_{hours}")
""",
    "pickled_bank/accounts.py": WORDS
    + """
from pickled_bank.making import lag

class Lags(FeatureGroup, entity=user, source=rows, features={"lag_1h": lag(1)}):
    lag_6h = lag(6)

there = Profile.age.alias("age_there", keys={"user_id": "friend_id"})
next_risk = risk.evolve(version=2, add=[there])
loan = Model("loan", features=risk)
""",
}
REFERENCES = [
    "user", "rows", "Profile.age", "Profile.income", "Lags.lag_6h", "Lags['lag_1h']", "Profile", "Lags",
    "Profile.declaration", "risk", "next_risk", "loan", "FeatureGroup",
]  # fmt: skip


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Return a module of declarations that can be imported by name."""
    for name, text in PICKLED.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        sys, "dont_write_bytecode", True
    )  # a test edits a file within the resolution of bytecode timestamps
    yield importlib.import_module("pickled_bank.accounts")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pickled_bank"]:
        del sys.modules[name]


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_unpickles_to_the_same_object(reference: str, accounts: ModuleType) -> None:
    """Within a process, unpickling gives the same object."""
    expected = eval(f"module.{reference}", {"module": accounts})  # noqa: S307 - the text is this file's own

    assert pickle.loads(pickle.dumps(expected)) is expected  # noqa: S301 - the bytes are this test's own


def test_an_unpickled_alias_means_the_same(accounts: ModuleType) -> None:
    """Unpickling creates the alias again, over the same feature."""
    there = pickle.loads(pickle.dumps(accounts.there))  # noqa: S301 - the bytes are this test's own

    assert there.feature is accounts.Profile.age
    assert (there.name, there.keys) == ("age_there", {"user_id": "friend_id"})


def test_references_unpickle_in_another_process(accounts: ModuleType, tmp_path: Path) -> None:
    """The other process imports the declaring module by itself."""
    scope = {"module": accounts}
    wanted = {name: eval(f"module.{name}", scope) for name in REFERENCES}  # noqa: S307 - the text is this file's own
    (tmp_path / "wanted.pickle").write_bytes(pickle.dumps(wanted))
    program = """
import pickle
wanted = pickle.load(open("wanted.pickle", "rb"))
import pickled_bank.accounts as module
print([name for name, value in wanted.items() if eval(f"module.{name}") is not value])
"""

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_pickle_of_a_removed_declaration_says_so(accounts: ModuleType, tmp_path: Path) -> None:
    """The message names the removed declaration and its module."""
    data = pickle.dumps(accounts.loan)
    program = f"import pickle; pickle.loads({data!r})"
    path = tmp_path / "pickled_bank" / "accounts.py"
    path.write_text(path.read_text(encoding="utf-8").replace('Model("loan"', 'Model("lend"'), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert done.stderr.endswith(
        "DeclarationError: Declaration not found\n"
        "  The pickle refers to the model loan of module pickled_bank.accounts, which no longer declares it.\n"
        "  Create the pickle again with the current code.\n"
    )


def test_declaration_errors_pickle() -> None:
    """An error is complete after pickling, as test runners and workers need it."""
    with pytest.raises(DeclarationError) as raised:
        declare("FeatureSet('s', version=1, features=[])")

    found = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - the bytes are this test's own

    assert (type(found), str(found), found.problems) == (DeclarationError, str(raised.value), raised.value.problems)


def test_every_declaration_prints_its_address() -> None:
    """The representation is short and contains the address."""
    names = declare("loan = Model('loan', features=risk)")
    shown: list[Declaration | type[FeatureGroup] | FeatureSet] = [
        names["user"], names["rows"], names["Profile"], names["Profile"].age, names["risk"], names["loan"],
    ]  # fmt: skip

    assert [repr(each) for each in shown] == [
        "<Entity user>", "<Source rows>", "<FeatureGroup profile>", "<Feature profile.age>", "<FeatureSet risk@1>",
        "<Model loan>",
    ]  # fmt: skip
