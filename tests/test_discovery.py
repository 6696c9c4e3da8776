"""Finding features and judging them: list, search, show, lineage; each for people, for machines and from Python."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from featdsl import AmbiguousFeatureError, FeatureNotFoundError
from tests.conftest import Workspace


@pytest.fixture
def applied(bank: Workspace) -> Workspace:
    """The small project, applied."""
    bank.apply()
    return bank


# list


def test_list_shows_each_feature_with_its_owner(applied: Workspace) -> None:
    """Aligned columns, in order of address."""
    assert applied.run("list").stdout == (
        "feature                type    of    owner     description\n"
        "affordability.monthly  DOUBLE  user  lending   Gross income, USD per month.\n"
        "user_profile.age       BIGINT  user  accounts  Age in whole years.\n"
        "user_profile.income    DOUBLE  user  accounts  Gross income, USD per year.\n"
    )


def test_list_filters_by_owner_and_by_tag(applied: Workspace) -> None:
    """Filters leave the rest out."""
    by_owner = json.loads(applied.run("list", "--owner", "lending", "--format", "json").stdout)
    assert [each["address"] for each in by_owner] == ["affordability.monthly"]
    (by_tag,) = json.loads(applied.run("list", "--tag", "kyc", "--format", "json").stdout)
    assert by_tag == {
        "address": "user_profile.income",
        "dtype": "DOUBLE",
        "entity": "user",
        "owner": "accounts",
        "description": "Gross income, USD per year.",
        "tags": ["kyc", "money"],
        "adhoc": False,
        "deprecated": None,
    }


def test_the_list_from_python(applied: Workspace) -> None:
    """The same records without a process."""
    assert [each.address for each in applied.store.features()] == [
        "affordability.monthly",
        "user_profile.age",
        "user_profile.income",
    ]


def test_an_empty_store_lists_nothing(bank: Workspace) -> None:
    """It says what to do instead of failing."""
    assert bank.run("list").stdout == "No features here yet. Run: featdsl apply\n"


# search


@pytest.mark.parametrize(
    ("words", "best"),
    [
        ("income", "user_profile.income"),
        ("incmoe", "user_profile.income"),
        ("inc", "user_profile.income"),
        ("Age", "user_profile.age"),
        ("kyc", "user_profile.income"),
        ("birth_date", "user_profile.age"),
        ("per month", "affordability.monthly"),
        ("account holder pay", "affordability"),
        ("loan default", "loan_default"),
        ("credit risk", "credit_risk@1"),
    ],
)
def test_search_finds_by_name_tag_column_and_description(applied: Workspace, words: str, best: str) -> None:
    """The best result is the one that was meant, typing errors and all."""
    assert applied.store.search(words)[0].address == best


def test_what_matches_more_words_comes_first(applied: Workspace) -> None:
    """Two words narrow a search."""
    found = applied.store.search("income month")
    assert found[0].address == "affordability.monthly"
    assert [each.score for each in found[:2]] == sorted((each.score for each in found[:2]), reverse=True)


def test_search_finds_by_owner(applied: Workspace) -> None:
    """A team's name brings up what it owns."""
    found = {each.address for each in applied.store.search("lending")}
    assert {"affordability.monthly", "credit_risk@1", "credit_risk@2", "loan_default"} <= found


def test_search_for_nonsense_finds_nothing(applied: Workspace) -> None:
    """No result is better than a wrong one."""
    assert applied.store.search("zzzzqqqq") == []
    done = applied.run("search", "zzzzqqqq")
    assert (done.returncode, done.stdout) == (0, "Nothing is like: zzzzqqqq\n")


def test_search_is_limited(applied: Workspace) -> None:
    """As many as were asked for."""
    found = json.loads(applied.run("search", "user", "--limit", "2", "--format", "json").stdout)
    assert len(found) == 2
    assert set(found[0]) == {"kind", "address", "owner", "description", "score", "deprecated"}


# show


def test_show_tells_all_about_a_feature(applied: Workspace) -> None:
    """Definition, owner, type, freshness, size, nulls, samples, and who uses it."""
    text = applied.run("show", "age").stdout
    built = applied.store.describe("age").data["built_at"]
    engine = applied.store.describe("age").data["engine"]
    fingerprint = applied.store.describe("age").definition["fingerprint"]
    (checked,) = applied.store.describe("age").checks
    assert text == (
        "feature user_profile.age  BIGINT\n"
        "  Age in whole years.\n"
        "  owner        accounts\n"
        "  declared     features/accounts/__init__.py:11\n"
        "  group        user_profile\n"
        "  entity       user\n"
        "  keys         user_id BIGINT\n"
        "  sql          date_diff('year', birth_date, updated_at)\n"
        "  reads        birth_date, updated_at\n"
        "  columns      accounts.birth_date, accounts.updated_at\n"
        "  expect       age BETWEEN 0 AND 120\n"
        f"  fingerprint  {fingerprint}\n"
        "  rows         20, 0.0 % null\n"
        "  newest       2026-01-20 00:00:00\n"
        f"  built        {built} by {engine}\n"
        "  samples      33, 34, 35, 36\n"
        f"  checks       {checked.checked_at[:19]} ok       age BETWEEN 0 AND 120\n"
        "  made of      source accounts (accounts)\n"
        "  used by      model loan_default (lending)\n"
        "               set credit_risk@1 (lending)\n"
        "               set credit_risk@2 (lending)\n"
    )


