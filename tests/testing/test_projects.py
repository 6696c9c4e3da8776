"""The API of tests of features: rows, times, keys, and clear errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featdsl import (
    DataError,
    DeclarationError,
    Entity,
    Feature,
    FeatureGroup,
    FeatureNotFoundError,
    RequestError,
    Source,
    testing,
)
from featdsl.errors import FeatdslError
from featdsl.testing import FeatureProject, table

SHOP = {
    "featproject.toml": '[project]\nname = "shop"\n[variables]\nrate = 2\n',
    "features/macros/money.sql": "{% macro cents(column) %}CAST(round({{ column }} * 100) AS BIGINT){% endmacro %}",
    "features/__init__.py": '''
from datetime import datetime
import pyarrow as pa
import pyarrow.compute as pc
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Request, Source, python_feature

user = Entity("user", keys={"user_id": int})
orders = Source("orders", path="data/orders.csv", timestamp="at", available_at="known", tie_break="version",
                schema={"user_id": int, "amount": "DECIMAL(18, 2)", "note": str, "version": int})
big = Source("big", sql="SELECT * FROM {{ orders }} WHERE amount > 10", timestamp="at")
clicks = Source.push("clicks", schema={"user_id": int, "page": str, "at": datetime}, timestamp="at")
periods = Source("periods", path="data/periods.parquet", timestamp="begin", valid_to="finish")


def load(orders: pa.Table) -> pa.Table:
    """Return a rate for each order."""
    return pa.table({"user_id": orders["user_id"], "rate": pc.multiply(orders["user_id"], 2)})


rates = Source("rates", function=load, columns={"user_id": int, "rate": int})


class Orders(FeatureGroup, entity=user, source=orders, ttl="7 days"):
    amount = Feature("DECIMAL(18, 2)")
    cents = Feature(int, sql="{{ cents('amount') }}")
    scaled = Feature(float, sql="amount * {{ var('rate') }}")
    note = Feature(str, sql="upper(note)")

    @python_feature(int)
    def length(note: pa.Array) -> pa.Array:
        """How long the note is."""
        return pc.utf8_length(note)


class Big(FeatureGroup, entity=user, source=big):
    bigs = Feature(int, sql="count(*)", windows=["1 day", "7 days"])


class Clicks(FeatureGroup, entity=user, source=clicks):
    page = Feature(str)


class Periods(FeatureGroup, entity=user, source=periods):
    level = Feature(int)


class Rates(FeatureGroup, entity=user, source=rates):
    rate = Feature(int)


class Share(FeatureGroup, entity=user, inputs=[Orders.amount, Request(total=float)]):
    share = Feature(float, sql="amount / total")


class Age(FeatureGroup, entity=user, inputs=[Orders.amount]):
    hours = Feature(int, sql="if(amount IS NULL, NULL, date_part('hour', as_of_timestamp))")


checkout_v1 = FeatureSet("checkout", version=1, features=[Orders.amount, Share.share])
''',
}
ORDERS = [
    {"user_id": 1, "at": "2026-01-01", "known": "2026-01-02", "amount": 12.5, "note": "x", "version": 1},
    {"user_id": 1, "at": "2026-01-05", "known": "2026-01-05", "amount": 20, "note": None, "version": 1},
    {"user_id": 1, "at": "2026-01-05", "known": "2026-01-05", "amount": 30, "note": "abc", "version": 2},
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureProject]:
    """A project without data and without a store."""
    folder = tmp_path_factory.mktemp("shop")
    for name, text in SHOP.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    project = testing.project(folder)
    yield project
    project.close()
    assert sorted(path.name for path in folder.iterdir()) == ["featproject.toml", "features"]


# Values


def test_a_value_is_the_one_that_was_known(shop: FeatureProject) -> None:
    """Late rows, the ttl, and the tie break."""
    given = shop.given(orders=ORDERS)
    at = {
        "2026-01-01": None,
        "2026-01-02": Decimal("12.50"),
        "2026-01-05": Decimal("30.00"),
        "2026-01-11 23:59:59": Decimal("30.00"),
        "2026-01-12": None,
    }
    assert {time: given.value("orders.amount", at=time, user_id=1) for time in at} == at


def test_macros_and_variables_are_those_of_the_project(shop: FeatureProject) -> None:
    """A test may set a variable to another value."""
    given = shop.given(orders=ORDERS)
    assert given.values(["cents", "scaled"], at="2026-01-05", user_id=1) == {"cents": 3000, "scaled": 60.0}
    assert shop.with_variables(rate=5).given(orders=ORDERS).value("scaled", at="2026-01-05", user_id=1) == 150.0
    with pytest.raises(RequestError, match="no variable 'rat'(?s:.*)Did you mean \"rate\""):
        shop.with_variables(rat=5)


def test_python_functions_run(shop: FeatureProject) -> None:
    """Of a feature, and of a source over the given rows of another."""
    given = shop.given(orders=ORDERS[:1])
    assert given.value("orders.length", at="2026-01-05", user_id=1) == 1
    assert given.value("rates.rate", user_id=1) == 2
    assert shop.given(rates=[{"user_id": 1, "rate": 7}]).value("rate", user_id=1) == 7


def test_a_query_runs_over_its_given_inputs(shop: FeatureProject) -> None:
    """Windows of a family by name; a count over nothing is 0."""
    given = shop.given(orders=ORDERS)
    assert given.values("big", at="2026-01-05 12:00", user_id=1) == {"bigs_1d": 2, "bigs_7d": 3}
    assert given.values("big", at="2026-01-05 12:00", user_id=2) == {"bigs_1d": 0, "bigs_7d": 0}


def test_rows_of_a_query_replace_it(shop: FeatureProject) -> None:
    """Its inputs need no rows then."""
    given = shop.given(big=[{"user_id": 1, "at": "2026-01-05"}])
    assert given.value("big.bigs_1d", at="2026-01-05 12:00", user_id=1) == 1


def test_request_time_data_and_the_time_of_the_read_count(shop: FeatureProject) -> None:
    """The same as online."""
    given = shop.given(orders=ORDERS)
    found = given.values("checkout@1", at="2026-01-05", request={"total": 60}, user_id=1)
    assert found == {"amount": Decimal("30.00"), "share": 0.5}
    rows = [{"user_id": 1}, {"user_id": 2}]
    assert given.values("checkout", at="2026-01-05", rows=rows, request=[{"total": 60}, {"total": 1}]) == [
        found, {"amount": None, "share": None},
    ]  # fmt: skip
    assert given.value("age.hours", at="2026-01-06 07:30", user_id=1) == 7


def test_pushed_events_count_in_the_order_of_the_rows(shop: FeatureProject) -> None:
    """Of two events of one time the last one wins."""
    given = shop.given(clicks=table("user_id page at", (1, "a", "2026-01-01"), (1, "b", "2026-01-01")))
    assert given.value("page", at="2026-01-01", user_id=1) == "b"


def test_rows_end(shop: FeatureProject) -> None:
    """A row that gives no end does not end."""
    given = shop.given(periods=[{"user_id": 1, "begin": "2026-01-01", "finish": "2026-02-01", "level": 3}])
    assert given.value("level", at="2026-01-31", user_id=1) == 3
    assert given.value("level", at="2026-02-01", user_id=1) is None
    endless = shop.given(periods=[{"user_id": 1, "begin": "2026-01-01", "level": 3}])
    assert endless.value("level", at="2027-01-01", user_id=1) == 3


# Rows and times


FRAME = pd.DataFrame(
    {"user_id": [1], "at": pd.to_datetime(["2026-01-01"]), "known": pd.to_datetime(["2026-01-01"]), "amount": [5.0]}
)


@pytest.mark.parametrize(
    "rows",
    [
        FRAME,
        pl.from_pandas(FRAME),
        pa.Table.from_pandas(FRAME),
        FRAME.to_dict("records"),
        iter(FRAME.to_dict("records")),
        {name: FRAME[name].tolist() for name in FRAME.columns},
        table("user_id, at, known, amount", (1, "2026-01-01", date(2026, 1, 1), Decimal(5))),
        [{"user_id": 1, "at": "2026-01-01T01:00:00+01:00", "known": datetime(2026, 1, 1, tzinfo=UTC), "amount": 5}],
    ],
    ids=["pandas", "polars", "arrow", "dicts", "iterator", "columns", "tuples", "offsets"],
)
def test_rows_are_frames_dicts_or_tuples(shop: FeatureProject, rows: Any) -> None:
    """A column that is left out is NULL in its declared type: version, and note."""
    given = shop.given(orders=rows)
    assert given.values(["amount", "note"], at="2026-01-01", user_id=1) == {"amount": Decimal("5.00"), "note": None}
    assert given.value("amount", at="2025-12-31 23:59:59", user_id=1) is None


@pytest.mark.parametrize(
    "at",
    [
        "2026-01-02 00:00", "2026-01-02T01:00:00+01:00", date(2026, 1, 2), datetime(2026, 1, 2),  # noqa: DTZ001
        datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=1))), pd.Timestamp("2026-01-02"),
    ],
)  # fmt: skip
def test_a_time_is_a_text_a_date_or_a_datetime(shop: FeatureProject, at: Any) -> None:
    """Without an offset it is UTC."""
    assert shop.given(orders=ORDERS).value("amount", at=at, user_id=1) == Decimal("12.50")


def test_no_rows_and_rows_of_nulls_have_types(shop: FeatureProject) -> None:
    """Of columns whose type is not declared, too."""
    nobody = shop.given(periods=[])
    assert nobody.value("level", at="2026-01-01", user_id=1) is None
    unknown = shop.given(periods=[{"user_id": 1, "begin": "2026-01-01", "level": None}])
    assert unknown.value("level", at="2026-01-01", user_id=1) is None
    assert shop.given(orders=[]).values("big", at="2026-01-01", user_id=1) == {"bigs_1d": 0, "bigs_7d": 0}


def test_later_changes_of_a_list_do_not_count(shop: FeatureProject) -> None:
    """What was given is given."""
    rows = [dict(ORDERS[0])]
    given = shop.given(orders=rows)
    rows[0]["amount"] = 99
    rows.append(dict(ORDERS[1]))
    assert given.value("amount", at="2026-01-05", user_id=1) == Decimal("12.50")


def test_several_givens_stay_apart(shop: FeatureProject) -> None:
    """Whichever was used last."""
    one, other = shop.given(orders=ORDERS[:1]), shop.given(orders=[{**ORDERS[0], "amount": 1}])
    found = [each.value("amount", at="2026-01-02", user_id=1) for each in (one, other, one)]
    assert found == [Decimal("12.50"), Decimal("1.00"), Decimal("12.50")]


def test_declarations_of_the_test_itself_are_computed(shop: FeatureProject) -> None:
    """With sources as objects, and derived from features of the project."""
    user = Entity("user", keys={"user_id": int})
    bonuses = Source("bonuses", path="nowhere.parquet")

    class Bonus(FeatureGroup, entity=user, source=bonuses):
        bonus = Feature(float)

    class Sum(FeatureGroup, entity=user, inputs=[Bonus.bonus, "orders.amount"]):
        together = Feature(float, sql="bonus + amount")

    given = shop.given({bonuses: [{"user_id": 1, "bonus": 0.5}]}, orders=ORDERS)
    assert given.value(Sum.together, at="2026-01-05", user_id=1) == 30.5
    assert given.values(Bonus, user_id=1) == {"bonus": 0.5}


SHARED = {
    "featproject.toml": '[project]\nname = "risk"\n',
    "features/__init__.py": "",
    "features/shared/__init__.py": "",
    "features/shared/accounts.py": """
