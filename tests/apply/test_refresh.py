"""Refresh: only what is new is computed, and what is stored then is what computing all of it again would give."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from featdsl import pipeline
from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.apply.refresh import RefreshResult
from featdsl.apply.table_refresh import RefreshRequest
from featdsl.project.settings import Project, load
from featdsl.stores import open_store
from tests.budgets import GENERATING, examples
from tests.conftest import ACCOUNTS, Workspace

EXAMPLES = examples(1, 8)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: an example takes seconds, and is small as it is."""
FEW = PHASES if GENERATING else (Phase.explicit,)
LOOKBACK = 600

FEATURES = """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

user = Entity("user", keys={"user_id": int})
team = Entity("team", keys={"team_id": int})
world = Source("world", path="data/%(name)s.parquet", timestamp="ts", tie_break="i", lookback="600 seconds")
rows = Source("rows", path="data/%(name)s.parquet", timestamp="ts", tie_break="i", lookback="600 seconds")
late = Source("late", path="data/%(name)s.parquet", timestamp="ts", available_at="seen", tie_break="i",
              lookback="600 seconds")
exact = Source("exact", path="data/%(name)s.parquet", timestamp="own", lookback="600 seconds")
query = Source("query", sql="SELECT *, v * 2 AS w FROM {{ rows }} WHERE v %% 2 = 0", timestamp="ts", tie_break="i",
               lookback="600 seconds")
every = Source("every", path="data/%(name)s.parquet")


class Latest(FeatureGroup, entity=user, source=rows):
    v = Feature(int, sql="v")
    price = Feature("DECIMAL(9,2)", sql="price")


class Known(FeatureGroup, entity=user, source=late, ttl="1 hour"):
    known = Feature(int, sql="v")


class Exact(FeatureGroup, entity=team, source=exact, keys={"team_id": "team"}):
    there = Feature(int, sql="v + team")


class Even(FeatureGroup, entity=user, source=query):
    even = Feature(int, sql="w")


class Everyone(FeatureGroup, entity=None, source=world):
    newest = Feature(int, sql="v")


class Static(FeatureGroup, entity=None, source=Source("one", sql="SELECT max(v) AS v FROM {{ every }}")):
    greatest = Feature(int, sql="v")


class Windows(FeatureGroup, entity=user, source=rows):
    total = Feature("HUGEINT", sql="sum(v)", windows=["10 minutes", "2 hours"])
    paid = Feature("DECIMAL(38,2)", sql="sum(price) FILTER (WHERE v %% 3 = 0)", window="lifetime")
    times = Feature(int, sql="count(*)", window="1 hour")
    middle = Feature(float, sql="median(v)", window="1 hour")
    newest = Feature(int, sql="last(v ORDER BY i)", window="lifetime")


class KnownWindows(FeatureGroup, entity=user, source=late):
    late_total = Feature("HUGEINT", sql="sum(v)", window="1 hour")


class Derived(FeatureGroup, entity=user, inputs=[Latest.v, Windows.times, Known.known]):
    pair = Feature(int, sql="coalesce(v, 0) * 1000 + coalesce(times, 0) * 10 + coalesce(known, 0)")


class Coarser(FeatureGroup, entity=user, inputs=[Derived.pair, Everyone.newest]):
    mixed = Feature(int, sql="pair - coalesce(newest, 0)")


all_v1 = FeatureSet("all", version=1, features=[Latest.v, Known.known, Windows.total["2 hours"], Coarser.mixed])
"""

Row = tuple[int, int, int, int]
"""User, seconds after the day began, seconds until it was known, value."""


def rows(since: int, until: int) -> st.SearchStrategy[list[Row]]:
    """Rows of a span of time."""
    one = st.tuples(st.integers(0, 3), st.integers(since, until), st.integers(0, 900), st.integers(-20, 20))
    return st.lists(one, min_size=0, max_size=12)


