"""What notebooks and editors show: HTML of declarations, lists, descriptions and plans, and the text of `help()`."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from featdsl import Deprecated, Entity, Expect, Feature, FeatureGroup, FeatureSet, FeatureStore, Model, Request, Source
from featdsl.definitions.sheets import MOST_ROWS, ShownList
from featdsl.query.answer import Answer, ServedValue
from tests.conftest import Workspace
from tests.shown_html import Page, read

user = Entity("user", keys={"user_id": int}, description="An account holder.")
accounts = Source("accounts", path="data/accounts.parquet", timestamp="updated_at", schema={"user_id": int})


class UserProfile(FeatureGroup, entity=user, source=accounts, ttl="30 days", access="private"):
    """Who the account holder is."""

    age = Feature(
        int,
        sql="date_diff('year', birth_date, updated_at)",
        description="Age in whole years.",
        unit="years",
        expect="age > 0",
    )
    spend = Feature(float, sql="sum(amount)", windows=["7 days", "30 days"], description="Money spent, USD.")
    old = Feature(str, sql="name", deprecated=Deprecated(since="2026-01-01", use="user_profile.age"), tags=["kyc"])


class Share(FeatureGroup, entity=user, inputs=[UserProfile.age, Request(amount=float)]):
    """What an amount is of an age."""

    share = Feature(float, sql="amount / age")


profile_v1 = FeatureSet("profile", version=1, features=[UserProfile.age, UserProfile.old.alias("name")])
churn = Model("churn", features=profile_v1)


def shown(thing: Any) -> Page:
    """Return what IPython shows of a thing: it calls the method of an object, and of a class that of its metaclass."""
    return read(type(thing)._repr_html_(thing))


def test_a_feature_shows_its_type_description_entity_and_sql() -> None:
    """As the class declares it."""
    page = shown(UserProfile.age)
    assert page.text.startswith("featureuser_profile.ageBIGINT")
    assert "Age in whole years." in page.text
    assert page.facts["entity"] == "user (user_id BIGINT)"
    assert page.facts["sql"] == "date_diff('year', birth_date, updated_at)"
    assert page.facts["expect"] == "age > 0"
    assert page.facts["ttl"] == "30 days"
    assert page.facts["declared"].startswith("tests/test_display.py:")


def test_a_family_and_its_members_show_their_windows() -> None:
    """The family all of them, a member its own."""
    assert shown(UserProfile.spend).facts["windows"] == "7 days, 30 days"
    page = shown(UserProfile.spend["7 days"])
    assert (page.facts["window"], "user_profile.spend_7d" in page.text) == ("7 days", True)


def test_a_group_shows_its_features_and_the_base_class_nothing() -> None:
    """IPython asks the metaclass."""
    page = shown(UserProfile)
    assert page.text.startswith("groupuser_profileprivateWho the account holder is.")
    assert ["age", "BIGINT", "Age in whole years.", ""] in page.rows
    assert ["spend_7d", "DOUBLE", "Money spent, USD.", ""] in page.rows
    assert ["old", "VARCHAR", "", "kyc"] in page.rows
    assert type(FeatureGroup)._repr_html_(FeatureGroup) is None  # type: ignore[attr-defined]


def test_other_declarations_show_what_they_declare() -> None:
    """Sets and models their columns, sources their place, entities their keys, derived groups their inputs."""
    columns = [
        ["age", "user_profile.age", "BIGINT", "Age in whole years."],
        ["name", "user_profile.old", "VARCHAR", ""],
    ]
    assert [row for row in shown(profile_v1).rows if len(row) == 4][1:] == columns
    assert shown(churn).facts["features"] == "profile@1: 2 columns"
    assert shown(accounts).facts | {"declared": ""} == {
        "rows": "data/accounts.parquet", "timestamp": "updated_at", "columns": "user_id BIGINT", "declared": "",
        "owner": "flights",
    }  # fmt: skip
    assert shown(user).facts["keys"] == "user_id BIGINT"
    assert shown(Share).facts["inputs"] == "user_profile.age\nrequest: amount DOUBLE"
    assert shown(UserProfile.old).facts["deprecated"] == "since 2026-01-01; use user_profile.age"
    assert (
        shown(UserProfile.age.alias("partner", keys={"user_id": "partner_id"})).facts["keys"] == "user_id by partner_id"
    )


def test_help_tells_of_the_feature_and_the_class_keeps_its_docstring() -> None:
    """`help(UserProfile.age)` and `UserProfile.age?` read `__doc__`."""
    text = UserProfile.age.__doc__ or ""
    assert text.startswith(
        "feature user_profile.age: BIGINT\n\nAge in whole years.\n\nowner     flights\nunit      years\nentity    user (user_id BIGINT)\n"
    )
    assert (Feature.__doc__ or "").startswith("One feature of a group:")
    assert UserProfile.__doc__ == "Who the account holder is."
    written = io.StringIO()
    import pydoc

    pydoc.Helper(output=written).help(UserProfile.age)
    assert "Age in whole years." in written.getvalue()
    assert "One feature of a group:" not in written.getvalue()


def test_the_owner_is_the_team_of_the_folder_or_of_the_settings(workspace: Workspace) -> None:
    """A declaration outside of a project has none, and broken settings break nothing."""
    files = {
        "featproject.toml": '[project]\nname = "bank"\n[teams]\nrisk = "features/lending"\n',
        "features/a/b.py": "",
    }
    workspace.write(files)

    def owner(file: str) -> str:
        entity = Entity("card", keys={"card_id": int})
        entity._origin = type(entity.origin)(str(workspace.root / file), 1)
        return entity.owner

    assert [owner("features/lending/x.py"), owner("features/ops/x.py"), owner("features/x.py")] == [
        "risk",
        "ops",
        "bank",
    ]
    assert owner("/nowhere/ipykernel_1/2.py") == ""
    workspace.write({"featproject.toml": "[project"})
    assert owner("features/ops/x.py") == ""


HOSTILE = '</td><script>alert(1)</script> & "q" \' \u202egnp.exe \x1b[31mred\x07'
HARMLESS = '</td><script>alert(1)</script> & "q" \' \\u202egnp.exe \\x1b[31mred\\x07'
TAGS = {
    "div", "style", "header", "small", "strong", "code", "span", "p", "table", "thead", "tbody", "tr", "th", "td", "pre", "br",
}  # fmt: skip


def hostile() -> Iterator[tuple[str, Any]]:
    """Yield things whose texts are markup, codes of terminals and characters that turn the reading direction."""
    feature = Feature(str, sql=HOSTILE, description=HOSTILE, tags=[HOSTILE], expect=Expect(HOSTILE))
    group = type(FeatureGroup)(
        "Odd", (FeatureGroup,), {"__doc__": HOSTILE, "odd": feature}, entity=user, source=accounts
    )
    yield "feature", feature
    yield "group", group
    yield "source", Source("odd", sql=HOSTILE, description=HOSTILE)
    row = {"odd": ServedValue(HOSTILE, "present", None)}
    yield "answer", Answer(
        name="", rows=[{"odd": HOSTILE}], statuses=[row], dtypes={"odd": "VARCHAR"}, fingerprints={},
        read_at=datetime(2026, 1, 1, tzinfo=UTC), from_tables={"odd": HOSTILE}, state=1, published_at=None,
    )  # fmt: skip
    yield "list", ShownList([HOSTILE], lambda each: {HOSTILE: each})


@pytest.mark.parametrize(("kind", "thing"), [*hostile()])
def test_every_text_is_shown_literally(kind: str, thing: Any) -> None:
    """No element but ours, nothing loaded, and control characters as their codes."""
    markup = type(thing)._repr_html_(thing)
    page = read(markup)
    assert set(page.tags) <= TAGS, kind
    assert {name for name, _ in page.attributes} <= {"class", "scope"}
    assert HARMLESS in page.text
    assert not {character for character in markup if character != "\n" and not character.isprintable()}
    assert "url(" not in markup


def test_a_long_text_and_many_rows_are_cut() -> None:
    """A notebook keeps its outputs, so they stay small."""
    feature = Feature(str, sql="x", description="a" * 2_000_000)
    assert len(shown(feature).text) < 5_000
    page = shown(ShownList(range(1000), lambda each: {"number": each}))
    assert (len(page.rows), page.text.endswith(f"and {1000 - MOST_ROWS} more")) == (1 + MOST_ROWS, True)


def test_lists_are_lists_that_show_as_tables(applied: Workspace) -> None:
    """They equal plain lists, and their slices show as tables too."""
    store = applied.store
    features = store.features()
    assert features == list(features)
    assert isinstance(features[:1], ShownList)
    assert pickle.loads(pickle.dumps(features)) == features  # noqa: S301 - our own
    assert ["user_profile.age", "BIGINT", "user", "accounts", "Age in whole years.", ""] in shown(features).rows
    assert shown(store.search("incme", kind="feature")).rows[1][1] == "user_profile.income"
    lending = ["team", "lending", "", "", "lending", "1 feature, 1 group, 2 sets, 1 model"]
    assert lending in shown(store.definitions()).rows
    assert shown(store.search("zzzzzz")).text == "Nothing."
    printed = json.loads(applied.run("list", "--format", "json").stdout)
    assert [each["address"] for each in printed] == [each.address for each in features]


def test_checks_show_verdicts(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """Of this run and of past ones."""
    edit("features/accounts/__init__.py", '"age BETWEEN 0 AND 120"', 'Expect("age < 20", severity="warn")')
    edit("features/accounts/__init__.py", "import Entity", "import Expect, Entity")
    applied.apply()
    store = applied.store
    (row,) = shown(checked := store.check()).rows[1:]
    assert row[:5] == ["warning", "user_profile.age", "accounts", "age < 20 (warn)", "20"]
    store.record_checks(checked)
    assert shown(store.check_history()).rows[1][:3] == ["warning", "user_profile.age", "age < 20 (warn)"]


def test_described_things_answers_and_training_sets_are_shown(applied: Workspace) -> None:
    """With their figures, values and columns."""
    store = applied.store
    page = shown(store.describe("user_profile.age"))
    assert page.facts["rows"] == "20, 0.0 % null"
    assert (
        page.facts["used by"]
        == "model loan_default (lending)\nset credit_risk@1 (lending)\nset credit_risk@2 (lending)"
    )
    assert ["monthly", "affordability.monthly", "DOUBLE"] in shown(store.describe("credit_risk@2")).rows
    assert ["birth_date", "DATE"] in shown(store.describe("accounts")).rows
    assert "└─ source accounts (accounts): birth_date" in shown(store.lineage("user_profile.age")).text
    training = store.training_set("credit_risk@1", "SELECT 1 AS user_id, TIMESTAMP '2026-01-05' AS at", timestamp="at")
    assert ["age", "user_profile.age", "BIGINT", "Age in whole years."] in shown(training).rows
    answer = store.serve(["age", "income"], [{"user_id": 1}, {"user_id": 99}], with_status=True)
    assert shown(answer).rows[-2:] == [["35", "17000.0"], ["unknown entity", "unknown entity"]]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_is_shown_and_nothing_is_written(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """It is the plan of `featdsl plan`, with its verdict, changes and impact."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    before = contents(applied.root / ".featdsl")
    plan = applied.store.plan()
    page = shown(plan)
    assert contents(applied.root / ".featdsl") == before
    assert str(plan) == applied.run("plan").stdout
    assert "Touches lending (1 feature changes). Pinned set versions keep their values." in page.text
    assert [
        "~ change",
        "user_profile.income",
        "accounts",
        "definitionsql:\n  - annual_income\n  + annual_income * 2",
    ] in page.rows
    assert ["lending", "=", "set credit_risk@1", "keeps the old user_profile.income"] in page.rows


def test_a_project_without_an_apply_is_shown(bank: Workspace) -> None:
    """Nothing is found, and everything is to be created."""
    store = FeatureStore(bank.root)
    assert shown(store.features()).text == "Nothing."
    assert ["+ create", "user_profile.age", "accounts", "BIGINT Age in whole years."] in shown(store.plan()).rows
    assert not (bank.root / ".featdsl").exists()
