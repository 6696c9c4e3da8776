"""Features of what only the call knows: the same SQL over spine columns and over the request of a call."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featdsl import (
    DataError,
    DeclarationError,
    Entity,
    Feature,
    FeatureGroup,
    FeatureSet,
    FeatureStore,
    Request,
    RequestError,
    Source,
)
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.declared import applied

LENDING = """
from featdsl import Feature, FeatureGroup, FeatureSet, Request
from features.accounts import UserProfile, user


class Affordability(FeatureGroup, entity=user, inputs=[UserProfile.income, Request(amount=float)]):
    \"\"\"What an account holder can pay.\"\"\"

    share = Feature(float, sql="amount / nullif(income, 0)", description="The amount as a share of income.")
    monthly = Feature(float, sql="income / 12", description="Gross income, USD per month.")


class Judgement(FeatureGroup, entity=user, inputs=[Affordability.share, UserProfile.age]):
    careful = Feature(bool, sql="share < 0.1 AND age > 30")


class Amounts(FeatureGroup, entity=None, inputs=[Request(amount=float, merchant=str)]):
    digits = Feature(int, sql="length(CAST(CAST(amount AS BIGINT) AS VARCHAR))")
    payee = Feature(str, sql="lower(merchant)")


loan = FeatureSet("loan", version=1, features=[UserProfile.age, Affordability, Judgement.careful, Amounts.digits])
asked = FeatureSet("asked", version=1, features=[Affordability.share])
"""


@pytest.fixture(scope="module")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The bank with features of a request, applied once for the tests that only read it."""
    workspace = Workspace(tmp_path_factory.mktemp("bank")).write({**BANK, "features/lending/__init__.py": LENDING})
    workspace.parquet("data/accounts.parquet", ACCOUNTS).apply()
    return workspace


def moment(day: int) -> datetime:
    """Return a midnight of January 2026."""
    return datetime(2026, 1, day, tzinfo=UTC)


# Values


def test_training_reads_the_request_from_the_spine(lender: Workspace) -> None:
    """Transitively; the column comes back as it was, and an unknown user or amount gives NULL."""
    spine = pa.table({
        "user_id": [3, 3, 9, 3], "ts": [moment(8), moment(4), moment(8), moment(8)], "amount": [700, 600, 1, None],
    })  # fmt: skip

    found = lender.store.training_set(
        ["share", "careful", "digits"], spine.append_column("merchant", [["A"] * 4]), timestamp="ts"
    )

    assert found.arrow().select(["amount", "share", "careful", "digits"]).to_pylist() == [
        {"amount": 700, "share": 0.1, "careful": False, "digits": 3},
        {"amount": 600, "share": 0.2, "careful": False, "digits": 3},
        {"amount": 1, "share": None, "careful": None, "digits": 1},
        {"amount": None, "share": None, "careful": None, "digits": None},
    ]
    assert found.arrow()["amount"].type == pa.int64()


def test_serving_reads_the_request_of_the_call(lender: Workspace) -> None:
    """User 3 has an income of 19,000 by now."""
    store = lender.store

    assert store.get_features(["share", "careful"], user_id=3, request={"amount": 950.0}) == {
        "share": 0.05, "careful": True,
    }  # fmt: skip
    assert store.get_features("payee", request={"merchant": "ACME"}) == {"payee": "acme"}
    assert store.get_features("payee", rows=[{}, {}], request=[
        {"merchant": "A"}, {"merchant": None},
    ]) == [{"payee": "a"}, {"payee": None}]  # fmt: skip


def test_a_request_is_for_all_rows_or_one_for_each(lender: Workspace) -> None:
    """As a dict, or as a list of dicts in the order of the rows."""
    store, rows = lender.store, [{"user_id": 3}, {"user_id": 1}]

    same = store.get_features(["share"], rows=rows, request={"amount": 1900})
    each = store.get_features(["share"], rows=rows, request=[{"amount": 1900}, {"amount": 3400.0}])

    assert same == [{"share": 0.1}, {"share": pytest.approx(1900 / 17000)}]
    assert each == [{"share": 0.1}, {"share": 0.2}]
    assert store.get_features(["share"], rows=[], request=[]) == []