class Story:
    """A project whose one source grows, and its twin that computes everything anew."""

    def __init__(self, root: Path, features: str) -> None:
        self.workspace = Workspace(root).write({
            "featproject.toml": '[project]\nname = "story"\n',
            "features/__init__.py": "",
            "features/all.py": features,
        })  # fmt: skip
        self.project = load(root)
        self.count = 0

    def write(self, path: str, new: Sequence[Row]) -> None:
        """Write rows as a Parquet file; each has a number and, in `own`, a time that no other has."""
        start = "TIMESTAMP '2026-01-01'"
        listed = [(self.count + n, *row) for n, row in enumerate(new)]
        self.count += len(new)
        values = ", ".join(map(str, listed)) or "(0, 0, 0, 0, 0)"
        self.workspace.parquet(
            path,
            f"""SELECT i, user_id, user_id % 2 AS team, {start} + to_seconds(s) AS ts, {start} + to_seconds(s + d) AS seen,
            {start} + to_seconds(s) + to_microseconds(i) AS own, v, CAST(v * 0.25 AS DECIMAL(9,2)) AS price
            FROM (VALUES {values}) t(i, user_id, s, d, v) {"" if listed else "WHERE false"}""",
        )

    def apply(self) -> None:
        """Apply what is declared."""
        store = open_store(self.project)
        planned = pipeline.make_plan(self.project, store)
        apply(planned.plan, self.project, store, listen=ignore, rows=planned.rows, functions=planned.functions)

    def refresh(self, **asked: Any) -> RefreshResult:
        """Bring everything up to date."""
        return pipeline.refresh(self.project, open_store(self.project), RefreshRequest(**asked), listen=ignore)

    def contents(self) -> dict[str, list[str]]:
        """Return the rows of every table and view, sorted, as text."""
        return contents(self.project)

    def anew(self) -> dict[str, list[str]]:
        """Return what a store has that computes everything from the sources as they are."""
        twin = Story.__new__(Story)
        with TemporaryDirectory() as folder:
            settings_ = self.project.settings.model_copy(
                update={"store": self.project.settings.store.model_copy(update={"path": folder + "/store"})}
            )
            twin.project = Project(self.project.root, settings_)
            twin.apply()
            return twin.contents()


def contents(project: Project) -> dict[str, list[str]]:
    """Return the rows of every table and view of a store, sorted, as text."""
    with duckdb.connect(str(project.store / "store.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        views = connection.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        return {
            f"{schema}.{view}": sorted(
                str(row) for row in connection.execute(f'SELECT * FROM "{schema}"."{view}"').fetchall()
            )
            for schema, view in views
        }


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=FEW)
@given(st.lists(rows(0, 7_200), min_size=1, max_size=4))
@example([[(0, 60, 0, 1), (1, 3_600, 900, 2)], [(0, 30, 0, 6), (1, 7_200, 0, -3), (2, 7_200, 900, 9)]])
def test_new_files_give_what_all_files_give(arrivals: list[list[Row]]) -> None:
    """However late the rows in them are."""
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), FEATURES % {"name": "*"})
        story.write("data/0.parquet", arrivals[0])
        story.apply()
        for number, new in enumerate(arrivals[1:], start=1):
            story.write(f"data/{number}.parquet", new)
            story.refresh()
            assert story.contents() == story.anew()
        assert not story.refresh().changed


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=FEW)
@given(rows(0, 2_000), st.lists(rows(1 - LOOKBACK, 3_000), min_size=1, max_size=3))
@example([(1, 2_000, 900, 3)], [[(0, 1 - LOOKBACK, 0, 6), (1, -10, 0, 9), (2, 3_000, 900, -4)]])
def test_a_file_that_grows_gives_what_all_of_it_gives(first: list[Row], arrivals: list[list[Row]]) -> None:
    """As long as no row is later than the lookback."""
    with TemporaryDirectory() as folder:
        story = Story(Path(folder), FEATURES % {"name": "all"})
        whole = [(0, 1_000, 0, 1), *first]
        story.write("data/all.parquet", whole)
        story.apply()
        for arrived in arrivals:
            # The earliest of the latest times that a table has: for some user's row, when it was known.
            latest = max(seconds for _, seconds, _, _ in whole)
            known = max(seconds + delay for _, seconds, delay, _ in whole)
            for user, after, delay, value in arrived:
                seconds = latest + after
                whole.append((user, seconds, max(delay, known - LOOKBACK - seconds), value))
            story.count = 0
            story.write("data/all.parquet", whole)
            story.refresh()
            assert story.contents() == story.anew()


