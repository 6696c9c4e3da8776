"""How far the values of features have moved, by the statistics that runs keep."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from featdsl.errors import FeatureNotFoundError, RequestError, StoreError
from tests.conftest import Workspace

Edit = Callable[[str, str, str], None]

ROWS = """
    SELECT i % 50 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS updated_at,
           DATE '1990-06-15' + 400 * (i % 4)::INT AS birth_date, {income} AS annual_income
    FROM range({rows}) t(i)
"""


@pytest.fixture
def market(bank: Workspace) -> Workspace:
    """The small project with many rows, applied."""
    bank.parquet("data/accounts.parquet", ROWS.format(income="i % 400 + 1000.0", rows=1000))
    bank.apply()
    return bank


def moved(workspace: Workspace, income: str, rows: int = 1000) -> None:
    """Replace the data and refresh."""
    workspace.parquet("data/accounts.parquet", ROWS.format(income=income, rows=rows))
    done = workspace.run("refresh", "--full")
    assert done.returncode == 0, done.stderr


def test_nothing_is_compared_after_the_first_run(market: Workspace) -> None:
    """A feature that was measured once has no run before."""
    report = market.store.drift()
    assert {each.verdict for each in report.features} == {"not compared"}
    assert market.run("drift").returncode == 0


def test_values_that_move_have_drifted(market: Workspace) -> None:
    """The command tells which, why, and from which state, and exits with 2."""
    moved(market, "i % 400 + 1300.0")
    done = market.run("drift")
    assert done.returncode == 2
    assert "user_profile.income (accounts) has drifted from the run before\n  PSI " in done.stdout
    assert "affordability.monthly (lending) has drifted from the run before" in done.stdout
    assert "Steady\n  user_profile.age: PSI 0.00\n" in done.stdout
    assert done.stdout.endswith("2 of 3 features have drifted.\n")
    (income,) = market.store.drift(["user_profile.income"]).features
    assert income.before is not None
    assert income.now is not None
    assert (income.before.serial, income.now.serial) == (1, 2)
    assert (income.before.mean, income.now.mean) == pytest.approx((1179.5, 1479.5), abs=20)
    assert income.psi is not None
    assert income.psi > 0.25


def test_json_has_the_same(market: Workspace) -> None:
    """Each feature with its verdict, both sides and the reasons, and the limits."""
    moved(market, "i % 400 + 1300.0")
    document = json.loads(market.run("drift", "user_profile", "--format", "json").stdout)
    assert document["drifted"] == 1
    assert document["limits"] == {"psi": 0.25, "nulls": 0.05, "volume": 0.5}
    assert [(each["feature"], each["verdict"]) for each in document["features"]] == [
        ("user_profile.age", "steady"),
        ("user_profile.income", "drifted"),
    ]
    assert document["features"][1]["reasons"][0]["code"] == "psi"
    assert document["features"][1]["before"]["serial"] == 1


def test_more_nulls_are_drift(market: Workspace) -> None:
    """A share of NULLs that rises by the limit or more is told, and one that falls is none."""
    moved(market, "CASE WHEN i % 10 > 0 THEN i % 400 + 1000.0 END")
    (income,) = market.store.drift(["user_profile.income"]).features
    assert "10.0 % are NULL instead of 0.0 %: 0.05 or more" in [each.text for each in income.reasons]
    moved(market, "i % 400 + 1000.0")
    (income,) = market.store.drift(["user_profile.income"]).features
    assert "nulls" not in [each.code for each in income.reasons]


def test_lost_rows_are_drift(market: Workspace) -> None:
    """A table of less than half its rows is told."""
    moved(market, "i % 400 + 1000.0", rows=400)
    (age,) = market.store.drift(["user_profile.age"]).features
    assert [each.text for each in age.reasons] == ["400 rows instead of 1,000: 0.5 or more of change"]


def test_the_project_sets_the_limits(market: Workspace, edit: Edit) -> None:
    """With higher limits the same change is steady."""
    moved(market, "i % 400 + 1300.0", rows=400)
    edit("featproject.toml", "[project]", "[drift]\npsi = 100.0\nvolume = 0.9\n\n[project]")
    assert market.run("drift").returncode == 0
    edit("featproject.toml", "psi = 100.0", "psi = 0")
    assert "drift.psi" in market.run("drift").stderr


def test_a_state_can_be_compared_with(market: Workspace) -> None:
    """The newest run up to the state is taken; a table may have gained rows since without drifting."""
    moved(market, "i % 400 + 1300.0")
    moved(market, "i % 400 + 1000.0", rows=3000)
    (income,) = market.store.drift(["user_profile.income"], against=1).features
    assert (income.against, income.verdict) == ("state 1", "steady")
    assert income.before is not None
    assert income.before.serial == 1
    with pytest.raises(StoreError):
        market.store.drift(against=99)


def test_a_model_is_compared_with_its_training(market: Workspace) -> None:
    """A model's name, and the lock of its training set, compare with the state it was trained at, not with the run before."""
    lock = market.store.training_set(
        "credit_risk@1", "SELECT 1 AS user_id, TIMESTAMP '2026-02-01' AS at", timestamp="at"
    ).lock
    (market.root / "model.lock.json").write_text(json.dumps(lock), encoding="utf-8")
    moved(market, "i % 400 + 1300.0")
    moved(market, "i % 400 + 1300.0 + i % 2")
    assert market.run("drift", "user_profile.income").returncode == 0
    by_name, by_lock = market.run("drift", "loan_default"), market.run("drift", "--lock", "model.lock.json")
    assert (by_name.returncode, by_lock.returncode) == (2, 2)
    assert "user_profile.income (accounts) has drifted from model loan_default" in by_name.stdout
    assert "user_profile.income (accounts) has drifted from the lock" in by_lock.stdout
    assert market.store.drift(lock=lock, names=["user_profile.age"]).drifted == ()


