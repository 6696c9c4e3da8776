"""Tests of renames: nothing is recomputed, pins hold, old names work with a warning until they are dropped."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator

import pytest

from featdsl import FeatureStore
from featdsl.errors import DeprecatedWarning, FeatureNotFoundError
from featdsl.query import deprecation_warnings
from tests.apply.test_execute import contents, featdsl, registry
from tests.conftest import Workspace

Edit = Callable[[str, str, str], None]
ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
CLASS = "class UserProfile(FeatureGroup, entity=user, source=accounts)"
RENAMED_CLASS = 'class Profile(FeatureGroup, entity=user, source=accounts, renamed_from="user_profile")'


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    """Let each test be warned."""
    deprecation_warnings._warned.clear()
    yield
    deprecation_warnings._warned.clear()


def rename_feature(edit: Edit) -> None:
    """Rename income to gross_income throughout the project."""
    edit(
        ACCOUNTS,
        'income = Feature(float, sql="annual_income"',
        'gross_income = Feature(float, renamed_from="income", sql="annual_income"',
    )
    edit(LENDING, "inputs=[UserProfile.income]", "inputs=[UserProfile.gross_income]")
    edit(LENDING, "income / 12", "gross_income / 12")
    edit(
        LENDING,
        "features=[UserProfile.age, UserProfile.income]",
        "features=[UserProfile.age, UserProfile.gross_income]",
    )


def rename_group(edit: Edit) -> None:
    """Rename user_profile to profile; the class keeps an alias."""
    edit(ACCOUNTS, CLASS, RENAMED_CLASS)
    edit(ACCOUNTS, 'tags={"money", "kyc"})\n', 'tags={"money", "kyc"})\n\n\nUserProfile = Profile\n')


def rename_set(edit: Edit) -> None:
    """Rename credit_risk to credit."""
    edit(LENDING, 'FeatureSet("credit_risk", version=1,', 'FeatureSet("credit", version=1, renamed_from="credit_risk",')


RENAMES = {"feature": rename_feature, "group": rename_group, "set": rename_set}


def everything(workspace: Workspace) -> dict[str, object]:
    """Return the values of user 2 under the original names."""
    store = FeatureStore(workspace.root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = ["user_profile.age", "user_profile.income", "affordability.monthly", "credit_risk@1", "credit_risk@2"]
        return {name: store.get_features(name if "@" in name else [name], user_id=2) for name in asked}


@pytest.mark.parametrize("kinds", [["feature"], ["group"], ["set"], ["feature", "group", "set"]])
def test_a_rename_computes_nothing_and_changes_no_value(kinds: list[str], applied: Workspace, edit: Edit) -> None:
    """No data file is written, sets keep their columns, and the next plan is empty."""
    before, files = everything(applied), contents(applied.root / ".featdsl" / "data")
    for kind in kinds:
        RENAMES[kind](edit)
    plan = json.loads(featdsl(applied, "plan", "--format", "json"))

    assert {each["change"]["change_class"] for each in plan["changes"]} == {"metadata"}
    assert not plan["blocks"]
    assert not plan["approvals"]
    said = featdsl(applied, "apply", "--yes")
    assert "Safe: nothing is recomputed." in said
    assert contents(applied.root / ".featdsl" / "data") == files
    assert everything(applied) == before
    featdsl(applied, "plan", "--check")


def test_new_names_are_what_everything_has(applied: Workspace, edit: Edit) -> None:
    """The registry, views and models have the new names; views also keep the old ones."""
    for rename in RENAMES.values():
        rename(edit)
    featdsl(applied, "apply", "--yes")
    catalog = registry(applied).catalog

    assert sorted(catalog.features) == ["affordability.monthly", "profile.age", "profile.gross_income"]
    assert sorted(catalog.sets) == ["credit@1", "credit@2"]
    assert catalog.models["loan_default"].features == "credit@1"
    assert {address for address, _ in registry(applied).versions} == set(catalog.features)
    query = "SELECT user_id, gross_income FROM prod.profile ORDER BY ALL"
    assert applied.published(query) == applied.published("SELECT user_id, income FROM prod.user_profile ORDER BY ALL")
    assert applied.published("FROM prod.credit_v1 ORDER BY ALL") == applied.published(
        "FROM prod.credit_risk_v1 ORDER BY ALL"
    )
    assert FeatureStore(applied.root).get_features(["gross_income"], user_id=2) == {"gross_income": 18000.0}
    training = FeatureStore(applied.root).training_set("credit@2", "SELECT 2 AS user_id, now() AS ts", timestamp="ts")
    assert training.arrow().column_names == ["user_id", "ts", "age", "income", "monthly"]


def test_old_names_answer_with_a_warning_at_the_callers_line(applied: Workspace, edit: Edit) -> None:
    """Old names work bare or with the group, in code and commands, with one warning per name."""
    for rename in RENAMES.values():
        rename(edit)
    featdsl(applied, "apply", "--yes")
    store = FeatureStore(applied.root)

    with pytest.warns(DeprecatedWarning, match=r"^income is called profile\.gross_income now") as told:
        assert store.get_features(["income"], user_id=2) == {"income": 18000.0}
    assert told[0].filename == __file__
    with pytest.warns(DeprecatedWarning, match=r"user_profile\.income is called profile\.gross_income now"):
        store.get_features("user_profile.income", user_id=2)
    with pytest.warns(DeprecatedWarning, match="credit_risk@1 is called credit@1 now"):
        assert store.get_features("credit_risk@1", user_id=2) == {"age": 34, "income": 18000.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.get_features(["income"], user_id=2)
        store.get_features(["gross_income"], user_id=2)
    assert featdsl(applied, "show", "user_profile.income").startswith("feature profile.gross_income")
    assert (
        "Warning: income is called profile.gross_income now"
        in applied.spawn("get", "income", "--key", "user_id=2").stderr
    )


def test_code_that_uses_an_old_attribute_goes_on(applied: Workspace, edit: Edit) -> None:
    """Another team's set still says UserProfile.income: it works, with a warning."""
    edit(
        ACCOUNTS,
        'income = Feature(float, sql="annual_income"',
        'gross_income = Feature(float, renamed_from="income", sql="annual_income"',
    )
    edit(LENDING, "income / 12", "gross_income / 12")

    said = applied.spawn("apply", "--yes")
    assert (said.returncode, "UserProfile.income was renamed to user_profile.gross_income" in said.stderr) == (0, True)
    assert everything(applied)["credit_risk@1"] == {"age": 34, "income": 18000.0}


