"""Tests of list, search, show and lineage: as text, as JSON and from Python."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import pytest

from featdsl import AmbiguousFeatureError, FeatureNotFoundError
from tests.conftest import ACCOUNTS, Workspace


@pytest.fixture
def applied(bank: Workspace) -> Workspace:
    """The small project, applied."""
    bank.apply()
    return bank


# list


def test_list_shows_each_feature_with_its_owner(applied: Workspace) -> None:
    """Columns are aligned, rows are in order of address."""
    assert applied.run("list").stdout == (
        "feature                type    entity  owner     description\n"
        "affordability.monthly  DOUBLE  user    lending   Gross income, USD per month.\n"
        "user_profile.age       BIGINT  user    accounts  Age in whole years.\n"
        "user_profile.income    DOUBLE  user    accounts  Gross income, USD per year.\n"
    )


def test_list_filters_by_owner_and_by_tag(applied: Workspace) -> None:
    """Only matching features are listed."""
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
        "private": False,
    }


# filters

MORE = """
from featdsl import Entity, Feature, FeatureGroup, Source
from features.accounts import accounts, user

shop = Entity("shop", keys={"user_id": int})


class Sales(FeatureGroup, entity=shop, source=accounts, tags={"money"}, access="private"):
    sold = Feature(int, sql="1")
"""
FILTERS = {
    "owner": ("accounts", "lending", "risk", "nobody"), "entity": ("user", "shop"), "tag": ("money", "kyc", "x"),
    "type": ("int", "DOUBLE", "bigint", "float", "VARCHAR"), "set": ("credit_risk", "credit_risk@1", "credit_risk@2"),
}  # fmt: skip


@pytest.fixture
def several(bank: Workspace) -> Workspace:
    """The small project with a private group of another entity, applied."""
    bank.write({"features/risk/__init__.py": MORE}).apply()
    return bank


def facts() -> dict[str, dict[str, set[str]]]:
    """Return the filter values of each feature, written by hand."""
    one, both = {"credit_risk", "credit_risk@1", "credit_risk@2"}, {"credit_risk", "credit_risk@2"}
    real, whole = {"DOUBLE", "float"}, {"BIGINT", "bigint", "int"}
    return {
        "affordability.monthly": {"owner": {"lending"}, "entity": {"user"}, "tag": set(), "type": real, "set": both},
        "sales.sold": {"owner": {"risk"}, "entity": {"shop"}, "tag": {"money"}, "type": whole, "set": set()},
        "user_profile.age": {"owner": {"accounts"}, "entity": {"user"}, "tag": set(), "type": whole, "set": one},
        "user_profile.income": {
            "owner": {"accounts"}, "entity": {"user"}, "tag": {"money", "kyc"}, "type": real, "set": one,
        },
    }  # fmt: skip


def test_filters_choose_what_has_them_all(several: Workspace) -> None:
    """Single filters and pairs, in list and search, agree with a table written by hand."""
    store, known = several.store, facts()
    single = [{name: value} for name, values in FILTERS.items() for value in values]
    for given in [*single, *(one | other for one in single for other in single)]:
        right = [name for name, has in known.items() if all(value in has[key] for key, value in given.items())]
        assert [each.address for each in store.features(**given)] == right, given
        found = store.search("gross income age month sold", kind="feature", **given)
        assert sorted(each.address for each in found) == right, given


@pytest.mark.parametrize(
    ("kind", "listed"),
    [
        ("group", "group          entity  owner     description\n"
                  "affordability  user    lending   What an account holder can pay.\n"
                  "sales          shop    risk      (private)\n"
                  "user_profile   user    accounts  Who the account holder is.\n"),
        ("set", "set            entity  owner    description\ncredit_risk@1  user    lending\ncredit_risk@2  user    lending\n"),
        ("model", "model         entity  owner    description\nloan_default  user    lending\n"),
        ("source", "source    entity      owner     description\naccounts  shop, user  accounts\n"),
        ("entity", "entity  owner     description\nshop    risk\nuser    accounts\n"),
        ("team", "team      owner     description\n"
                 "accounts  accounts  2 features, 1 group, 1 source, 1 entity\n"
                 "lending   lending   1 feature, 1 group, 2 sets, 1 model\n"
                 "risk      risk      1 feature, 1 group, 1 entity\n"),
    ],
)  # fmt: skip
def test_each_kind_can_be_listed(kind: str, listed: str, several: Workspace) -> None:
    """The table and the JSON list the same definitions."""
    assert several.run("list", "--kind", kind).stdout == listed
    found = json.loads(several.run("list", "--kind", kind, "--format", "json").stdout)
    assert [(each["kind"], each["address"]) for each in found] == [
        (kind, line.split()[0]) for line in listed.splitlines()[1:]
    ]


def test_other_kinds_have_the_same_filters(several: Workspace) -> None:
    """A group matches by its features' sets, a model by the set that it trains on."""
    assert [each.address for each in several.store.definitions(kind="group", set="credit_risk@1")] == ["user_profile"]
    assert [each.address for each in several.store.definitions(kind="model", set="credit_risk")] == ["loan_default"]
    assert several.store.definitions(kind="model", set="credit_risk@2") == []
    assert [each.address for each in several.store.definitions(kind="set", entity="user")] == [
        "credit_risk@1",
        "credit_risk@2",
    ]


