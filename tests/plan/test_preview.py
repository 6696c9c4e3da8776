"""`featdsl plan --preview`: how far values move, held against what apply then publishes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from featdsl import pipeline
from featdsl.cli.main import main
from featdsl.definitions.value_shifts import NotCompared, Shift
from featdsl.plan import planfile
from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
Edit = Callable[[str, str, str], None]
Held = dict[tuple[object, ...], object]


def run(workspace: Workspace, *arguments: str) -> str:
    """Return what featdsl prints."""
    done = CliRunner().invoke(main, ["-C", str(workspace.root), *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def previewed(workspace: Workspace, how: str = "--preview") -> dict[str, dict[str, Any]]:
    """Return the preview of a plan by feature."""
    found = json.loads(run(workspace, "plan", how, "--format", "json"))["preview"]
    return {each["feature"]: each for each in found}


def moved(workspace: Workspace, feature: str) -> dict[str, object]:
    """Return what a preview tells of a feature that its values and NULLs can be counted by."""
    (found,) = [each for name, each in previewed(workspace, "--preview=full").items() if name == feature]
    nulls = (found["before"]["nulls"], found["after"]["nulls"])
    return {"rows": found["rows"], "changed": found["changed"], "nulls": nulls}


def held(workspace: Workspace, feature: str, keys: str = "user_id") -> Held:
    """Return the published values of a feature by keys and time."""
    group, _, name = feature.partition(".")
    rows = workspace.published(f"SELECT {keys}, event_timestamp, {name} FROM prod.{group}")
    return {tuple(row[:-1]): row[-1] for row in rows}


def at(values: Held, keys: tuple[object, ...], time: Any) -> object:
    """Return the value that keys have at a time: that of their latest row until then."""
    known = [(when, value) for (*own, when), value in values.items() if tuple(own) == keys and when <= time]
    return max(known)[1] if known else None


def difference(before: Held, after: Held) -> dict[str, object]:
    """Return what a preview should tell of values at all times that either has."""
    moments = {*before, *after}
    pairs = [(at(before, keys, time), at(after, keys, time)) for *own, time in moments for keys in [tuple(own)]]
    return {
        "rows": len(pairs),
        "changed": sum(old != new for old, new in pairs),
        "nulls": tuple(sum(pair[side] is None for pair in pairs) for side in (0, 1)),
    }


def check(workspace: Workspace, feature: str, change: Callable[[], object], keys: str = "user_id") -> None:
    """Check that a preview tells what a change then does to published values, and that it does something."""
    run(workspace, "apply", "--yes")
    before = held(workspace, feature, keys)
    change()
    told = moved(workspace, feature)
    run(workspace, "apply", "--yes")
    assert told == difference(before, held(workspace, feature, keys))
    assert told["changed"] != 0


# What people see

TEXT = """
Value shifts
  affordability.monthly (lending)
    95.0 % of 20 rows change (4 entities), PSI 6.61
               nulls   mean  p5    p50    p95
      before   0.0 %  791.7   0    750  1,500
      after   50.0 %  1,062   0  1,000  2,125
    user_id 0 at 2026-01-17 00:00:00: 1333.33 → 2000.0
    user_id 1 at 2026-01-18 00:00:00: 1416.67 → 2125.0
    user_id 2 at 2026-01-19 00:00:00: 1500.0 → NULL
    ! large shift: PSI 6.61 is 0.25 or more
    ! more nulls: 10 more rows of 20 are NULL
  user_profile.income (accounts)
    95.0 % of 20 rows change (4 entities), PSI 6.61
               nulls    mean  p5     p50     p95
      before   0.0 %   9,500   0   9,000  18,000
      after   50.0 %  12,750   0  12,000  25,500
    user_id 0 at 2026-01-17 00:00:00: 16000.0 → 24000.0
    user_id 1 at 2026-01-18 00:00:00: 17000.0 → 25500.0
    user_id 2 at 2026-01-19 00:00:00: 18000.0 → NULL
    ! large shift: PSI 6.61 is 0.25 or more
    ! more nulls: 10 more rows of 20 are NULL
