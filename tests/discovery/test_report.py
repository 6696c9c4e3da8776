"""The report on how features are used, against counts and likenesses made by hand."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from featdsl.discovery.alike_values import SampleSize, alike_values
from featdsl.discovery.report import ReportInputs, StaleGroup, TeamUse, report
from featdsl.engines.reading import Reader
from featdsl.errors import RequestError
from tests.conftest import Workspace

RISK = '''
from featdsl import Feature, FeatureGroup, FeatureSet
from features.accounts import UserProfile, accounts, user
from features.lending import Affordability


class Risk(FeatureGroup, entity=user, source=accounts):
    yearly = Feature(float, sql="annual_income", description="Income.")
    doubled = Feature(float, sql="annual_income * 2")


class Derived(FeatureGroup, entity=user, inputs=[Risk.doubled]):
    """What nothing needs."""

    unneeded = Feature(float, sql="doubled + 1", description="Unneeded.")


fraud_v1 = FeatureSet("fraud", version=1, features=[UserProfile.income, Affordability.monthly])
'''
LOOSE = 'from featdsl import Entity\n\nshop = Entity("shop", keys={"shop_id": int})\n'


@pytest.fixture
def used(bank: Workspace) -> Workspace:
    """The small project with a third team, an unused group and a definition of no team, applied."""
    bank.write({"features/risk/__init__.py": RISK, "features/loose.py": LOOSE}).apply()
    return bank


def test_the_report_counts_who_uses_whose_features(used: Workspace) -> None:
    """Sets, models and derived features count, once for each feature."""
    found = used.store.report()
    assert found.uses == (
        TeamUse(team="lending", owner="accounts", features=2),
        TeamUse(team="lending", owner="lending", features=1),
        TeamUse(team="risk", owner="accounts", features=1),
        TeamUse(team="risk", owner="lending", features=1),
        TeamUse(team="risk", owner="risk", features=1),
    )
    shared = [(each.feature, each.teams, each.sets, each.models, each.derived) for each in found.shared]
    assert shared == [
        ("user_profile.income", ("lending", "risk"), ("credit_risk@1", "credit_risk@2", "fraud@1"), ("loan_default",),
         ("affordability.monthly",)),
        ("user_profile.age", ("lending",), ("credit_risk@1", "credit_risk@2"), ("loan_default",), ()),
        ("affordability.monthly", ("risk",), ("credit_risk@2", "fraud@1"), (), ()),
    ]  # fmt: skip


def test_features_that_no_set_needs_cost_their_share_of_their_tables(used: Workspace) -> None:
    """A feature that only an unused feature reads is unused too."""
    snapshot, found = used.store.applied(), used.store.report()
    tables = {name: snapshot.tables[each.table] for name, each in snapshot.catalog.features.items()}
    expected = {
        name: (tables[name].bytes // share, round(tables[name].seconds / share, 3))
        for name, share in {"risk.yearly": 2, "risk.doubled": 2, "derived.unneeded": 1}.items()
    }
    assert {each.feature: (each.bytes, each.seconds) for each in found.unused} == expected
    assert all(each.bytes > 0 and each.seconds > 0 for each in found.unused)
    assert [each.bytes for each in found.unused] == sorted((each.bytes for each in found.unused), reverse=True)


def test_the_report_lists_duplicates_and_what_lacks_an_owner_or_a_description(used: Workspace) -> None:
    """A group without a docstring and a feature without a description are undocumented; a file of no team has no owner."""
    found = used.store.report()
    assert [each.features for each in found.duplicates] == [("risk.yearly", "user_profile.income")]
    assert [(each.kind, each.address) for each in found.ownerless] == [("entity", "shop")]
    assert [(each.kind, each.address) for each in found.undocumented] == [
        ("group", "risk"),
        ("feature", "risk.doubled"),
    ]


def test_a_group_is_stale_some_time_after_it_was_computed(used: Workspace) -> None:
    """The time of the last build, refresh or look at the sources counts; the oldest table of a group decides."""
    snapshot = used.store.applied()
    built = {each.built_at for each in snapshot.tables.values()}
    first = min(datetime.fromisoformat(each).replace(tzinfo=UTC) for each in built)

    def stale(days: int, applied: dict[int, str] | None = None) -> tuple[StaleGroup, ...]:
        return report(
            ReportInputs(snapshot=snapshot, project="bank", now=first + timedelta(days=days), applied=applied or {})
        ).stale

    assert stale(30) == ()
    assert {each.group for each in stale(31)} == {"user_profile", "affordability", "risk", "derived"}
    assert stale(31, {1: (first + timedelta(days=5)).isoformat()}) == ()
    assert used.store.report(stale_after="1 second").stale_after == "1 second"


def test_a_team_sees_what_it_owns_and_uses(used: Workspace) -> None:
    """Also the duplicates of its features, and the teams that use them."""
    found = used.store.report(team="lending")
    assert found.features == 1
    assert {(each.team, each.owner) for each in found.uses} == {
        ("lending", "accounts"), ("lending", "lending"), ("risk", "lending"),
    }  # fmt: skip
    assert [each.feature for each in found.shared] == ["affordability.monthly"]
    assert (found.unused, found.duplicates, found.undocumented) == ((), (), ())
    assert [each.features for each in used.store.report(team="accounts").duplicates] != []
    with pytest.raises(RequestError, match='Did you mean "lending"'):
        used.store.report(team="lendign")
    with pytest.raises(RequestError, match="3 parsecs"):
        used.store.report(stale_after="3 parsecs")


def test_the_report_as_text_fits_eighty_columns(used: Workspace) -> None:
    """Each section has a title, and a sentence if there is nothing to list."""
    done = used.run("report", COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.startswith(
        "Report on bank, state 1: 6 features\n"
        "\n"
        "Who uses whose features\n"
        "  team     of accounts  of lending  of risk\n"
        "  lending  2            1\n"
        "  risk     1            1           1\n"
        "\n"
        "Most shared\n"
        "  feature                owner     used by        in\n"
        "  user_profile.income    accounts  lending, risk  3 sets, 1 model, 1 feature\n"
    )
    assert "\nStale: computed more than 30 days ago\n  No group is stale.\n" in done.stdout


def test_the_report_as_markdown_and_json_has_the_same(used: Workspace) -> None:
    """JSON has a format number; Markdown has a table for each section."""
    found = json.loads(used.run("report", "--format", "json").stdout)
    assert (found["format"], found["project"], found["serial"], found["values"]) == (1, "bank", 1, None)
    assert [each["feature"] for each in found["unused"]] == [each.feature for each in used.store.report().unused]
    markdown = used.run("report", "--format", "markdown", "--team", "risk").stdout
    assert "| team | of accounts | of lending | of risk |\n|---|---|---|---|\n| risk | 1 | 1 | 1 |\n" in markdown
    assert "| risk.yearly | user_profile.income | risk, accounts |" in markdown


def test_an_empty_store_has_an_empty_report(bank: Workspace) -> None:
    """It says that there is nothing, and does not fail."""
    done = bank.run("report", "--values")
    assert done.returncode == 0, done.stderr
    assert "No set and no derived feature uses a feature." in done.stdout


# by values

ROWS = """
    SELECT i AS user_id, sin(i * 12.9898) * 43758.5453 - floor(sin(i * 12.9898) * 43758.5453) AS x,
           sin(i * 78.233) * 23421.631 - floor(sin(i * 78.233) * 23421.631) AS noise,
           i % 97 = 3 AS rare, i % 89 = 5 AS rare_too, CASE WHEN hash(i) % 5 = 0 THEN NULL ELSE 'c' || hash(i) % 7 END AS city
    FROM range(400) t(i)