def test_private_features_are_marked(several: Workspace) -> None:
    """They are marked in list, search and show."""
    line = "sales.sold             BIGINT  shop    risk      (private)\n"
    assert line in several.run("list").stdout
    assert "feature sales.sold  risk   (private)\n" in several.run("search", "sold").stdout
    assert "access       private" in several.run("show", "sales.sold").stdout
    assert [each.private for each in several.store.search("sold", kind="feature")] == [True]


@pytest.mark.parametrize("command", [["list"], ["search", "income"]])
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--owner", "nobody"], "Nothing matches --owner nobody"),
        (["--tag", "x"], "Nothing matches --tag x"),
        (["--owner", "lending", "--tag", "kyc"], "Nothing matches --owner lending --tag kyc"),
    ],
)
def test_filters_that_nothing_matches_name_the_values(
    command: list[str], typed: list[str], said: str, several: Workspace
) -> None:
    """The message lists the values that match the other filters; JSON is an empty list."""
    done = several.run(*command, *typed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(said)
    if "nobody" in typed:
        assert "Possible values of --owner" in done.stdout
        assert "accounts, lending, risk.\n" in done.stdout
    if len(typed) == 4:
        assert done.stdout.endswith(
            "Possible values of --owner with the other filters: accounts.\nPossible values of --tag with the other filters: none.\n"
        )
    machines = several.run(*command, *typed, "--format", "json")
    assert (machines.stdout, machines.stderr.startswith(said)) == ("[]\n", True)


def test_the_list_from_python(applied: Workspace) -> None:
    """Python returns the same records as the command."""
    assert [each.address for each in applied.store.features()] == [
        "affordability.monthly",
        "user_profile.age",
        "user_profile.income",
    ]


def test_an_empty_store_lists_nothing(bank: Workspace) -> None:
    """The output says to apply first, without an error."""
    assert bank.run("list").stdout == "Nothing has been applied yet. Run: featdsl apply\n"


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
    """The intended feature is the best result, despite typos."""
    assert applied.store.search(words)[0].address == best


def test_what_matches_more_words_comes_first(applied: Workspace) -> None:
    """Two words narrow a search."""
    found = applied.store.search("income month")
    assert found[0].address == "affordability.monthly"
    assert [each.score for each in found[:2]] == sorted((each.score for each in found[:2]), reverse=True)


def test_search_finds_by_owner(applied: Workspace) -> None:
    """Searching a team's name finds its definitions."""
    found = {each.address for each in applied.store.search("lending")}
    assert {"affordability.monthly", "credit_risk@1", "credit_risk@2", "loan_default"} <= found


def test_search_for_nonsense_finds_nothing(applied: Workspace) -> None:
    """No result is better than a wrong one."""
    assert applied.store.search("zzzzqqqq") == []
    done = applied.run("search", "zzzzqqqq")
    assert (done.returncode, done.stdout) == (0, "No match for: zzzzqqqq\n")


def test_search_is_limited(applied: Workspace) -> None:
    """At most the requested number of results is returned."""
    found = json.loads(applied.run("search", "user", "--limit", "2", "--format", "json").stdout)
    assert len(found) == 2
    assert set(found[0]) == {"kind", "address", "owner", "description", "score", "deprecated", "private"}


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
    """JSON and Python give the same facts."""
    told = json.loads(applied.run("show", "income", "--format", "json").stdout)
    found = applied.store.describe("user_profile.income")
    assert told == json.loads(json.dumps(found.to_dict(), default=str))
    assert found.data["newest"] == datetime(2026, 1, 20)  # noqa: DTZ001 - stored times are UTC without a zone
    assert (found.data["rows"], found.data["null_share"]) == (20, 0.0)
    by_rank = [1000.0 * (math.ceil(share * 20) - 1) for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
    assert found.data["samples"] == by_rank


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
    shutil.rmtree(applied.root / ".featdsl")
    applied.apply()
    assert applied.store.describe("income").data["null_share"] == 0.25


def test_an_unknown_name_suggests_the_nearest(applied: Workspace) -> None:
    """The error suggests the nearest name."""
    done = applied.run("show", "user_profile.agee")
    assert (done.returncode, done.stderr) == (
        1,
        'Unknown name\n  Nothing called "user_profile.agee" has been applied.\n  Did you mean "user_profile.age"?\n',
    )
    with pytest.raises(FeatureNotFoundError):
        applied.store.describe("nothing_like_it")


# lineage


def test_lineage_is_a_tree_by_column(applied: Workspace) -> None:
    """Upstream down to source columns, downstream up to models."""
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
    """A bare name with several meanings is an error."""
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
        "  Write it as group.feature."
    )


def test_samples_are_typical_values(workspace: Workspace) -> None:
    """Samples of texts, and of numbers with few values, are the most frequent values."""
    words = ["zeta"] * 5 + ["alpha"] + ["mu"] * 3 + [f"b{number}" for number in range(9)]
    rows = ", ".join(f"({i}, '{word}', {len(word)})" for i, word in enumerate(words))
    workspace.parquet("data/a.parquet", f"SELECT * FROM (VALUES {rows}) t(user_id, word, size)")
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "p"\n',
            "features/__init__.py": (
                "from featdsl import *\nuser = Entity('user', keys={'user_id': int})\n"
                "class G(FeatureGroup, entity=user, source=Source('a', path='data/a.parquet')):\n"
                "    word = Feature(str)\n    size = Feature(int)\n"
            ),
        }
    ).apply()

    words_by_count = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    sizes_by_count = sorted(Counter(map(len, words)).items(), key=lambda item: (-item[1], item[0]))
    assert workspace.store.describe("g.word").data["samples"] == [word for word, _ in words_by_count[:5]]
    assert workspace.store.describe("g.size").data["samples"] == [size for size, _ in sizes_by_count[:5]]