def test_a_set_with_requests_trains_and_serves(lender: Workspace) -> None:
    """What needs a request and what is stored, side by side."""
    found = lender.store.get_features("loan@1", user_id=3, request={"amount": 1900})

    assert found == {"age": 33, "share": 0.1, "monthly": pytest.approx(19000 / 12), "careful": False, "digits": 4}


def test_the_command_line_takes_requests(lender: Workspace) -> None:
    """As text, which is read as the type says."""
    done = lender.run("get", "share", "--key", "user_id=3", "--request", "amount=1900")
    assert (done.returncode, done.stdout) == (0, "share  0.1\n")
    done = lender.run("get", "share", "--key", "user_id=3", "--request", "amount")
    assert done.returncode == 1
    assert "'amount' is not NAME=VALUE." in done.stderr


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.floats(-1e6, 1e6))), min_size=1, max_size=8))
def test_what_is_served_is_what_is_trained_on(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, float | None]]
) -> None:
    """For any amount, for any user: the expression in Python, the training set and the call agree."""
    store = _shared(tmp_path_factory)
    spine = pa.table({
        "user_id": pa.array([user for user, _ in asked], pa.int64()),
        "amount": pa.array([amount for _, amount in asked], pa.float64()),
    })  # fmt: skip

    trained = store.training_set(["ratio"], spine).arrow()["ratio"].to_pylist()
    served = store.get_features(
        ["ratio"], rows=[{"user_id": user} for user, _ in asked], request=[{"amount": amount} for _, amount in asked]
    )

    expected = [None if amount is None or user > 3 else amount / (user + 1) for user, amount in asked]
    assert trained == [each["ratio"] for each in served] == expected


_stores: dict[str, FeatureStore] = {}


def _shared(factory: pytest.TempPathFactory) -> FeatureStore:
    if "ratio" not in _stores:
        _stores["ratio"] = applied(factory.mktemp("ratio"), lambda: declare(ratio=Feature(float, sql="amount / n")))
    return _stores["ratio"]


def declare(
    request: Request | None = None, *, also: Callable[[Any], object] = lambda _: None, **features: Feature[Any]
) -> None:
    """Declare numbers 1 to 4 of users 0 to 3, and a group over them and a request."""
    user = Entity("user", keys={"user_id": int})
    numbers = Source("numbers", frame=pa.table({"user_id": [0, 1, 2, 3], "n": [1.0, 2.0, 3.0, 4.0]}))

    class Numbers(FeatureGroup, entity=user, source=numbers):
        n = Feature(float)

    class Derived(FeatureGroup, entity=user, inputs=[Numbers.n, request or Request(amount=float)], features=features):
        """Made at a request."""

    also(Derived)


# Types

Texts = Callable[[Any], FeatureStore]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """Return the store with the text of a request of some type, built for the first test of the type."""
    built: dict[str, FeatureStore] = {}

    def of(dtype: Any) -> FeatureStore:
        if str(dtype) not in built:
            built[str(dtype)] = applied(
                tmp_path_factory.mktemp("texts"),
                lambda: declare(Request(x=dtype), text=Feature(str, sql="CAST(x AS VARCHAR)")),
            )
        return built[str(dtype)]

    return of