def test_old_names_go_when_they_are_dropped(applied: Workspace, edit: Edit) -> None:
    """Values, pins and columns stay, and nothing is recomputed."""
    for rename in RENAMES.values():
        rename(edit)
    featdsl(applied, "apply", "--yes")
    files = contents(applied.root / ".featdsl" / "data")
    edit(ACCOUNTS, ', renamed_from="user_profile"', "")
    edit(ACCOUNTS, 'renamed_from="income", ', "")
    edit(LENDING, 'renamed_from="credit_risk", ', "")
    said = featdsl(applied, "apply", "--yes")

    assert "drops the former name income" in said
    assert contents(applied.root / ".featdsl" / "data") == files
    store = FeatureStore(applied.root)
    assert store.get_features("credit@1", user_id=2) == {"age": 34, "income": 18000.0}
    with pytest.raises(FeatureNotFoundError):
        store.get_features(["income"], user_id=2)
    with pytest.raises(FeatureNotFoundError):
        store.get_features("credit_risk@1", user_id=2)
    views = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'prod' ORDER BY 1"
    assert applied.published(views) == [
        ("affordability",), ("affordability_now",), ("credit_v1",), ("credit_v2",), ("profile",),
    ]  # fmt: skip
    featdsl(applied, "plan", "--check")


def test_a_renamed_feature_goes_on_to_change(applied: Workspace, edit: Edit) -> None:
    """In the same plan or later; pinned sets keep the old values under the old column."""
    rename_feature(edit)
    edit(ACCOUNTS, '"annual_income"', '"annual_income * 2"')
    featdsl(applied, "apply", "--yes")
    store = FeatureStore(applied.root)
    assert store.get_features(["gross_income", "monthly"], user_id=2) == {"gross_income": 36000.0, "monthly": 3000.0}
    assert store.get_features("credit_risk@2", user_id=2) == {"age": 34, "income": 18000.0, "monthly": 1500.0}

    edit(ACCOUNTS, '"annual_income * 2"', '"annual_income * 3"')
    edit(ACCOUNTS, 'renamed_from="income", ', "")
    featdsl(applied, "apply", "--yes")
    assert store.get_features(["gross_income"], user_id=2) == {"gross_income": 54000.0}
    assert store.get_features("credit_risk@2", user_id=2) == {"age": 34, "income": 18000.0, "monthly": 1500.0}
    featdsl(applied, "plan", "--check")