"""


def test_the_text_tells_before_and_after(bank: Workspace, edit: Edit) -> None:
    """A feature that changes, and one that is made of it."""
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, 'sql="annual_income"', 'sql="CASE WHEN user_id < 2 THEN annual_income * 1.5 END"')

    shown = run(bank, "plan", "--preview")

    start, end = shown.index("\nValue shifts"), shown.index("\nImpact")
    assert shown[start:end] == TEXT


def test_the_markdown_tells_before_and_after(bank: Workspace, edit: Edit) -> None:
    """A row a feature, and examples folded away."""
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, 'sql="annual_income"', 'sql="CASE WHEN user_id < 2 THEN annual_income * 1.5 END"')

    shown = run(bank, "plan", "--preview", "--format", "markdown")

    start, end = shown.index("#### Value shifts"), shown.index("#### Impact")
    assert shown[start:end] == MARKDOWN


MARKDOWN = """#### Value shifts

| feature | owner | rows that change | nulls | mean | p5 | p50 | p95 | PSI | |
|---|---|---|---|---|---|---|---|---|---|
| `affordability.monthly` | lending | 95.0 % of 20 (4 entities) | 0.0 % → 50.0 % | 791.7 → 1,062 | 0 | 750 → 1,000 | 1,500 → 2,125 | 6.61 | **large shift**: PSI 6.61 is 0.25 or more<br>**more nulls**: 10 more rows of 20 are NULL |
| `user_profile.income` | accounts | 95.0 % of 20 (4 entities) | 0.0 % → 50.0 % | 9,500 → 12,750 | 0 | 9,000 → 12,000 | 18,000 → 25,500 | 6.61 | **large shift**: PSI 6.61 is 0.25 or more<br>**more nulls**: 10 more rows of 20 are NULL |

<details><summary>Examples</summary>

| feature | entity | before | after |
|---|---|---|---|
| `affordability.monthly` | user_id 0 at 2026-01-17 00:00:00 | 1333.33 | 2000.0 |
| `affordability.monthly` | user_id 1 at 2026-01-18 00:00:00 | 1416.67 | 2125.0 |
| `affordability.monthly` | user_id 2 at 2026-01-19 00:00:00 | 1500.0 | NULL |
| `user_profile.income` | user_id 0 at 2026-01-17 00:00:00 | 16000.0 | 24000.0 |
| `user_profile.income` | user_id 1 at 2026-01-18 00:00:00 | 17000.0 | 25500.0 |
| `user_profile.income` | user_id 2 at 2026-01-19 00:00:00 | 18000.0 | NULL |

</details>