@pytest.mark.parametrize(
    ("dtype", "column", "seen"),
    [
        pytest.param(float, pa.array([2], pa.int32()), "2.0", id="integers are numbers"),
        pytest.param("DECIMAL(9, 2)", pa.array([2]), "2.00", id="and decimals"),
        pytest.param(int, pa.array([2.0, None]), "2", id="a column of integers with a gap"),
        pytest.param(int, pa.array([2], pa.uint8()), "2", id="small integers"),
        pytest.param(datetime, pa.array([date(2026, 1, 2)]), "2026-01-02 00:00:00", id="dates are times"),
        pytest.param(list[float], pa.array([[1.5]]), "[1.5]", id="lists"),
        pytest.param(str, pa.array([None], pa.null()), None, id="nothing"),
    ],
)
def test_a_spine_column_is_cast_where_it_loses_nothing(
    texts: Texts, dtype: Any, column: pa.Array, seen: str | None
) -> None:
    """As keys are."""
    store = texts(dtype)

    spine = pa.table({"user_id": [1] * len(column), "x": column})
    assert store.training_set(["text"], spine).arrow()["text"].to_pylist()[0] == seen


@pytest.mark.parametrize(
    ("dtype", "column", "said"),
    [
        (float, pa.array(["x"]), "The spine's column 'X' has the value 'x' in row 1; the request x is DOUBLE."),
        (int, pa.array([2.5]), "The spine's column 'X' has the value '2.5' in row 1; the request x is BIGINT."),
        ("TINYINT", pa.array([300]), "The spine's column 'X' has the value '300' in row 1; the request x is TINYINT."),
        (str, pa.array([2]), "The spine's column 'X' is BIGINT; the request x is VARCHAR."),
        ("DECIMAL(9, 2)", pa.array([2.5]), "The spine's column 'X' is DOUBLE; the request x is DECIMAL(9,2)."),
    ],
)
def test_a_spine_column_that_would_lose_something_is_refused(
    texts: Texts, dtype: Any, column: pa.Array, said: str
) -> None:
    """Before anything is computed."""
    store = texts(dtype)

    with pytest.raises(RequestError) as refused:
        store.training_set(["text"], pa.table({"user_id": [1], "X": column}))
    assert refused.value.problems[0].what == said


@pytest.mark.parametrize(
    ("dtype", "value", "seen"),
    [
        (float, 2, "2.0"),
        (float, "2.5", "2.5"),
        (int, 2.0, "2"),
        ("DECIMAL(9, 2)", Decimal("2.5"), "2.50"),
        (datetime, datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02 00:00:00"),
        (date, date(2026, 1, 2), "2026-01-02"),
        (bool, True, "true"),
        (list[float], [1.5, 2], "[1.5, 2.0]"),
        ("STRUCT(a INTEGER)", {"a": 1}, "{'a': 1}"),
        (str, None, None),
        (float, np.float32(2.5), "2.5"),
        (int, np.int64(2), "2"),
    ],
)
def test_a_value_of_a_call_may_be_of_a_type_that_fits(texts: Texts, dtype: Any, value: Any, seen: str | None) -> None:
    """The same rules as for spines; text is read as what it says."""
    store = texts(dtype)

    assert store.get_features(["text"], user_id=1, request={"x": value}) == {"text": seen}


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (float, "abc"), (int, 2.5), (int, 2**70), (str, 2), (float, date(2026, 1, 1)), (bool, 2), (float, object()),
        ("DECIMAL(9, 2)", 2.5), (float, [1.0]), (int, float("inf")),
    ],
)  # fmt: skip
def test_a_value_of_a_call_that_does_not_fit_is_refused(texts: Texts, dtype: Any, value: Any) -> None:
    """With the name, the type and the value, also among others."""
    store = texts(dtype)

    with pytest.raises(RequestError, match=r"The request x is .*, which .* is not\."):
        store.get_features(["text"], user_id=1, request={"x": value})
    with pytest.raises(RequestError, match=r"The request x is .*, which .* is not, in row 2\."):
        store.get_features(["text"], rows=[{"user_id": 1}] * 2, request=[{"x": None}, {"x": value}])