def test_a_kept_version_is_compared_with_itself(market: Workspace, edit: Edit) -> None:
    """A model that keeps an old definition is judged by the old definition's values."""
    edit("features/accounts/__init__.py", "annual_income", "annual_income * 100")
    assert market.run("apply", "--yes").returncode == 0
    (pinned,) = [each for each in market.store.drift(["loan_default"]).features if each.feature.endswith("income")]
    assert (pinned.verdict, pinned.psi) == ("steady", 0.0)
    (changed,) = market.store.drift(["user_profile.income"], against=1).features
    assert changed.note == "its definition was another one"
    assert changed.verdict == "drifted"


def test_renamed_features_keep_their_runs(market: Workspace, edit: Edit) -> None:
    """A run knows a feature by the name that it had then."""
    for file in ("features/accounts/__init__.py", "features/lending/__init__.py"):
        text = (market.root / file).read_text(encoding="utf-8")
        text = text.replace("income = Feature(float,", 'revenue = Feature(float, renamed_from="income",')
        text = text.replace("UserProfile.income", "UserProfile.revenue").replace("income / 12", "revenue / 12")
        (market.root / file).write_text(text, encoding="utf-8")
    assert market.run("apply", "--yes").returncode == 0
    moved(market, "i % 400 + 1300.0")
    (revenue,) = market.store.drift(["user_profile.revenue"]).features
    assert revenue.verdict == "drifted"


def test_new_and_gone_values_are_told(bank: Workspace, edit: Edit) -> None:
    """Values of a category that come and go."""
    edit(
        "features/accounts/__init__.py", "    income = ",
        "    kind = Feature(str, sql=\"CASE WHEN annual_income < 2000 THEN 'small' ELSE 'large' END\")\n    income = ",
    )  # fmt: skip
    bank.parquet("data/accounts.parquet", ROWS.format(income="i % 400 + 1000.0", rows=1000))
    bank.apply()
    moved(bank, "i % 400 + 3000.0")
    (kind,) = bank.store.drift(["user_profile.kind"]).features
    assert (kind.new_values, kind.gone_values) == (("large",), ("small",))
    assert "  new     large\n  gone    small\n" in bank.run("drift").stdout


def test_wrong_requests_are_refused(market: Workspace) -> None:
    """A name that is unknown or has no features, a file that is no lock, and two baselines at once."""
    with pytest.raises(FeatureNotFoundError):
        market.store.drift(["user_profile.incom"])
    with pytest.raises(RequestError, match="No features to compare"):
        market.store.drift(["accounts"])
    (market.root / "no.json").write_text("{}", encoding="utf-8")
    assert "Not a lock" in market.run("drift", "--lock", "no.json").stderr
    assert market.run("drift", "--lock", "no.json", "--against", "1").returncode == 1


def test_without_statistics_nothing_is_compared(market: Workspace, edit: Edit) -> None:
    """A project that turns statistics off is told that no run has measured its features."""
    edit("featproject.toml", "[project]", "[store]\nstatistics = false\n\n[project]")
    edit("features/accounts/__init__.py", "annual_income", "annual_income + 1")
    assert market.run("apply", "--yes").returncode == 0
    (income,) = market.store.drift(["user_profile.income"]).features
    assert income.note == "no run has measured it"


def test_the_features_that_cannot_be_compared_fit_eighty_columns(bank: Workspace) -> None:
    """They are listed under the reason that they share."""
    bank.apply()
    done = bank.run("drift", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert "Not compared: measured once, so there is nothing to compare with yet\n  affordability." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