"""


def test_lines_fit_the_page(bank: Workspace, edit: Edit) -> None:
    """However long the reason is for which nothing was compared."""
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, 'sql="annual_income"', "sql=\"CASE WHEN user_id < 9 THEN CAST('no number' AS DOUBLE) END\"")
    done = CliRunner().invoke(main, ["-C", str(bank.root), "plan", "--preview"])
    section = done.output[done.output.index("Value shifts") :].partition("Impact")[0]
    assert "not compared: group user_profile: Conversion Error" in section
    assert max(map(len, section.splitlines())) <= 100


def test_a_plan_keeps_its_preview_and_is_applied_with_it(bank: Workspace, edit: Edit) -> None:
    """From JSON comes an equal plan; the same data give the same bytes."""
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, 'sql="annual_income"', 'sql="annual_income / 7"')
    texts = [run(bank, "plan", "--preview", "--format", "json") for _ in range(2)]
    assert texts[0] == texts[1]
    found = planfile.from_json(texts[0], name="plan.json")
    assert [each.feature for each in found.preview] == ["affordability.monthly", "user_profile.income"]
    assert planfile.to_json(found) == texts[0]
    bank.write({"plan.json": texts[0]})
    run(bank, "apply", str(bank.root / "plan.json"))
    assert run(bank, "plan", "--preview").endswith("Nothing to do: the store matches the code.\n")


def test_what_moves_no_value_is_not_previewed(bank: Workspace, edit: Edit) -> None:
    """A first plan, a description, a new feature, a removed one."""
    assert previewed(bank) == {}
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, "Age in whole years.", "Whole years of age.")
    edit(ACCOUNTS, "    income =", "    twice = Feature(float, sql='annual_income * 2')\n    income =")
    edit(LENDING, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])", "")
    edit(LENDING, '    monthly = Feature(float, sql="income / 12"', '    weekly = Feature(float, sql="income / 52"')
    assert previewed(bank) == {}
    assert "Value shifts" not in run(bank, "plan", "--preview")


def test_only_a_sample_or_all_can_be_previewed(bank: Workspace) -> None:
    """Another word is a usage error."""
    done = bank.run("plan", "--preview=some")
    assert (done.returncode, done.stdout) == (1, "")
    assert "'some' is not one of 'sample', 'full'" in done.stderr


# What is written


def bytes_of(folder: Path) -> dict[str, str]:
    """Return the hash of every file below a folder, but for what plans keep to be quicker the next time."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    files = (path for path in found if not path.name.startswith("memory-"))
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("how", ["--preview", "--preview=full"])
def test_nothing_is_written(bank: Workspace, edit: Edit, how: str) -> None:
    """Not to the store, nor anywhere else in the project."""
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, 'sql="annual_income"', 'sql="annual_income / 7"')
    before = bytes_of(bank.root)
    assert bank.run("plan", how).returncode == 0
    assert bytes_of(bank.root) == before


# Samples

MANY = """
    SELECT i % 3000 AS user_id, TIMESTAMP '2026-01-01' + to_days((i // 3000)::INTEGER) AS updated_at,
           DATE '1990-06-15' AS birth_date, 1000.0 * (i % 3000) AS annual_income
    FROM range(6000) t(i)
"""


def test_a_sample_has_whole_entities(bank: Workspace, edit: Edit) -> None:
    """A thousand of three thousand, always the same, with both rows of each, and what is derived of them as well."""
    bank.parquet("data/accounts.parquet", MANY)
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, 'sql="annual_income"', 'sql="annual_income + 1"')
    found = previewed(bank)
    assert found == previewed(bank)
    for each in found.values():
        assert [each[name] for name in ("entities", "of", "rows", "changed")] == [1000, 3000, 2000, 2000]
    # The mean of a thousand of the numbers below three thousand lies near theirs.
    assert found["user_profile.income"]["before"]["mean"] == pytest.approx(1_499_500, rel=0.1)
    whole = previewed(bank, "--preview=full")["user_profile.income"]
    assert [whole[name] for name in ("entities", "of", "rows", "changed")] == [3000, 3000, 6000, 6000]
    assert whole["before"]["mean"] == 1_499_500


def test_a_sample_of_everything_is_the_whole(shop: Workspace) -> None:
    """Whatever kind of feature changes."""
    run(shop, "apply", "--yes")
    change_all(shop)
    assert previewed(shop, "--preview=sample") == previewed(shop, "--preview=full")


# Every kind of feature