# Calls that do not fit


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"user_id": 3}, "Missing request\n  The requested features need the request 'amount', which only the call can give.\n"
         '  The requests are: amount: DOUBLE. Give them as request={"amount": ...}.'),
        ({"user_id": 3, "request": {"amont": 1.0}}, "Unknown request\n  The requested features need no request 'amont'.\n"
         '  Did you mean "amount"?'),
        ({"user_id": 3, "amount": 1.0}, "Unknown key\n  The requested features have no key 'amount'.\n"
         '  It is request-time data: request={"amount": ...}.'),
        ({"request": {"amount": 1.0}}, "Missing key\n  The requested features need the key 'user_id'.\n"
         "  The keys are: user_id: BIGINT."),
        ({"user_id": 3, "request": 5}, "Wrong type of request\n  request= holds 5, which names no values.\n"
         "  Give a dict of: amount: DOUBLE."),
        ({"rows": [{"user_id": 3}], "request": []}, "Request for other rows\n  There are 1 rows of keys, but 0 of request=.\n"
         "  Give one for each row, or one dict for all."),
        ({"user_id": "x", "request": {"amount": 1.0}}, "Wrong type of key"),
    ],
)  # fmt: skip
def test_a_call_that_does_not_fit_is_told_what_is_asked(lender: Workspace, call: dict[str, Any], said: str) -> None:
    """With names and the way to fix it."""
    with pytest.raises(RequestError) as refused:
        lender.store.get_features(["share"], **call)
    assert str(refused.value).startswith(said)


def test_a_spine_without_the_column_is_refused(lender: Workspace) -> None:
    """With the nearest of its own."""
    with pytest.raises(RequestError, match=r"no column .amount., request-time data (?s:.*)Did you mean .amounts.\?"):
        lender.store.training_set(["share"], [{"user_id": 3, "ts": moment(8), "amounts": 1.0}], timestamp="ts")


def test_a_request_that_nobody_needs_is_refused(lender: Workspace) -> None:
    """It would be ignored in silence."""
    with pytest.raises(RequestError, match="need no request 'amount'"):
        lender.store.get_features(["age"], user_id=3, request={"amount": 1.0})


def test_stored_values_of_a_request_do_not_exist(lender: Workspace) -> None:
    """A relation of them is refused."""
    with pytest.raises(RequestError, match=r"affordability\.share is computed from the request amount, so none of its"):
        lender.store.get_feature("share")


# What is applied


def test_views_leave_out_what_needs_a_request(lender: Workspace) -> None:
    """A group, or a set, of only such features has no view; the others' views have the rest."""
    views = {name for (name,) in lender.published("SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod'")}
    assert views == {"user_profile", "affordability", "affordability_now", "loan_v1"}
    columns = "SELECT string_agg(column_name, ' ') FROM (DESCRIBE prod.{})"
    assert lender.published(columns.format("affordability")) == [("user_id event_timestamp monthly",)]
    assert lender.published(columns.format("loan_v1")) == [("user_id age monthly",)]
    assert lender.run("plan", "--check").returncode == 0


def test_what_needs_a_request_is_found_and_described(lender: Workspace) -> None:
    """In lists, descriptions and lineages, without figures."""
    store = lender.store
    assert {"affordability.share", "amounts.payee"} <= {each.address for each in store.features()}
    described = store.describe("judgement.careful")
    assert (described.definition["request"], described.data) == ({"amount": "DOUBLE"}, {})
    assert described.made_of == (
        "feature affordability.share (lending)", "feature user_profile.age (accounts)",
        "feature user_profile.income (accounts)", "source accounts (accounts)",
    )  # fmt: skip
    assert (store.describe("amounts").data, store.describe("amounts").definition["view"]) == ({}, None)
    assert store.describe("asked@1").definition["view"] is None
    assert store.describe("affordability").definition["view"] == "prod.affordability"
    assert str(store.lineage("payee")) == "amounts.payee (lending)\n"
    for arguments in (["show", "share"], ["show", "amounts"], ["list"], ["lineage", "digits"], ["search", "amount"]):
        done = lender.run(*arguments)
        assert done.returncode == 0, done.stderr
    assert "request      amount DOUBLE" in lender.run("show", "share").stdout