# By the command line

TIMES = "TIMESTAMP '2026-01-01' + to_hours(i)"


def day(bank: Workspace, number: int, income: str = "1000.0 * i") -> None:
    """Write the rows of one more day of the small project: a file of its own, 24 rows of four users."""
    bank.parquet(
        f"data/accounts/{number}.parquet",
        f"""SELECT i % 4 AS user_id, {TIMES} AS updated_at, DATE '1990-06-15' AS birth_date, {income} AS annual_income
        FROM range({24 * number}, {24 * number + 24}) t(i)""",
    )


@pytest.fixture
def growing(bank: Workspace, edit: Any) -> Workspace:
    """The small project over a folder of files, a file a day, applied with the first."""
    edit("features/accounts/__init__.py", "data/accounts.parquet", "data/accounts/*.parquet")
    day(bank, 0)
    bank.apply()
    return bank


def incomes(workspace: Workspace, view: str = "prod.user_profile") -> list[tuple[object, ...]]:
    """Return how many rows a view has, and the sum of the incomes in it."""
    return workspace.published(f"SELECT count(*), sum(income) FROM {view}")


def of_days(number: int) -> list[tuple[object, ...]]:
    """Return the same of so many days."""
    return [(24 * number, 1000.0 * sum(range(24 * number)))]


def listed(workspace: Workspace) -> dict[str, int]:
    """Return the data files, with their times of change."""
    return {path.name: path.stat().st_mtime_ns for path in (workspace.root / ".featdsl" / "data").iterdir()}


def test_only_new_files_are_read_and_nothing_is_written_where_there_are_none(growing: Workspace) -> None:
    """Not even a new state."""
    before, state = listed(growing), growing.run("history", "--format", "json").stdout
    nothing = growing.run("refresh")
    assert nothing.returncode == 0, nothing.stderr
    assert "Everything is up to date." in nothing.stdout
    assert (listed(growing), growing.run("history", "--format", "json").stdout) == (before, state)

    (growing.root / "data" / "accounts" / "0.parquet").chmod(0o644)
    day(growing, 1)
    told = growing.run("refresh", COLUMNS="120").stdout
    assert "user_profile   extended  24    2026-01-02 00:00:00  1 new file" in told
    assert "affordability  extended  24    2026-01-02 00:00:00  its inputs have changed" in told
    assert incomes(growing) == of_days(2)
    assert growing.published("SELECT sum(monthly) FROM prod.affordability") == [(1000.0 * sum(range(48)) / 12,)]
    assert "refresh (data)" in growing.run("history", "user_profile").stdout
    assert growing.run("plan", "--check").returncode == 0


def test_what_a_set_version_pins_is_refreshed_as_it_was_defined(growing: Workspace, edit: Any) -> None:
    """Beside what the feature is by now."""
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    growing.apply()
    day(growing, 1)
    assert growing.run("refresh").returncode == 0

    assert incomes(growing) == [(48, 2000.0 * sum(range(48)))]
    assert growing.store.get_features("credit_risk@1", user_id=3)["income"] == 47_000.0
    assert growing.store.get_features(["income"], user_id=3) == {"income": 94_000.0}


@pytest.mark.slow
def test_many_refreshes_leave_few_files(growing: Workspace) -> None:
    """Small parts are merged as they come, and what was merged goes."""
    for number in range(1, 14):
        day(growing, number)
        assert growing.run("refresh", "--select", "user_profile").returncode == 0
    ((parts,),) = growing.published(
        "SELECT len(body->'parts'->'$[*]') FROM registry.tables WHERE body->>'name' LIKE 'user_profile%'"
    )
    assert int(str(parts)) <= 6
    assert incomes(growing) == of_days(14)