"""
ALIKE = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
one = Source("one", path="data/one.parquet")
two = Source("two", path="data/two.parquet")


class One(FeatureGroup, entity=user, source=one):
    x = Feature(float)
    own = Feature(float, sql="x * 3")
    noise = Feature(float)
    rare = Feature(bool)
    odd = Feature(bool, sql="x > 0.6")
    huge = Feature(float, sql="CASE user_id % 4 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN 'inf'::DOUBLE WHEN 2 THEN 1e300 + x END")
    long = Feature(str, sql="repeat(user_id::VARCHAR, 1000)")
    city = Feature(str)


class Two(FeatureGroup, entity=user, source=two):
    linear = Feature(float, sql="2 * x + 1 + noise / 1000")
    falling = Feature(float, sql="-x")
    curved = Feature(float, sql="x ** 9")
    same = Feature(float, sql="x")
    weak = Feature(float, sql="x + noise")
    rare_too = Feature(bool)
    odd_too = Feature(bool, sql="NOT (x <= 0.6)")
    huge_too = Feature(float, sql="-1e300 - x")
    long_too = Feature(str, sql="repeat(user_id::VARCHAR, 1000) || ''")
    town = Feature(str, sql="city")


class Derived(FeatureGroup, entity=user, inputs=[One.x]):
    tripled = Feature(float, sql="x * 3 + 1")
"""