SHOP: Mapping[str, str] = {
    "featproject.toml": '[project]\nname = "shop"\n',
    "features/__init__.py": "",
    "features/shop.py": """
import pyarrow as pa
import pyarrow.compute as pc

from featdsl import Entity, Feature, FeatureGroup, Request, Source, python_feature

user = Entity("user", keys={"user_id": int})
city = Entity("city", keys={"city": str})

orders = Source("orders", path="data/orders.parquet", timestamp="at")
paid = Source("paid", sql="SELECT * FROM {{ orders }} WHERE amount >= 0", timestamp="at")
prices = Source("prices", path="data/prices.parquet", timestamp="at")


class Orders(FeatureGroup, entity=user, source=paid):
    amount = Feature(float)
    town = Feature(str, sql="city")
    spend = Feature(float, sql="sum(amount)", window="16 hours")

    @python_feature(float)
    def doubled(amount: pa.Array) -> pa.Array:
        return pc.multiply(amount, 2.0)


class Prices(FeatureGroup, entity=city, source=prices):
    level = Feature(float, sql="level")


class Rich(FeatureGroup, entity=user, inputs=[Orders.amount, Orders.spend]):
    share = Feature(float, sql="amount / nullif(spend, 0)")


class Afford(FeatureGroup, entity=user, inputs=[Orders.amount, Orders.town, Prices.level.alias(keys={"city": Orders.town})],
             materialize=True):
    real = Feature(float, sql="amount / level")


class Now(FeatureGroup, entity=user, inputs=[Orders.amount, Request(asked=float)]):
    rest = Feature(float, sql="amount - asked")
""",
}
ORDERS = """
    SELECT i % 7 AS user_id, TIMESTAMP '2026-01-01' + to_hours(i) AS at, (i * 37 % 50)::DOUBLE - 2 AS amount,
           ['rome', 'oslo', 'bonn'][1 + i % 3] AS city
    FROM range(400) t(i)
"""
PRICES = """
    SELECT ['rome', 'oslo', 'bonn'][1 + i % 3] AS city, TIMESTAMP '2026-01-01' + to_hours(9 * i) AS at, 1.0 + i AS level
    FROM range(30) t(i)
"""
CHANGES = {
    "sql": (
        "amount = Feature(float)",
        'amount = Feature(float, sql="CASE WHEN user_id <> 3 THEN amount END")',
        "orders.amount",
    ),
    "type": ("amount = Feature(float)", 'amount = Feature(int, sql="amount::BIGINT // 2 * 2")', "orders.amount"),
    "window": ('window="16 hours"', 'window="30 hours"', "orders.spend"),
    "aggregate": ('sql="sum(amount)"', 'sql="max(amount)"', "orders.spend"),
    "derived": ("amount / nullif(spend, 0)", "amount / nullif(spend, 0) + 1", "rich.share"),
    "input of another entity": ('sql="level"', 'sql="level * 2"', "afford.real"),
    "key of another entity": (
        'sql="city"',
        "sql=\"CASE city WHEN 'rome' THEN 'oslo' ELSE city END\"",
        "afford.real",
    ),
    "query of the source": ("WHERE amount >= 0", "WHERE amount >= 9", "orders.amount"),
    "path of the source": ("data/prices.parquet", "data/other.parquet", "prices.level", "city"),
    "its time of expiry": ("source=paid)", 'source=paid, ttl="3 hours")', "afford.real"),
}
"""Edits, and a feature whose values they change: of each kind, and by each kind of cause."""


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """Features of every kind."""
    return workspace.write(SHOP).parquet("data/orders.parquet", ORDERS).parquet("data/prices.parquet", PRICES)


def change_all(shop: Workspace) -> None:
    """Change everything but the Python feature."""
    path = shop.root / "features/shop.py"
    text = path.read_text()
    for old, new in [
        ("amount = Feature(float)", 'amount = Feature(float, sql="amount + 1")'),
        CHANGES["window"][:2],
        CHANGES["derived"][:2],
        CHANGES["input of another entity"][:2],
    ]:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("name", CHANGES)
def test_a_preview_foretells_what_apply_does(shop: Workspace, edit: Edit, name: str) -> None:
    """Rows, changed values and NULLs are those that analysts then find."""
    old, new, feature, *keys = CHANGES[name]
    shop.parquet("data/other.parquet", PRICES.replace("1.0 + i", "2.0 + i").replace("9 * i", "7 * i"))
    check(shop, feature, lambda: edit("features/shop.py", old, new), *keys)