def test_checks_pass_over_what_needs_a_request(lender: Workspace) -> None:
    """And say so."""
    done = lender.run("check", "--parity")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "Not compared because they need request data: affordability.share, amounts.digits, amounts.payee, judgement.careful.",
    )
    found = json.loads(lender.run("check", "--parity", "--format", "json").stdout)
    assert found["values"] == 4 * (2 + 1 + 2)
    assert lender.run("check").returncode == 0


def test_a_new_type_is_a_breaking_change(bank: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """For all who need the request, and not for others; the set keeps the old one."""
    lender = bank.write({"features/lending/__init__.py": LENDING})
    lender.apply()
    edit("features/lending/__init__.py", "Request(amount=float)]", 'Request(amount="DECIMAL(18, 2)")]')
    edit("features/lending/__init__.py", "Request(amount=float, merchant", 'Request(amount="DECIMAL(18, 2)", merchant')

    plan = json.loads(lender.run("plan", "--format", "json").stdout)

    changes = {each["change"]["address"]: each["change"] for each in plan["changes"]}
    assert changes.keys() == {"affordability.share", "amounts.digits", "judgement.careful"}
    assert {each["change_class"] for each in changes.values()} == {"breaking"}
    assert changes["affordability.share"]["reasons"] == [
        {"code": "request", "change_class": "breaking", "before": "amount DOUBLE", "after": "amount DECIMAL(18,2)"}
    ]
    lender.apply()
    store = lender.store
    assert store.get_features("asked@1", user_id=3, request={"amount": 1.9}) == {"share": 1.9 / 19000}
    with pytest.raises(RequestError, match=r"The request amount is DECIMAL\(18,2\), which 1\.9 is not"):
        store.get_features(["share"], user_id=3, request={"amount": 1.9})


def test_a_fingerprint_covers_the_requests_that_are_read(tmp_path: Path) -> None:
    """A name that only another feature of the group reads does not count."""

    def fingerprint(request: Request, sql: str = "amount / n") -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        store = applied(folder, lambda: declare(request, ratio=Feature(float, sql=sql)))
        return str(store.describe("ratio").definition["fingerprint"])

    first = fingerprint(Request(amount=float))
    assert fingerprint(Request(amount=float, other=str)) == first
    assert fingerprint(Request(amount="FLOAT")) != first
    assert fingerprint(Request(price=float), "price / n") != first


# Declarations that do not fit


def other(dtype: Any = int, **features: Feature[Any]) -> Callable[[Any], object]:
    """Return what declares a second group of a request, and a set with both."""

    def more(group: Any) -> None:
        class Other(FeatureGroup, entity=None, inputs=[Request(amount=dtype)], features=features):
            """Asks as well."""

        FeatureSet("both", version=1, features=[group["ratio"], next(iter(Other.declaration.features.values()))])

    return more


def ratio() -> Feature[float]:
    """Return a feature of the request and an input."""
    return Feature(float, sql="amount / n")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (lambda: declare(Request(user_id=int), ratio=ratio()), "the request 'user_id' has the same name as a key of the entity"),
        (lambda: declare(amount=ratio()), "the request 'amount' has the same name as a feature of the group; rename it"),
        (lambda: declare(Request(n=float), ratio=Feature(float, sql="n")), "group derived: the request n has the same name as the input numbers.n."),
        (lambda: declare(Request(event_timestamp=datetime), ratio=ratio()), "'event_timestamp' is a time column of feature tables; rename the column"),
        (lambda: declare(Request(Amount=float), ratio=ratio()), "Request: columns.Amount: 'Amount' is not a name"),
        (lambda: declare(Request(amount=object), ratio=ratio()), "Request: columns.amount: 'object' is not a type for features"),
        (lambda: declare(Request(amount="NUMBR"), ratio=ratio()), "group derived: request amount: DuckDB has no type NUMBR."),
        (lambda: declare(Request(), ratio=ratio()), "Request: columns: it has no columns"),
        (lambda: declare(ratio=Feature(float, sql="amont / n")), "feature derived.ratio reads the column 'amont', which is not one of its inputs."),
        (lambda: declare(ratio=Feature(float, sql="amount / n", expect="ratio > 0")), "feature derived.ratio needs the request amount, so it has no stored rows that expect= could check."),
        (lambda: declare(ratio=Feature(int, sql="amount / n")), "feature derived.ratio is declared BIGINT, but its SQL gives DOUBLE."),
        (lambda: declare(ratio=ratio(), also=other(int, digits=Feature(int, sql="amount"))),
         "both@1: the request amount is DOUBLE for derived.ratio, but BIGINT for other.digits."),
        (lambda: declare(ratio=ratio(), also=lambda group: _derive(group, "amount")), "feature further.amount needs the request amount, which is its own name."),
    ],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_refused_where_it_is_declared(
    tmp_path: Path, declared: Callable[[], object], said: str
) -> None:
    """With its reason, file and line."""
    with pytest.raises(DeclarationError) as refused:
        applied(tmp_path, declared)
    assert any(said in problem.what for problem in refused.value.problems), str(refused.value)
    assert all(
        problem.where and problem.where.file.endswith("test_request_data.py") for problem in refused.value.problems
    )