def test_a_span_of_time_is_computed_again_or_left_out(growing: Workspace) -> None:
    """By --from and --to; a file that was edited counts whole, but for the rows that --to leaves out."""
    day(growing, 0, income="5.0::DOUBLE")
    day(growing, 1)
    said = growing.run("refresh", "--to", "2026-01-02T12:00", COLUMNS="200").stdout
    assert "data/accounts/0.parquet was edited, data/accounts/1.parquet was added" in said
    assert incomes(growing) == [(36, 24 * 5.0 + 1000.0 * sum(range(24, 36)))]
    said = growing.run("refresh", "--from", "2026-01-01T12:00", COLUMNS="200").stdout
    assert "extended  36    2026-01-01 12:00:00  asked for" in said
    assert incomes(growing) == [(48, 24 * 5.0 + 1000.0 * sum(range(24, 48)))]


def test_rows_that_to_has_left_out_come_with_the_next_refresh(growing: Workspace) -> None:
    """Also after all was computed again up to then."""
    day(growing, 1)
    assert growing.run("refresh", "--to", "2026-01-02T12:00").returncode == 0
    assert incomes(growing)[0][0] == 36
    assert growing.run("refresh").returncode == 0
    assert incomes(growing) == of_days(2)

    assert growing.run("refresh", "--full", "--to", "2026-01-01T12:00").returncode == 0
    assert incomes(growing)[0][0] == 12
    assert growing.run("refresh").returncode == 0
    assert incomes(growing) == of_days(2)
    assert "Everything is up to date." in growing.run("refresh").stdout


def test_to_takes_nothing_new_where_more_is_stored(growing: Workspace) -> None:
    """And takes nothing away; with --from a span within is computed again."""
    day(growing, 1)
    assert growing.run("refresh", "--to", "2026-01-01T12:00").returncode == 0
    assert incomes(growing) == of_days(1)
    assert growing.run("refresh", "--to", "2026-01-02T12:00").returncode == 0
    again = growing.run("refresh", "--from", "2026-01-01T12:00", "--to", "2026-01-01T18:00")
    assert again.returncode == 0, again.stderr
    assert incomes(growing)[0][0] == 36
    assert growing.run("refresh").returncode == 0
    assert incomes(growing) == of_days(2)


def test_from_a_later_time_than_new_rows_leaves_none_of_them_out(growing: Workspace) -> None:
    """They would be taken for known the next time."""
    day(growing, 1)
    assert growing.run("refresh", "--from", "2026-01-02T12:00").returncode == 0
    assert incomes(growing) == of_days(2)


def test_files_that_are_all_gone_are_told(growing: Workspace) -> None:
    """With the pattern of the source; what is stored stays."""
    (growing.root / "data" / "accounts" / "0.parquet").unlink()
    gone = growing.run("refresh")
    assert gone.returncode == 1
    assert gone.stderr.splitlines() == [
        "Missing file",
        "  source accounts: no file matches data/accounts/*.parquet.",
        "  features/accounts/__init__.py:5",
        "  Nothing was published. Bring the files back.",
    ]
    assert incomes(growing) == of_days(1)


def test_new_rows_that_break_a_rule_are_not_published(growing: Workspace) -> None:
    """Nothing of the refresh is, and the next one begins where this one did."""
    before = listed(growing)
    growing.parquet(
        "data/accounts/1.parquet",
        """SELECT 9 AS user_id, TIMESTAMP '2026-01-02' AS updated_at, DATE '1790-06-15' AS birth_date, 1.0 AS annual_income""",
    )
    failed = growing.run("refresh")
    assert failed.returncode == 1
    assert "Check failed" in failed.stderr
    assert "age BETWEEN 0 AND 120" in failed.stderr
    assert listed(growing) == before
    assert incomes(growing) == of_days(1)
    day(growing, 1)
    assert growing.run("refresh").returncode == 0
    assert incomes(growing) == of_days(2)


def test_what_checks_found_is_kept_as_of_the_refresh(growing: Workspace) -> None:
    """With the rows that there are by then."""
    day(growing, 1)
    assert growing.run("refresh").returncode == 0
    found = json.loads(growing.run("check", "--history", "--format", "json").stdout)
    told = [("refresh", 48, 2), ("apply", 24, 1)]
    assert [(each["during"], each["rows"], each["serial"]) for each in found] == told
    # The state of the refresh is the one that is checked then, and that stays where a refresh fails.
    assert growing.run("check").returncode == 0
    day(growing, 2)
    growing.parquet(
        "data/accounts/3.parquet",
        """SELECT 9 AS user_id, TIMESTAMP '2026-01-04' AS updated_at, DATE '1790-06-15' AS birth_date, 1.0 AS annual_income""",
    )
    assert growing.run("refresh").returncode == 1
    found = json.loads(growing.run("check", "--history", "--format", "json").stdout)
    more = [("refresh", 73, 2), ("check", 48, 2)]
    assert [(each["during"], each["rows"], each["serial"]) for each in found] == more + told