def test_what_expires_sooner_is_seen_when_it_expires(bank: Workspace, edit: Edit) -> None:
    """At the times of rows there is always a value; two of the four days to the next row there is none any more."""
    run(bank, "apply", "--yes")
    edit(ACCOUNTS, "source=accounts)", 'source=accounts, ttl="2 days")')
    found = previewed(bank)["user_profile.age"]
    assert [found[name] for name in ("rows", "changed")] == [40, 20]
    assert [found[side]["nulls"] for side in ("before", "after")] == [0, 20]


def test_a_sample_looks_up_whole_what_belongs_to_others(shop: Workspace, edit: Edit) -> None:
    """Of a thousand of 1,500 users each has the level of prices in its city, the values of the rest aside."""
    shop.parquet("data/orders.parquet", ORDERS.replace("i % 7", "i % 1500").replace("range(400)", "range(3000)"))
    run(shop, "apply", "--yes")
    edit("features/shop.py", 'sql="amount / level"', 'sql="amount / level + 1"')
    found = previewed(shop)["afford.real"]
    assert (found["entities"], found["of"]) == (1000, 1500 - len({i for i in range(1500) if i * 37 % 50 < 2}))
    assert found["changed"] == found["rows"] - found["before"]["nulls"] > 0
    assert found["after"]["mean"] == pytest.approx(found["before"]["mean"] + 1)


def test_values_that_hold_always_are_compared(workspace: Workspace, edit: Edit) -> None:
    """Of an entity without times, and of no entity at all."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "plain"\n',
            "features/__init__.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

town = Entity("town", keys={"land": str, "town": str})
towns = Source("towns", path="data/towns.parquet")
rates = Source("rates", sql="SELECT sum(people) AS people FROM {{ towns }}")


class Towns(FeatureGroup, entity=town, source=towns):
    people = Feature(int)


class Everyone(FeatureGroup, entity=None, source=rates):
    people = Feature(int, sql="people::BIGINT")
""",
        }
    ).parquet("data/towns.parquet", "SELECT 'no' AS land, 'oslo ' || i AS town, i AS people FROM range(5) t(i)")
    run(workspace, "apply", "--yes")
    edit("features/__init__.py", "people = Feature(int)", 'people = Feature(int, sql="nullif(people, 3)")')
    edit("features/__init__.py", "people::BIGINT", "people::BIGINT + 1")

    found = previewed(workspace)

    towns, everyone = found["towns.people"], found["everyone.people"]
    assert [towns[name] for name in ("entities", "of", "rows", "changed")] == [5, 5, 5, 1]
    assert towns["examples"] == [
        {"keys": [["land", "no"], ["town", "oslo 3"]], "time": None, "before": "3", "after": None}
    ]
    assert [everyone[name] for name in ("entities", "of", "rows", "changed")] == [1, 1, 1, 1]
    assert everyone["examples"] == [{"keys": [], "time": None, "before": "10", "after": "11"}]


def test_rows_in_memory_are_compared(workspace: Workspace, edit: Edit) -> None:
    """The new frame is in no file yet."""
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "plain"\n',
            "features/__init__.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

town = Entity("town", keys={"town": str})
towns = Source("towns", frame=[{"town": "oslo", "people": 1}, {"town": "rome", "people": 2}])


class Towns(FeatureGroup, entity=town, source=towns):
    people = Feature(int)