def test_show_for_machines_is_what_describe_gives(applied: Workspace) -> None:
    """One model behind both."""
    told = json.loads(applied.run("show", "income", "--format", "json").stdout)
    found = applied.store.describe("user_profile.income")
    assert told == json.loads(json.dumps(found.to_dict(), default=str))
    assert found.data["newest"] == datetime(2026, 1, 20)  # noqa: DTZ001 - stored times are UTC without a zone
    assert (found.data["rows"], found.data["null_share"]) == (20, 0.0)
    assert found.data["samples"] == [0.0, 1000.0, 2000.0, 3000.0, 4000.0]


@pytest.mark.parametrize("name", ["user_profile", "credit_risk@2", "loan_default", "accounts", "user"])
def test_show_knows_every_kind_of_thing(applied: Workspace, name: str) -> None:
    """Groups, sets, models, sources and entities are described too."""
    done = applied.run("show", name)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith(name)


def test_nulls_are_counted(applied: Workspace) -> None:
    """The share of NULL is measured on the stored rows."""
    applied.parquet(
        "data/accounts.parquet",
        "SELECT i AS user_id, TIMESTAMP '2026-01-01' AS updated_at, DATE '1990-01-01' AS birth_date, "
        "CASE WHEN i < 3 THEN 1.0 END AS annual_income FROM range(4) t(i)",
    )
    (applied.root / ".featdsl" / "store.duckdb").unlink()
    applied.apply()
    assert applied.store.describe("income").data["null_share"] == 0.25


def test_an_unknown_name_suggests_the_nearest(applied: Workspace) -> None:
    """Errors help to find what was meant."""
    done = applied.run("show", "user_profile.agee")
    assert (done.returncode, done.stderr) == (
        1,
        'Unknown name\n  Nothing called "user_profile.agee" has been applied.\n  Did you mean "user_profile.age"?\n',
    )
    with pytest.raises(FeatureNotFoundError):
        applied.store.describe("nothing_like_it")


# lineage


def test_lineage_is_a_tree_by_column(applied: Workspace) -> None:
    """What a feature is made of, down to the columns, and what is made of it, up to the models."""
    assert applied.run("lineage", "income").stdout == (
        "user_profile.income (accounts)\n"
        "├─ made of\n"
        "│  └─ source accounts (accounts): annual_income\n"
        "└─ used by\n"
        "   ├─ affordability.monthly (lending)\n"
        "   │  └─ set credit_risk@2 (lending)\n"
        "   ├─ set credit_risk@1 (lending)\n"
        "   │  └─ model loan_default (lending)\n"
        "   └─ set credit_risk@2 (lending)\n"
    )


def test_lineage_as_mermaid(applied: Workspace) -> None:
    """A diagram that a pull request shows."""
    assert applied.run("lineage", "affordability.monthly", "--format", "mermaid").stdout == (
        "flowchart LR\n"
        '  n0["affordability.monthly<br/><small>lending</small>"]\n'
        '  n1["user_profile.income<br/><small>accounts</small>"]\n'
        '  n2{{"credit_risk@2<br/><small>lending</small>"}}\n'
        '  n3[("accounts<br/><small>accounts</small>")]\n'
        "  n0 --> n2\n"
        "  n1 --> n0\n"
        "  n1 --> n2\n"
        "  n3 --> n1\n"
        "  style n0 stroke-width:3px\n"
    )


def test_lineage_for_machines(applied: Workspace) -> None:
    """Nodes and edges; a group starts at each of its features."""
    found = json.loads(applied.run("lineage", "user_profile", "--format", "json").stdout)
    assert found["starts"] == ["feature user_profile.age", "feature user_profile.income"]
    assert ["feature user_profile.income", "feature affordability.monthly"] in found["edges"]
    assert applied.store.lineage("user_profile").to_dict()["name"] == "user_profile"


def test_lineage_goes_through_sql_sources_to_columns(workspace: Workspace) -> None:
    """Columns are traced through queries over other sources."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "shop"\n',
            "features/shop.py": '''
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
orders = Source("orders", path="orders.parquet", timestamp="ts")
daily = Source("daily", timestamp="day", sql="""
    SELECT user_id, date_trunc('day', ts) AS day, sum(price * amount) AS total FROM {{ orders }} GROUP BY ALL""")


class Spending(FeatureGroup, entity=user, source=daily):
    spend = Feature(float, sql="total")
''',
        }
    ).parquet("orders.parquet", "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS ts, 2.0 AS price, 3 AS amount, 1 AS x")
    workspace.apply()
    assert workspace.run("lineage", "spend").stdout == (
        "spending.spend (shop)\n└─ made of\n   └─ source daily (shop)\n      └─ source orders (shop): amount, price, ts, user_id\n"
    )


def test_a_name_of_several_groups_lists_them(workspace: Workspace) -> None:
    """A bare name must mean one thing."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "shop"\n',
            "features/shop.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
people = Source("people", frame=[{"user_id": 1, "size": 2}])


class Shoes(FeatureGroup, entity=user, source=people):
    size = Feature(int)


class Hats(FeatureGroup, entity=user, source=people):
    size = Feature(int)
""",
        }
    )
    workspace.apply()
    with pytest.raises(AmbiguousFeatureError) as raised:
        workspace.store.get_features(["size"], user_id=1)
    assert str(raised.value) == (
        "Ambiguous feature\n"
        '  "size" is a feature of several groups: hats.size, shoes.size.\n'
        "  Say which, as group.feature."
    )