def test_a_saved_plan_and_a_lock_hold_over_a_refresh(growing: Workspace, edit: Any) -> None:
    """A refresh changes what no plan was made for, and what was trained on is as it was."""
    training = growing.store.training_set(
        ["income"], "SELECT 1 AS user_id, TIMESTAMP '2026-01-01 12:00:00' AS t", timestamp="t"
    )
    (growing.root / "model.lock").write_text(json.dumps(training.lock), encoding="utf-8")
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 3"')
    assert growing.run("plan", "--out", "plan.json").returncode == 0
    day(growing, 1)
    assert growing.run("refresh").returncode == 0
    assert growing.run("outdated", "model.lock").returncode == 0
    done = growing.run("apply", "plan.json")
    assert done.returncode == 0, done.stderr
    assert incomes(growing) == [(48, 3000.0 * sum(range(48)))]


def test_an_environment_shares_what_is_refreshed(growing: Workspace) -> None:
    """Tables belong to none of them; what only one has is refreshed there."""
    assert growing.run("apply", "--env", "pr_1", "--yes").returncode == 0
    day(growing, 1)
    assert growing.run("refresh").returncode == 0
    assert incomes(growing, "pr_1.user_profile") == of_days(2)
    assert "Everything is up to date" in growing.run("refresh", "--env", "pr_1").stdout


def test_an_old_definition_whose_column_is_gone_holds_nobody_up(bank: Workspace, edit: Any) -> None:
    """A plan has told of it; what the set pins stays as it is, and the rest goes on."""
    bank.apply()
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="user_id * 1000"')
    bank.apply()
    bank.parquet("data/accounts.parquet", ACCOUNTS.replace("1000.0 * i AS annual_income", "i").replace("(20)", "(24)"))
    bank.apply()

    done = bank.run("refresh", COLUMNS="120")
    assert done.returncode == 0, done.stderr
    assert "user_profile   not refreshed" in done.stdout
    assert "accounts.annual_income is gone; it stays as it is" in done.stdout
    assert incomes(bank) == [(24, 36000.0)]
    pinned = "SELECT sum(income) FROM prod.credit_risk_v1"
    assert bank.published(pinned) == [(1000.0 * (16 + 17 + 18 + 19),)]


def test_rows_of_a_database_are_told_by_time(bank: Workspace, edit: Any) -> None:
    """Nothing else tells what is new there; late ones count as far as the lookback goes."""
    database = bank.root / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            f"CREATE TABLE accounts AS SELECT i % 4 AS user_id, {TIMES} AS updated_at, DATE '1990-06-15' AS birth_date, 1000.0 * i AS annual_income FROM range(24) t(i)"
        )
    edit(
        "features/accounts/__init__.py",
        'path="data/accounts.parquet"',
        'table="accounts", database="warehouse.duckdb", lookback="2 hours"',
    )
    bank.apply()
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "INSERT INTO accounts VALUES (7, '2026-01-01 21:30:00', '1990-01-01', 7.0), (8, '2026-01-01 12:30:00', '1990-01-01', 8.0), (7, '2026-01-02', '1990-01-01', 9.0)"
        )
    told = bank.run("refresh", COLUMNS="120").stdout
    assert "2026-01-01 21:00:00  by time, 2 hours looked back" in told, told
    assert "Older rows were not read again. To pick up edits of older rows, run: featdsl refresh --full" in told
    again = bank.run("refresh", COLUMNS="120").stdout
    assert "No new rows.\nOlder rows were not read again." in again
    assert bank.published("SELECT user_id, income FROM prod.user_profile WHERE user_id > 4 ORDER BY ALL") == [
        (7, 7.0),
        (7, 9.0),
    ]
    assert bank.run("refresh", "--full").returncode == 0
    assert bank.published("SELECT count(*) FROM prod.user_profile") == [(27,)]