""",
        }
    )
    run(workspace, "apply", "--yes")
    edit("features/__init__.py", '"people": 2', '"people": 3')
    frames = {*(workspace.root / ".featdsl" / "frames").iterdir()}
    assert previewed(workspace)["towns.people"]["examples"] == [
        {"keys": [["town", "rome"]], "time": None, "before": "2", "after": "3"}
    ]
    assert {*(workspace.root / ".featdsl" / "frames").iterdir()} == frames


# What cannot be computed


def test_code_that_is_gone_is_compared_as_it_is_stored(shop: Workspace, edit: Edit) -> None:
    """The old text of a function is kept, but not what it needs to run."""
    run(shop, "apply", "--yes")
    edit("features/shop.py", "pc.multiply(amount, 2.0)", "pc.multiply(amount, 3.0)")
    found = previewed(shop)["orders.doubled"]
    assert found["changed"] == found["rows"] - 8 > 0
    assert found["after"]["mean"] == pytest.approx(found["before"]["mean"] * 1.5)
    assert found["note"] == (
        "before is as stored: the project no longer declares the code of features.shop:Orders.doubled"
    )


def test_data_that_are_gone_are_compared_as_they_are_stored(bank: Workspace, edit: Edit) -> None:
    """At the times that were stored: rows that have come since are no change."""
    run(bank, "apply", "--yes")
    bank.parquet(
        "data/new.parquet",
        "SELECT * FROM range(24) t(i), (SELECT 1)".replace(
            "*",
            "i % 4 AS user_id, TIMESTAMP '2026-01-01' + to_days(i::INTEGER) AS updated_at, DATE '1990-06-15' AS birth_date, 1000.0 * i AS annual_income",
        ),
    )
    (bank.root / "data/accounts.parquet").unlink()
    edit(ACCOUNTS, "data/accounts.parquet", "data/new.parquet")
    found = previewed(bank)["user_profile.income"]
    assert [found[name] for name in ("rows", "changed", "entities", "of")] == [20, 0, 4, 4]
    assert found["note"].startswith("before is as stored: source accounts: IO Error: No files found that match")
    shown = run(bank, "plan", "--preview")
    assert "no value changes in 20 rows (4 entities)" in shown
    assert "before is as stored: source accounts" in shown


def test_what_is_neither_computed_nor_stored_is_told(bank: Workspace, edit: Edit) -> None:
    """The file is gone, and the table is lost."""
    run(bank, "apply", "--yes")
    for file in (bank.root / ".featdsl" / "data").iterdir():
        file.unlink()
    bank.parquet(
        "data/new.parquet", "SELECT * FROM 'ACCOUNTS'".replace("'ACCOUNTS'", f"'{bank.root}/data/accounts.parquet'")
    )
    (bank.root / "data/accounts.parquet").unlink()
    edit(ACCOUNTS, "data/accounts.parquet", "data/new.parquet")
    found = previewed(bank)["user_profile.income"]
    assert found["result"] == "not compared"
    assert found["why"].startswith("source accounts: IO Error: No files found that match")


def test_what_needs_a_request_or_has_other_keys_is_told(shop: Workspace, edit: Edit) -> None:
    """Nothing stored has a request, and no row of one key is a row of another."""
    run(shop, "apply", "--yes")
    edit("features/shop.py", "amount - asked", "amount + asked")
    edit("features/shop.py", 'keys={"city": str}', 'keys={"city": "UUID"}')
    edit("features/shop.py", "source=prices)", 'source=prices, keys={"city": "id"})')
    edit(
        "features/shop.py",
        'Afford(FeatureGroup, entity=user, inputs=[Orders.amount, Orders.town, Prices.level.alias(keys={"city": Orders.town})]',
        "Afford(FeatureGroup, entity=user, inputs=[Orders.amount]",
    )
    edit("features/shop.py", "amount / level", "amount / 2")
    shop.parquet("data/prices.parquet", f"SELECT *, uuid() AS id FROM ({PRICES})")
    found = previewed(shop)
    assert found["now.rest"]["why"] == "it depends on request data, which is not stored"
    assert found["prices.level"]["why"] == "its keys change: city VARCHAR → city UUID"
    shown = run(shop, "plan", "--preview", "--format", "markdown")
    assert (
        "| `now.rest` | shop | not compared |  |  |  |  |  |  | it depends on request data, which is not stored |"
        in shown
    )


def test_a_function_that_fails_is_told(shop: Workspace, edit: Edit) -> None:
    """In the words of apply, and the rest of the plan is shown all the same."""
    run(shop, "apply", "--yes")
    edit("features/shop.py", "return pc.multiply(amount, 2.0)", "raise ValueError('no way')")
    found = previewed(shop)["orders.doubled"]
    assert found["why"] == "feature orders.doubled: features.shop:Orders.doubled raised ValueError: no way"


# Two states of a store


@pytest.mark.parametrize("sample", [None, 3, 1000])
def test_two_states_of_a_store_are_compared_as_they_are_stored(shop: Workspace, sample: int | None) -> None:
    """What a preview foretold, once both are stored."""
    run(shop, "apply", "--yes")
    here = settings.load(shop.root)
    store = open_store(here)
    before = store.read()
    change_all(shop)
    planned = pipeline.make_plan(here, store)
    previewed_plan = pipeline.previewed(planned, here, store, sample=sample).plan
    run(shop, "apply", "--yes")

    found = pipeline.compared(before, store.read(), here, store, sample=sample)

    assert [each.feature for each in found] == [
        "afford.real",
        "now.rest",
        "orders.amount",
        "orders.spend",
        "prices.level",
        "rich.share",
    ]
    assert found == previewed_plan.preview
    assert all(isinstance(each, Shift) for each in found if each.feature != "now.rest")


def test_states_with_equal_definitions_have_no_difference(bank: Workspace) -> None:
    """Nothing is compared, and nothing is opened."""
    run(bank, "apply", "--yes")
    here = settings.load(bank.root)
    store = open_store(here)
    snapshot = store.read()
    assert pipeline.compared(snapshot, snapshot, here, store, sample=None) == ()


def test_a_table_that_is_not_listed_is_told(bank: Workspace, edit: Edit) -> None:
    """A state of before may name what is released since."""
    run(bank, "apply", "--yes")
    here = settings.load(bank.root)
    store = open_store(here)
    before = store.read()
    edit(ACCOUNTS, 'sql="annual_income"', 'sql="annual_income + 1"')
    run(bank, "apply", "--yes")
    states = (replace(state, tables={}) for state in (before, store.read()))
    found = pipeline.compared(*states, here, store, sample=None)
    assert [(each.feature, each.why) for each in found if isinstance(each, NotCompared)] == [
        ("affordability.monthly", "its table is not stored"),
        ("user_profile.income", "its table is not stored"),
    ]


LATE = {
    "featproject.toml": '[project]\nname = "late"\n',
    "features/__init__.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

town = Entity("town", keys={"town": str})


def made(raw):
    return raw.filter(raw["people"].to_numpy() > 0)


raw = Source("raw", path="data/towns.parquet")
counts = Source(
    "counts", function=made, timestamp="at", available_at="known", tie_break="people",
    columns={"town": str, "at": "TIMESTAMP", "known": "TIMESTAMP", "people": int},
)


class Towns(FeatureGroup, entity=town, source=counts):
    people = Feature(int)
    seen = Feature(int, sql="sum(people)", window="3 days")
""",
}
"""Rows that a function makes, known a day later than they were true."""