@pytest.fixture
def alike(workspace: Workspace) -> Workspace:
    """Two groups over two files of the same entities, applied."""
    workspace.parquet("data/one.parquet", ROWS).parquet("data/two.parquet", ROWS)
    workspace.write({
        "featproject.toml": '[project]\nname = "alike"\n', "features/__init__.py": "", "features/team/__init__.py": ALIKE,
    }).apply()  # fmt: skip
    return workspace


def ranks(values: Sequence[float]) -> list[int]:
    """Return the rank of each of some different values."""
    place = {value: at for at, value in enumerate(sorted(values))}
    return [place[value] for value in values]


def test_alike_values_of_different_groups_are_found(alike: Workspace) -> None:
    """Correlated numbers and equal texts are; rare flags that are both nearly always false, and derived features, are not."""
    store = alike.store
    values = {name: [*store.get_feature(f"{group}.{name}").order("user_id").df()[name]] for group, name in [
        ("one", "x"), ("two", "linear"), ("two", "falling"), ("two", "curved"), ("two", "weak"),
    ]}  # fmt: skip
    found = store.report(values=SampleSize(threshold=0.95)).values
    assert found is not None
    pairs = {each.features: each for each in found.pairs}
    numbers = {"one.x", "one.own", "two.linear", "two.falling", "two.curved", "two.same", "derived.tripled"}
    expected = {
        (one, other) for one in numbers for other in numbers
        if one < other and one.partition(".")[0] != other.partition(".")[0] and {one, other} != {"one.x", "derived.tripled"}
    } | {("one.odd", "two.odd_too"), ("one.city", "two.town"), ("one.long", "two.long_too")}  # fmt: skip
    assert set(pairs) == expected
    for name in ("linear", "falling", "curved"):
        linear = statistics.correlation(values["x"], values[name])
        monotone = statistics.correlation(ranks(values["x"]), ranks(values[name]))
        assert pairs["one.x", f"two.{name}"].likeness == pytest.approx(max(linear, monotone, key=abs), abs=1e-3)
    assert pairs["one.x", "two.same"].is_equal
    assert not pairs["one.x", "two.linear"].is_equal
    assert pairs["one.city", "two.town"].measure == "agreement"
    assert statistics.correlation(values["x"], values["weak"]) < 0.95


def test_few_of_all_pairs_are_compared(workspace: Workspace) -> None:
    """Of features that have nothing to do with each other, hardly any pair is a candidate."""
    columns = ", ".join(
        f"hash(i * 1000 + {n}) % 10007 AS a{n:02}, hash(i * 1000 + 500 + {n}) % 10007 AS b{n:02}" for n in range(60)
    )
    workspace.parquet("data/wide.parquet", f"SELECT i AS user_id, {columns} FROM range(500) t(i)")
    groups = "".join(
        f"\n\nclass {name}(FeatureGroup, entity=user, source=wide):\n"
        + "".join(f'    f{n:02} = Feature(int, sql="{"a07 * 2" if n == 7 else f"{side}{n:02}"}")\n' for n in range(60))
        for name, side in (("Left", "a"), ("Right", "b"))
    )
    head = "from featdsl import Entity, Feature, FeatureGroup, Source\n\nuser = Entity('user', keys={'user_id': int})\n"
    source = "wide = Source('wide', path='data/wide.parquet')\n"
    files = {
        "featproject.toml": '[project]\nname = "wide"\n',
        "features/__init__.py": "",
        "features/team.py": head + source + groups,
    }
    workspace.write(files).apply()
    snapshot = workspace.store.applied()
    found = workspace.store.report(values=SampleSize()).values
    assert found is not None
    assert (found.features, len(snapshot.catalog.features)) == (120, 120)
    assert 1 <= found.compared < 60 * 60 / 20
    assert found.pairs == (), "the report lists this pair as one of the same meaning"
    everything = alike_values(snapshot, opening(workspace), SampleSize())
    assert [each.features for each in everything.pairs] == [("left.f07", "right.f07")]


def opening(workspace: Workspace) -> Callable[[set[str]], Reader]:
    """Return what opens the stored tables of a project."""
    return workspace.store._open().reader_of