def test_what_stands_in_the_log_of_a_database_counts(bank: Workspace, edit: Any) -> None:
    """It is in the file only after a checkpoint."""
    database = bank.root / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            f"CREATE TABLE accounts AS SELECT i AS user_id, {TIMES} AS updated_at, DATE '1990-06-15' AS birth_date, 1.0::DOUBLE AS annual_income FROM range(4) t(i)"
        )
    edit(
        "features/accounts/__init__.py", 'path="data/accounts.parquet"', 'table="accounts", database="warehouse.duckdb"'
    )
    bank.apply()
    writing = """
import duckdb, os
connection = duckdb.connect("warehouse.duckdb")
connection.execute("SET checkpoint_threshold = '1GB'")
connection.execute("INSERT INTO accounts VALUES (7, '2026-01-02', '1990-01-01', 9.0)")
os._exit(0)
"""
    before = database.stat().st_mtime_ns
    subprocess.run([sys.executable, "-c", writing], cwd=bank.root, check=True)
    assert database.stat().st_mtime_ns == before
    assert bank.run("refresh").returncode == 0
    assert bank.published("SELECT count(*), max(income) FROM prod.user_profile") == [(5, 9.0)]


def test_a_function_is_called_again(workspace: Workspace) -> None:
    """A Python source tells nothing of what is new: all of its rows are compared with those that are stored."""
    workspace.write({
        "featproject.toml": '[project]\nname = "rates"\n',
        "features/__init__.py": "",
        "features/rates.py": """
from datetime import date, timedelta
from pathlib import Path

from featdsl import Entity, Feature, FeatureGroup, Source

currency = Entity("currency", keys={"currency": str})


def load():
    return [
        {"currency": "EUR", "day": date(2026, 1, 1) + timedelta(days=n), "rate": float(n)}
        for n in range(int(Path("days").read_text()))
    ]


class Rates(FeatureGroup, entity=currency, source=Source(
        "rates", function=load, columns={"currency": str, "day": date, "rate": float}, timestamp="day")):
    rate = Feature(float)
""",
        "days": "3",
    })  # fmt: skip
    workspace.apply()
    assert "Everything is up to date" in workspace.run("refresh").stdout
    (workspace.root / "days").write_text("5", encoding="utf-8")
    told = workspace.run("refresh", COLUMNS="120").stdout
    assert "rebuilt  5           nothing tells which rows are new" in told
    assert workspace.published("SELECT count(*), max(rate) FROM prod.rates") == [(5, 4.0)]


def test_machines_are_told_each_table_and_the_whole(growing: Workspace) -> None:
    """As lines of JSON, the last of them the summary."""
    day(growing, 1)
    lines = [json.loads(line) for line in growing.run("refresh", "--format", "json").stdout.splitlines()]
    told = [each for each in lines if each["event"] == "refreshed"]
    assert [(each["group"], each["how"], each["rows"], each["since"]) for each in told] == [
        ("user_profile", "extended", 24, "2026-01-02 00:00:00"),
        ("affordability", "extended", 24, "2026-01-02 00:00:00"),
    ]
    assert lines[-1]["event"] == "summary"
    assert (lines[-1]["serial"], lines[-1]["built"], lines[-1]["rows"]) == (2, 2, 48)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "yesterday"], "'yesterday' is no date or time, such as 2026-01-31 or 2026-01-31T12:00."),
        (["--from", "0001-01-01T00:00+14:00"], "is no date or time"),
        (["--full", "--from", "2026-01-01"], "give one of them"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], "--to must be later than --from."),
        (["--env", "pr_9"], 'The store has no environment "pr_9".'),
        (["--select", "user_profil"], 'Did you mean "user_profile"'),
    ],
)
def test_what_cannot_be_refreshed_is_told(growing: Workspace, arguments: list[str], said: str) -> None:
    """And nothing is changed."""
    before = listed(growing)
    done = growing.run("refresh", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert listed(growing) == before