@pytest.mark.parametrize(
    ("feature", "old", "new"),
    [
        ("towns.people", "people = Feature(int)", 'people = Feature(int, sql="people + 1")'),
        ("towns.seen", "3 days", "5 days"),
        ("towns.people", 'available_at="known", ', ""),
    ],
)
def test_rows_that_a_function_makes_are_compared(
    workspace: Workspace, edit: Edit, feature: str, old: str, new: str
) -> None:
    """Also where they became known later, on both sides or on one."""
    workspace.write(LATE).parquet(
        "data/towns.parquet",
        "SELECT ['oslo', 'rome'][1 + i % 2] AS town, TIMESTAMP '2026-01-01' + to_days(i::INTEGER) AS at,"
        " TIMESTAMP '2026-01-02' + to_days(i::INTEGER) AS known, i % 5 AS people FROM range(30) t(i)",
    )
    check(workspace, feature, lambda: edit("features/__init__.py", old, new), "town")


CATEGORIES = """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
pays = Source("pays", path="data/pays.parquet", timestamp="at")


class Pay(FeatureGroup, entity=user, source=pays):
    kind = Feature(str, sql="kind")
    big = Feature(bool, sql="amount > 50")
    spend = Feature(float, sql="sum(amount)", windows=["1 day", "7 days", "30 days"])
"""
PAYS = [(i, "cash" if i % 3 == 0 else None if i % 10 == 1 else f"k{i % 9}", float(i)) for i in range(100)]