def _derive(group: Any, name: str) -> None:
    class Further(
        FeatureGroup,
        entity=group.declaration.entity,
        inputs=[group["ratio"]],
        features={name: Feature(float, sql="ratio")},
    ):
        """Of a request by way of an input."""


def test_two_types_of_one_request_cannot_be_read_together(tmp_path: Path) -> None:
    """Nor can one feature be derived from both."""

    def more(group: Any) -> Any:
        class Other(FeatureGroup, entity=None, inputs=[Request(amount=int)]):
            digits = Feature(int, sql="amount")

        return Other

    store = applied(tmp_path, lambda: declare(ratio=ratio(), also=more))
    with pytest.raises(
        RequestError, match=r"the request amount is DOUBLE for derived\.ratio, but BIGINT for other\.digits"
    ):
        store.get_features(["ratio", "digits"], user_id=1, request={"amount": 1})

    def both(group: Any) -> None:
        class Both(FeatureGroup, entity=group.declaration.entity, inputs=[group["ratio"], more(group).digits]):
            both = Feature(float, sql="ratio * digits")

    with pytest.raises(
        DeclarationError, match=r"the request amount is BIGINT for other\.digits, but DOUBLE for derived"
    ):
        applied(tmp_path, lambda: declare(ratio=ratio(), also=both))


def test_one_request_must_be_listed() -> None:
    """As one feature must."""
    with pytest.raises(DeclarationError, match=r"<Request amount> is one request; write a list"):

        class Alone(FeatureGroup, entity=None, inputs=Request(amount=float)):  # type: ignore[arg-type]
            digits = Feature(float, sql="amount")


def test_a_value_that_the_sql_of_a_feature_cannot_take_is_a_data_error(tmp_path: Path) -> None:
    """In a training set as in a call, without the engine's own words for it."""
    store = applied(tmp_path, lambda: declare(Request(x=str), number=Feature(float, sql="CAST(x AS DOUBLE)")))
    training = store.training_set(["number"], pa.table({"user_id": [1], "x": ["oops"]}))
    for read in (
        training.df,
        training.pl,
        training.arrow,
        lambda: store.get_features(["number"], user_id=1, request={"x": "oops"}),
    ):
        with pytest.raises(DataError, match="'oops'") as refused:
            read()
        assert "Conversion Error" not in str(refused.value)