from featdsl import FeatureGroup
from featdsl import shared as _shared
user = _shared.entity("user", keys={"user_id": int}, project="accounts")
class UserProfile(FeatureGroup, entity=user, shared_by="accounts"):
    '''Of the team accounts.'''
    income = _shared.feature(float, "f1")
    age = _shared.feature(int, "f2")
""",
    "features/own.py": """
from featdsl import Feature, FeatureGroup
from features.shared.accounts import UserProfile, user
class Own(FeatureGroup, entity=user, inputs=[UserProfile.income, UserProfile.age]):
    rich_at = Feature(float, sql="income / age")
""",
}


def test_values_of_other_projects_are_given_by_group(tmp_path: Path) -> None:
    """With the time from which they hold, or at all times; a feature that is left out is NULL."""
    for name, text in SHARED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = testing.project(tmp_path)
    rows = table("user_id income age event_timestamp", (1, 100.0, 20, "2026-01-01"), (1, 300.0, 20, "2026-02-01"))
    given = project.given(user_profile=rows)
    assert given.value("rich_at", at="2026-01-31", user_id=1) == 5.0
    assert given.value("rich_at", at="2026-02-01", user_id=1) == 15.0
    assert given.value("rich_at", at="2025-12-31", user_id=1) is None
    always = project.given(user_profile=[{"user_id": 1, "income": 40, "age": 20}])
    assert always.value("rich_at", at="1999-01-01", user_id=1) == 2.0
    without_age = project.given(user_profile=[{"user_id": 1, "income": 40}])
    assert without_age.value("rich_at", at="2026-01-01", user_id=1) is None
    with pytest.raises(RequestError, match=r'Give them: given\(user_profile=\[{"user_id": ..., "income": ...}\]\)'):
        project.given().value("rich_at", at="2026-01-01", user_id=1)
    with pytest.raises(RequestError, match='Did you mean "income"'):
        project.given(user_profile=[{"user_id": 1, "incom": 40}]).value("rich_at", at="2026-01-01", user_id=1)
    project.close()


# Errors


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda p: p.given(order=[]).value("amount", at="2026-01-01", user_id=1), RequestError, 'Did you mean "orders"?'),
        (lambda p: p.given().value("amount", at="2026-01-01", user_id=1), RequestError, "gives no rows of the source orders, which orders reads"),
        (lambda p: p.given().value("bigs_1d", at="2026-01-01", user_id=1), RequestError, "or rows of the query: given(big=[{...}])"),
        (lambda p: p.given(orders=[{"user": 1, "at": "2026-01-01", "known": "2026-01-01"}]).value("amount", at="2026-01-01", user_id=1), RequestError, 'Did you mean "user_id"?'),
        (lambda p: p.given(orders=[{"user_id": 1, "at": "2026-01-01"}]).value("amount", at="2026-01-01", user_id=1), RequestError, "no column 'known', when its rows became known"),
        (lambda p: p.given(orders=[{**ORDERS[0], "amounts": 1}]).value("amount", at="2026-01-01", user_id=1), None, ""),
        (lambda p: p.given(periods=[{"user_id": 1, "begin": "2026-01-01"}]).value("level", at="2026-01-01", user_id=1), RequestError, "no column 'level', which periods.level reads"),
        (lambda p: p.given(periods=[{"user_id": 1, "begin": "2026-01-01", "finis": "2026-01-02", "level": 1}]).value("level", at="2026-01-01", user_id=1), RequestError, 'Did you mean "finish"?'),
        (lambda p: p.given(clicks=[{"user_id": 1, "page": "a", "at": "2026-01-01", "x": 1}]).value("page", at="2026-01-01", user_id=1), RequestError, "a column 'x', which the source does not have"),
        (lambda p: p.given(orders=[{**ORDERS[0], "at": "soon"}]).value("amount", at="2026-01-01", user_id=1), RequestError, "have 'soon' in the column 'at', which is no TIMESTAMP"),
        (lambda p: p.given(orders=[{**ORDERS[0], "amount": "much"}]).value("amount", at="2026-01-01", user_id=1), RequestError, "'much' in the column 'amount', which is no DECIMAL(18,2)"),
        (lambda p: p.given(periods=[{"user_id": 1, "begin": "2026-01-01", "level": "high"}]).value("level", at="2026-01-01", user_id=1), DeclarationError, "is declared BIGINT, but its SQL gives VARCHAR"),
        (lambda p: p.given(orders=[(1, 2)]).value("amount", at="2026-01-01", user_id=1), RequestError, "The rows of orders are tuples"),
        (lambda p: p.given(orders={"a": [1], "b": [1, 2]}).value("amount", at="2026-01-01", user_id=1), RequestError, "no lists of one length"),
        (lambda p: p.given(orders=3).value("amount", at="2026-01-01", user_id=1), RequestError, "Give a list of dicts"),
        (lambda p: p.given(orders=ORDERS).value("amount", user_id=1), RequestError, 'Say when: at="2026-01-31 12:00"'),
        (lambda p: p.given(orders=ORDERS).value("amount", at="soon", user_id=1), RequestError, "at='soon' is not a time"),
        (lambda p: p.given(orders=ORDERS).value("amount", at="2026-01-01", user=1), RequestError, 'Did you mean "user_id"?'),
        (lambda p: p.given(orders=ORDERS).value("amount", at="2026-01-01"), RequestError, "need the key 'user_id'"),
        (lambda p: p.given(orders=ORDERS).value("amount", at="2026-01-01", user_id="x"), RequestError, "The key user_id is BIGINT"),
        (lambda p: p.given(orders=ORDERS).value("share", at="2026-01-01", user_id=1), RequestError, "need the request 'total'"),
        (lambda p: p.given(orders=ORDERS).value("orders", at="2026-01-01", user_id=1), RequestError, "names several features: amount, cents"),
        (lambda p: p.given(orders=ORDERS).value("amout", at="2026-01-01", user_id=1), FeatureNotFoundError, 'Did you mean "orders.amount"'),
        (lambda p: p.given(orders=[ORDERS[1], {**ORDERS[2], "version": 1}]).value("amount", at="2026-01-05", user_id=1), DataError, "one row for each user_id"),
        (lambda _: table("a b", (1,)), RequestError, "a value for each of a, b"),
    ],
)  # fmt: skip
def test_a_mistake_is_explained(
    shop: FeatureProject, call: Callable[[FeatureProject], Any], error: type[FeatdslError] | None, told: str
) -> None:
    """Each in the words of the test."""
    if error is None:
        call(shop)
        return
    with pytest.raises(error) as raised:
        call(shop)
    assert told in str(raised.value)
    assert "published" not in str(raised.value)


def test_a_mistake_in_a_module_is_raised_by_its_features_alone(tmp_path: Path) -> None:
    """Other features can be tested meanwhile."""
    for name, text in {**SHOP, "features/broken.py": "from featdsl import Feature\nFeature(int, sqll='x')\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = testing.project(tmp_path)
    assert project.given(orders=ORDERS).value("amount", at="2026-01-02", user_id=1) == Decimal("12.50")
    with pytest.raises(FeatureNotFoundError, match="no option 'sqll'"):
        project.given().value("nothing_like_it")
    project.close()


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    """As by every command."""
    with pytest.raises(DeclarationError, match="No project found"):
        testing.project(tmp_path)


def test_a_warm_value_takes_milliseconds(shop: FeatureProject) -> None:
    """Of new rows each time; the fastest of ten on the processor, for the machine does other things too."""
    taken = []
    for amount in range(10):
        began = time.process_time()
        given = shop.given(orders=[{**ORDERS[0], "amount": amount}])
        assert given.value("orders.amount", at="2026-01-02", user_id=1) == amount
        taken.append(time.process_time() - began)
    assert min(taken) < 0.1, taken