@pytest.fixture
def pays(workspace: Workspace, edit: Edit) -> Workspace:
    """Features of categories and a family of windows, applied, then edited."""
    listed = ", ".join(f"({i}, {'NULL' if kind is None else repr(kind)}, {amount})" for i, kind, amount in PAYS)
    workspace.parquet(
        "data/pays.parquet",
        f"SELECT i % 7 AS user_id, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS at, kind, amount"
        f" FROM (VALUES {listed}) t(i, kind, amount)",
    )
    workspace.write({"featproject.toml": '[project]\nname = "p"\n', "features/__init__.py": CATEGORIES}).apply()
    edit("features/__init__.py", 'sql="kind"', "sql=\"CASE WHEN amount > 60 THEN 'big' ELSE kind END\"")
    edit("features/__init__.py", "amount > 50", "amount > 60")
    edit("features/__init__.py", "sum(amount)", "sum(amount * 2)")
    return workspace


def test_shares_of_categories_are_counted(pays: Workspace) -> None:
    """The most frequent ones before or after, then all others together; NULL is told beside them."""
    before = Counter(kind for _, kind, _ in PAYS if kind is not None)
    after = Counter("big" if amount > 60 else kind for _, kind, amount in PAYS if amount > 60 or kind is not None)
    top = sorted(before | after, key=lambda each: (-max(before[each], after[each]), each))
    right = [{"value": each, "before": before[each], "after": after[each]} for each in top[:6]]
    rest = {"value": None, "before": sum(before[e] for e in top[6:]), "after": sum(after[e] for e in top[6:])}

    found = previewed(pays, "--preview=full")

    assert found["pay.kind"]["shares"] == [*right, rest]
    assert found["pay.big"]["shares"] == [
        {"value": "false", "before": 51, "after": 61}, {"value": "true", "before": 49, "after": 39},
    ]  # fmt: skip
    assert found["pay.spend_1d"]["shares"] == []


def test_a_plan_tells_shares_and_puts_warnings_first(pays: Workspace) -> None:
    """For people at a terminal of 80 columns, and in a comment."""
    text = pays.run("plan", "--preview=full", COLUMNS="80").stdout
    assert "      share of rows  before   after\n        false        51.0 %  61.0 %\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert text.index("\nWarnings\n  pay.kind: large shift, PSI") < text.index("\nChanges\n")

    page = pays.run("plan", "--preview=full", "--format", "markdown").stdout
    assert "| `pay.big` | false | 51.0 % | 61.0 % |\n" in page
    assert page.index("#### Warnings\n\n- pay.kind: large shift") < page.index("#### Changes")


def test_one_edit_of_a_family_is_one_diff(pays: Workspace) -> None:
    """Of all its windows together, which are named."""
    text = pays.run("plan").stdout
    assert (
        "      ~ spend_1d   definition\n      ~ spend_30d  definition\n      ~ spend_7d   definition\n"
        "          sql:\n            - sum(amount)\n            + sum(amount * 2)\n"
    ) in text
    assert text.count("+ sum(amount * 2)") == 1
    page = pays.run("plan", "--format", "markdown").stdout
    assert "sql of `pay.spend_1d`, `pay.spend_30d`, `pay.spend_7d`:\n" in page
    assert page.partition("<summary>SQL")[0].count("+ sum(amount * 2)") == 1
