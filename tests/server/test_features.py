"""`POST /v1/features` returns the values that `get_features` returns."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Workspace
from tests.server.conftest import Serve, Served


def test_a_set_version_is_answered_with_its_values_and_metadata(served: Served) -> None:
    """Rows come in the order of the keys; an unknown entity has nulls."""
    answer = served.post(json={"features": "credit_risk@2", "rows": [{"user_id": 3}, {"user_id": 99}]})

    document = answer.json()
    times = [document["metadata"].pop(name) for name in ("published_at", "read_at")]
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert times == sorted(times)
    assert all(each.endswith("Z") for each in times)
    assert document == {
        "metadata": {"set": "credit_risk@2", "state": 1, "from_tables": {}},
        "rows": [
            {"age": 33, "income": 19000.0, "monthly": 19000 / 12},
            {"age": None, "income": None, "monthly": None},
        ],
    }


def test_without_an_online_store_the_answer_says_so(applied: Workspace, serve: Serve) -> None:
    """The values are the same, and each column has the reason."""
    document = serve(applied).post(json={"features": "credit_risk@1", "rows": [{"user_id": 3}]}).json()

    assert document["rows"] == [{"age": 33, "income": 19000.0}]
    assert document["metadata"]["published_at"] is None
    assert document["metadata"]["from_tables"] == {
        "age": "there is no online store",
        "income": "there is no online store",
    }


def test_statuses_come_beside_the_values_if_asked_for(served: Served) -> None:
    """The form of the rows stays the same."""
    rows = [{"user_id": 3}, {"user_id": 99}]
    document = served.post(json={"features": "credit_risk@1", "rows": rows, "with_status": True}).json()

    known = {"status": "present", "event_timestamp": "2026-01-20T00:00:00Z"}
    unknown = {"status": "unknown_entity", "event_timestamp": None}
    assert document["rows"] == [{"age": 33, "income": 19000.0}, {"age": None, "income": None}]
    assert document["statuses"] == [{"age": known, "income": known}, {"age": unknown, "income": unknown}]


@pytest.mark.parametrize(
    ("features", "row"),
    [
        (["user_profile.income", "age"], {"income": 19000.0, "age": 33}),
        (["monthly"], {"monthly": 19000 / 12}),
        ("income", {"income": 19000.0}),
        ("user_profile.age", {"age": 33}),
    ],
)
def test_features_are_named_as_in_python(features: Any, row: dict[str, Any], served: Served) -> None:
    """By address or by bare name, in a list or one alone."""
    document = served.post(json={"features": features, "rows": [{"user_id": 3}]}).json()

    assert (document["metadata"]["set"], document["rows"]) == (None, [row])


def test_no_rows_are_no_values(served: Served) -> None:
    """An empty batch is no mistake."""
    assert served.post(json={"features": "credit_risk@1", "rows": []}).json()["rows"] == []


REQUESTED = '''
from featdsl import Feature, FeatureGroup, FeatureSet, Request
from features.accounts import UserProfile, user


class Offer(FeatureGroup, entity=user, inputs=[UserProfile.income, Request(amount=float, bought="TIMESTAMP")]):
    """What an account holder asks for."""

    share = Feature(float, sql="amount / income")
    bought_at = Feature("TIMESTAMP", sql="bought")


offer_v1 = FeatureSet("offer", version=1, features=[Offer.share, Offer.bought_at])
'''


@pytest.fixture
def asking(bank: Workspace, serve: Serve) -> Served:
    """A set that needs request-time data, served."""
    bank.write({"features/lending/__init__.py": REQUESTED}).apply()
    return serve(bank)


def test_request_time_data_is_for_all_rows_or_for_each(asking: Served) -> None:
    """One object or a list, with times in ISO 8601."""
    rows = [{"user_id": 3}, {"user_id": 2}]
    one = {"amount": 1900.0, "bought": "2026-02-01T12:00:00Z"}
    each = [one, {"amount": 1800, "bought": None}]

    assert asking.post(json={"features": "offer@1", "rows": rows, "request": one}).json()["rows"] == [
        {"share": 0.1, "bought_at": "2026-02-01T12:00:00Z"},
        {"share": 1900 / 18000, "bought_at": "2026-02-01T12:00:00Z"},
    ]
    assert asking.post(json={"features": "offer@1", "rows": rows, "request": each}).json()["rows"] == [
        {"share": 0.1, "bought_at": "2026-02-01T12:00:00Z"},
        {"share": 0.1, "bought_at": None},
    ]


@pytest.mark.parametrize(
    ("request_", "refused"),
    [
        (None, (422, "missing_request", ["amount", "bought"])),
        ({"amount": 1.0}, (422, "missing_request", ["bought"])),
        ({"amount": 1.0, "bougth": "2026-02-01"}, (422, "unknown_request", ["bought"])),
        ({"amount": "much", "bought": "2026-02-01"}, (422, "wrong_type", [])),
        ({"amount": 1.0, "bought": "yesterday"}, (422, "wrong_type", [])),
        ([], (422, "invalid_request", [])),
    ],
)
def test_request_time_data_that_does_not_fit_is_refused(request_: Any, refused: Any, asking: Served) -> None:
    """The code says what is wrong with it."""
    assert asking.error(json={"features": "offer@1", "rows": [{"user_id": 3}], "request": request_}) == refused


TYPES = {
    "BOOLEAN": ("true", True),
    "BIGINT": ("9007199254740993", 9007199254740993),
    "UBIGINT": ("18446744073709551615", 18446744073709551615),
    "HUGEINT": ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
    "DOUBLE": ("1e300", 1e300),
    "FLOAT": ("0.5", 0.5),
    "DECIMAL(20,2)": ("123456789012345678.90", "123456789012345678.90"),
    "VARCHAR": ("'ä\"\\'", 'ä"\\'),
    "BLOB": ("'\\x00\\xFF'::BLOB", "AP8="),
    "DATE": ("DATE '2026-01-31'", "2026-01-31"),
    "TIME": ("TIME '12:30:00.5'", "12:30:00.500000"),
    "TIMESTAMP": ("TIMESTAMP '2026-01-31 12:30:00.25'", "2026-01-31T12:30:00.250000Z"),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMPTZ '2026-01-31 12:30:00+02'", "2026-01-31T10:30:00Z"),
    "UUID": ("UUID '3f2b8c1e-8f0a-4c57-9d53-0c7b7c1f9a10'", "3f2b8c1e-8f0a-4c57-9d53-0c7b7c1f9a10"),
}
"""Each type that keys may have: a literal of SQL, and its JSON."""
FURTHER = {
    "nan": ("DOUBLE", "'nan'::DOUBLE", "NaN"),
    "negative": ("DOUBLE", "'-infinity'::DOUBLE", "-Infinity"),
    "wait": ("INTERVAL", "INTERVAL '1 day 2 hours'", "P1DT2H"),
    "bits": ("BIT", "'0101'::BIT", "0101"),
    "mood": ("ENUM('sad', 'glad')", "'glad'", "glad"),
    "days": ("DATE[]", "[DATE '2026-01-31', NULL]", ["2026-01-31", None]),
    "moments": ("TIMESTAMP[]", "[TIMESTAMP '2026-01-31']", ["2026-01-31T00:00:00Z"]),
    "box": (
        "STRUCT(a INTEGER, b STRUCT(c BLOB))",
        "{'a': 1, 'b': {'c': 'x'::BLOB}}",
        {"a": 1, "b": {"c": "eA=="}},
    ),
    "sizes": ("MAP(VARCHAR, DECIMAL(4,1))", "MAP {'s': 1.5}", {"s": "1.5"}),
    "counts": ("MAP(INTEGER, BIGINT)", "MAP {7: 8}", [[7, 8]]),
    "pair": ("INTEGER[2]", "[1, 2]", [1, 2]),
    "none": ("BLOB", "NULL", None),
}


def test_every_type_of_value_has_its_json(bank: Workspace, serve: Serve) -> None:
    """Exact types keep all their digits; JSON has no NaN, so it is a string."""
    kinds = {f"f{number}": (dtype, sql, value) for number, (dtype, (sql, value)) in enumerate(TYPES.items())} | FURTHER
    lines = [f'    {name} = Feature("{dtype}", sql={sql!r})' for name, (dtype, sql, _) in kinds.items()]
    bank.write({"features/lending/__init__.py": "\n".join([
        "from featdsl import Feature, FeatureGroup", "from features.accounts import accounts, user", "",
        "class Kinds(FeatureGroup, entity=user, source=accounts):", *lines, "",
    ])}).apply()  # fmt: skip

    answer = serve(bank).post(json={"features": [f"kinds.{name}" for name in kinds], "rows": [{"user_id": 3}]})

    assert answer.json()["rows"] == [{name: value for name, (_, _, value) in kinds.items()}]


KEYED = '''
from featdsl import Entity, Feature, FeatureGroup, Source

things = Source("things", sql="""SELECT CAST(SQL AS TYPE) AS k, 7 AS number""")
thing = Entity("thing", keys={"k": "TYPE"})

class Facts(FeatureGroup, entity=thing, source=things):
    number = Feature(int, sql="number")
    itself = Feature("TYPE", sql="k")
'''


@pytest.mark.parametrize("dtype", TYPES)
def test_a_key_of_every_type_is_found_by_its_json(dtype: str, workspace: Workspace, serve: Serve) -> None:
    """The JSON of a value is a key that finds the entity of this value."""
    sql, value = TYPES[dtype]
    workspace.write({
        "featproject.toml": '[project]\nname = "things"\n',
        "features/__init__.py": "",
        "features/things/__init__.py": KEYED.replace("SQL", sql.replace("\\", "\\\\")).replace("TYPE", dtype),
    }).apply()  # fmt: skip

    answer = serve(workspace).post(json={"features": ["number", "itself"], "rows": [{"k": value}]})

    assert answer.json()["rows"] == [{"number": 7, "itself": value}]