def test_show_of_a_set_names_what_a_spine_and_a_call_bring(bank: Workspace) -> None:
    """The description has the set's keys by role and its request data, with types."""
    bank.write(
        {
            "features/risk/__init__.py": (
                "from featdsl import *\nfrom features.accounts import UserProfile, user\n"
                "class Asked(FeatureGroup, entity=user, inputs=[UserProfile.income, Request(amount=float)]):\n"
                "    share = Feature(float, sql='amount / income')\n"
                "both = FeatureSet('both', version=1, features=[\n"
                "    Asked.share, UserProfile.age.alias('age_of_partner', keys={'user_id': 'partner_id'})])\n"
            )
        }
    ).apply()

    found = bank.store.describe("both@1").definition
    assert found["keys"] == {"user_id": "BIGINT", "partner_id": "BIGINT"}
    assert found["request"] == {"amount": "DOUBLE"}
    shown = bank.run("show", "both@1").stdout
    assert "  keys      user_id BIGINT, partner_id BIGINT\n  request   amount DOUBLE\n" in shown


# ranking

RANKED = '''
from featdsl import Deprecated, Entity, Feature, FeatureGroup, FeatureSet, Model, Source

user = Entity("user", keys={"user_id": int})
raw = Source("raw", path="data/accounts.parquet", timestamp="updated_at")
paid = Source("paid", sql="SELECT user_id, updated_at, annual_income / 12 AS pay FROM {{ raw }}", timestamp="updated_at")


class Pay(FeatureGroup, entity=user, source=paid):
    """Pay."""

    a_level = Feature(float, sql="pay * 3")
    b_level = Feature(float, sql="pay * 5", description="Pay, in fifths.")
    c_level = Feature(float, sql="pay * 7", description="Pay, in sevenths.")
    d_level = Feature(float, sql="pay * 9", description="Pay, in ninths.", deprecated=Deprecated(since="2026-01-01"))
    other = Feature(float, sql="pay + 1", description="Level.")


levels = FeatureSet("levels", version=1, features=[Pay.c_level])
model = Model("model", features=levels)
'''


@pytest.fixture
def ranked(workspace: Workspace) -> Workspace:
    """Features of one name that differ in users, descriptions and deprecation, applied."""
    workspace.write({
        "featproject.toml": '[project]\nname = "ranks"\n', "features/__init__.py": "", "features/pay/__init__.py": RANKED,
    })  # fmt: skip
    workspace.parquet("data/accounts.parquet", ACCOUNTS).apply()
    return workspace


def test_the_used_and_described_come_first_and_the_deprecated_last(ranked: Workspace) -> None:
    """Among equally good matches; a description that matches stays behind all names that match."""
    found = ranked.store.search("level", kind="feature")
    assert [each.address for each in found] == ["pay.c_level", "pay.b_level", "pay.a_level", "pay.d_level", "pay.other"]
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)


def test_stale_values_come_later(ranked: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """With a short time to be fresh in, all are stale, and their scores are smaller."""
    fresh = {each.address: each.score for each in ranked.store.search("level", kind="feature")}
    edit("featproject.toml", "[project]", '[catalogue]\nstale_after = "1 second"\n[project]')
    time.sleep(1.1)
    stale = {each.address: each.score for each in ranked.store.search("level", kind="feature")}
    assert fresh.keys() == stale.keys()
    assert all(stale[name] < fresh[name] for name in fresh)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("annual_income", {"a_level", "b_level", "c_level", "d_level", "other"}),
        ("pay * 7", {"a_level", "b_level", "c_level", "d_level", "other"}),
    ],
)
def test_columns_and_sql_find_the_features_computed_from_them(words: str, found: set[str], ranked: Workspace) -> None:
    """Also the stored columns behind a query; the feature that has all the words is the first."""
    names = [each.address.partition(".")[2] for each in ranked.store.search(words, kind="feature")]
    assert set(names) == found
    if "7" in words:
        assert names[0] == "c_level"


def test_a_name_of_two_words_finds_what_has_it_first(applied: Workspace) -> None:
    """`birth_date` is one column, and not any birth or date."""
    assert applied.store.search("birth_date", kind="feature")[0].address == "user_profile.age"