def test_a_table_that_is_lost_is_made_again_under_its_names(applied: Workspace, edit: Edit) -> None:
    """After a rename the stored columns keep the old names."""
    rename_feature(edit)
    featdsl(applied, "apply", "--yes")
    for file in (applied.root / ".featdsl" / "data").iterdir():
        file.unlink()
    featdsl(applied, "apply", "--yes")

    assert everything(applied)["credit_risk@1"] == {"age": 34, "income": 18000.0}
    assert FeatureStore(applied.root).get_features(["gross_income"], user_id=2) == {"gross_income": 18000.0}
    featdsl(applied, "plan", "--check")


def test_a_family_of_windows_is_renamed_as_one(workspace: Workspace) -> None:
    """Each feature is renamed from its old name."""
    workspace.write({
        "featproject.toml": '[project]\nname = "bank"\n',
        "features/__init__.py": (
            "from featdsl import Entity, Feature, FeatureGroup, Source\n"
            "user = Entity('user', keys={'user_id': int})\n"
            "paid = Source('paid', path='paid.parquet', timestamp='at')\n"
            "class Spending(FeatureGroup, entity=user, source=paid):\n"
            "    spend = Feature(float, sql='sum(amount)', windows=['2 days', '5 days'])\n"
        ),
    }).parquet("paid.parquet", "SELECT i % 2 AS user_id, TIMESTAMP '2026-01-01' + to_days(i::INT) AS at, 1.0 * i AS amount FROM range(9) t(i)")  # fmt: skip
    featdsl(workspace, "apply", "--yes")
    files = contents(workspace.root / ".featdsl" / "data")
    path = workspace.root / "features/__init__.py"
    path.write_text(
        path.read_text().replace("    spend = Feature(float,", "    paid = Feature(float, renamed_from='spend',")
    )
    said = featdsl(workspace, "apply", "--yes")

    assert "renamed from spend_2d" in said
    assert contents(workspace.root / ".featdsl" / "data") == files
    assert sorted(registry(workspace).catalog.features) == ["spending.paid_2d", "spending.paid_5d"]


def test_going_back_undoes_a_rename(applied: Workspace, edit: Edit) -> None:
    """The old names and their values are back."""
    before, catalog = everything(applied), registry(applied).catalog
    for rename in RENAMES.values():
        rename(edit)
    featdsl(applied, "apply", "--yes")
    featdsl(applied, "rollback", "1", "--yes")

    assert registry(applied).catalog == catalog
    assert everything(applied) == before


# What looks like a rename


def probable(workspace: Workspace) -> dict[str, str]:
    """Return the plan's one notice of a probable rename."""
    found = json.loads(featdsl(workspace, "plan", "--format", "json"))["notices"]
    (notice,) = [each for each in found if each["code"] == "probable rename"]
    return notice  # type: ignore[no-any-return]


def test_a_rename_that_nobody_declared_is_pointed_out(applied: Workspace, edit: Edit) -> None:
    """The notice says what to declare; a group has one notice, not one per feature."""
    edit(LENDING, "monthly = Feature(", "a_month = Feature(")
    edit(LENDING, "add=[Affordability.monthly]", "add=[Affordability.a_month]")
    edit(
        LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2", "credit_risk_v3 = credit_risk_v1.evolve(version=3"
    )
    notice = probable(applied)
    assert (notice["code"], notice["address"]) == ("probable rename", "affordability.a_month")
    assert 'renamed_from="monthly"' in notice["fix"]

    edit(LENDING, "class Affordability(", "class CanPay(")
    edit(LENDING, "a_month = Feature(", "monthly = Feature(")
    edit(LENDING, "add=[Affordability.a_month]", "add=[CanPay.monthly]")
    notice = probable(applied)
    assert (notice["code"], notice["address"]) == ("probable rename", "can_pay")
    assert 'renamed_from="affordability"' in featdsl(applied, "plan")


# Bad input


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "age = Feature(int,",
            'age = Feature(int, renamed_from="income",',
            "renamed from income, which is still declared",
        ),
        ("age = Feature(int,", 'age = Feature(int, renamed_from="Not a name",', "is not a name"),
        (
            CLASS,
            CLASS.replace("accounts)", 'accounts, renamed_from="affordability")'),
            "renamed from affordability, which is still declared",
        ),
    ],
)
def test_a_former_name_that_cannot_be_one_is_refused(
    old: str, new: str, said: str, applied: Workspace, edit: Edit
) -> None:
    """With file and line; nothing is changed."""
    edit(ACCOUNTS, old, new)
    done = applied.run("plan")

    assert (done.returncode, said in done.stderr, f"{ACCOUNTS}:" in done.stderr) == (1, True, True)
