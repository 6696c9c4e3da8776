"""The contract of a store: the behaviour of every implementation towards writers and readers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import duckdb
import pytest

from featdsl.definitions.history import CheckResult, HistoryEntry, Touched
from featdsl.definitions.kinds import EntityDefinition, FeatureDefinition, GroupDefinition, Member
from featdsl.definitions.snapshot import Drift, Examined, Snapshot
from featdsl.definitions.sources import Column
from featdsl.definitions.statistics import Bin, ColumnStatistics, TableStatistics, TopValue
from featdsl.definitions.stored_tables import StoredTable, Written
from featdsl.engines.duckdb import session
from featdsl.engines.session import EngineError
from featdsl.errors import Origin, StoreError, StoreLockedError
from featdsl.project.settings import Project, ProjectTable, Settings, StoreTable
from featdsl.stores import Store, Writer, registry
from featdsl.stores.embedded import view_stubs
from featdsl.stores.embedded.store import EmbeddedStore
from tests.altered import altered


@dataclass(frozen=True)
class Implementation:
    """A kind of store: how to open it, touch its files, and damage its catalogue, data and tables."""

    opened: Callable[[Project], Store]
    touch: Callable[[Project, str], None]
    lose: Callable[[Project, str], None]
    edit: Callable[[Project, str], None]
    alter: Callable[[Project, StoredTable, str], None]


def _touch_file(project: Project, file: str) -> None:
    os.utime(project.store / file)


def _lose_file(project: Project, file: str) -> None:
    (project.store / file).unlink()


def _edit_catalogue(project: Project, sql: str) -> None:
    with altered(project.store / "store.duckdb") as connection:
        connection.execute(sql)


def _alter_file(project: Project, table: StoredTable, sql: str) -> None:
    with altered(project.store / table.file) as connection:
        connection.execute(sql)


IMPLEMENTATIONS = {"embedded": Implementation(EmbeddedStore, _touch_file, _lose_file, _edit_catalogue, _alter_file)}

COMMON = {"project": "bank", "owner": "risk", "description": "", "origin": Origin("features/risk.py", 3)}
USER = EntityDefinition(name="user", keys=(Column(name="user_id", dtype="BIGINT"),), **COMMON)
OLD = FeatureDefinition(
    name="score", group="scores", tags=("b", "a"), dtype="DOUBLE", sql="1", expect=(), reads=(), entity="user",
    keys=USER.keys, timed=False, ttl=None, fingerprint="old", table="scores_1", **COMMON,
)  # fmt: skip
NEW = replace(OLD, sql="2 -- 'é'", fingerprint="new", table="scores_2")
GROUP = GroupDefinition(
    name="scores", tags=(), entity="user", source=None, keys=(), ttl=None,
    members=(Member(column="score", feature="scores.score", fingerprint="old"),), **COMMON,
)  # fmt: skip
CHECKED = CheckResult(
    address="scores.score", kind="expect", rule="score > 0", severity="error", broken=1, rows=2,
    checked_at=f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%dT%H:%M:%S.000+00:00}", serial=1, by="ann", during="apply",
)  # fmt: skip
COLUMNS = (Column(name="user_id", dtype="BIGINT"), Column(name="score", dtype="DOUBLE"))


def at(days: int) -> str:
    """Return the ISO time of this many days ago."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")


def entry(serial: int) -> HistoryEntry:
    """Return the history entry of an apply."""
    return HistoryEntry(
        serial=serial, applied_at="2026-01-01T00:00:00+00:00", project="bank", user="ann", commit="", summary="",
        changes=(Touched(action="create", kind="entity", address="user", change_class="additive"),), rows=2, seconds=0.5,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose writers do not wait for the lock."""
    return Project(tmp_path, Settings(project=ProjectTable(name="bank"), store=StoreTable(lock_timeout="1 second")))


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def kind(request: pytest.FixtureRequest) -> Implementation:
    """Each implementation in turn."""
    return IMPLEMENTATIONS[request.param]


@pytest.fixture
def store(kind: Implementation, project: Project) -> Store:
    """An empty store."""
    return kind.opened(project)


def publish(store: Store, *acts: Callable[[Writer], object], env: str = "prod", plan: str = "") -> None:
    """Run these writer calls in one apply."""
    with store.writing(pytest.fail, env) as writer:
        for act in acts:
            act(writer)
        writer.publish(replace(entry(writer.serial), environment=env), plan)


def build(
    name: str = "scores_1", sql: str = "SELECT 1 AS user_id, 0.5 AS score", reads: tuple[str, ...] = ()
) -> Callable[[Writer], object]:
    """Return the writer call that builds a table."""
    return lambda writer: writer.build(name, sql, COLUMNS, reads)


def rows(store: Store, project: Project, table: str) -> list[tuple[object, ...]]:
    """Return the rows of a stored table, as a new reader sees them."""
    reader = session.open_session(project)
    store.open_tables(reader, [store.read().tables[table]])
    return reader.rows(f"SELECT * FROM tables.{table} ORDER BY ALL")


def viewed(store: Store, project: Project, name: str, env: str = "prod") -> list[tuple[object, ...]]:
    """Return the rows of a published view, as a new reader sees them."""
    reader = session.open_session(project)
    store.open_views(reader, [name], env)
    return reader.rows(f"SELECT * FROM {env}.{name} ORDER BY ALL")


def test_a_new_store_is_empty(store: Store) -> None:
    """Reading works before the first apply, and creates nothing."""
    assert store.read() == Snapshot()
    assert store.history() == []
    assert store.drift(store.read()) == Drift()
    assert store.read_with_drift() == (Snapshot(), Drift())
    assert store.token() == store.token()


def test_each_publication_is_the_next_serial_of_one_lineage(store: Store) -> None:
    """The head's serial counts applies; the lineage stays."""
    publish(store)
    first = store.read().head
    publish(store)
    second = store.read().head

    assert (first.serial, second.serial) == (1, 2)
    assert first.lineage == second.lineage != ""


def test_publishing_returns_the_head_that_readers_then_see(store: Store) -> None:
    """The head that apply returns is the one that readers find."""
    with store.writing(pytest.fail) as writer:
        head = writer.publish(entry(1))

    assert store.read().head == head


def test_the_token_differs_after_each_publication(store: Store) -> None:
    """Readers that compare the token notice every apply."""
    tokens = [store.token()]
    for _ in range(3):
        publish(store)
        tokens.append(store.token())

    assert len(set(tokens)) == 4


def test_definitions_come_back_equal(store: Store) -> None:
    """Every field survives the registry."""
    publish(store, lambda w: w.record(USER), lambda w: w.record(OLD), lambda w: w.record(GROUP))

    catalog = store.read().catalog
    assert catalog.entities == {"user": USER}
    assert catalog.features == {"scores.score": OLD}
    assert catalog.groups == {"scores": GROUP}


def test_recording_again_replaces(store: Store) -> None:
    """An address has one current definition."""
    publish(store, lambda w: w.record(USER))
    publish(store, lambda w: w.record(replace(USER, owner="accounts")))

    assert store.read().catalog.entities == {"user": replace(USER, owner="accounts")}


def test_features_of_two_fingerprints_stand_beside_each_other(store: Store) -> None:
    """The group names the current version; the other one is kept for its pins."""
    publish(store, lambda w: w.record(OLD), lambda w: w.record(GROUP))
    publish(store, lambda w: w.record(NEW))

    snapshot = store.read()
    assert snapshot.versions == {("scores.score", "old"): OLD, ("scores.score", "new"): NEW}
    assert snapshot.catalog.features == {"scores.score": OLD}


def test_forgetting_takes_one_fingerprint(store: Store) -> None:
    """The other version of the feature stays."""
    publish(store, lambda w: w.record(OLD), lambda w: w.record(NEW))
    publish(store, lambda w: w.forget("feature", "scores.score", "old"))

    assert list(store.read().versions) == [("scores.score", "new")]


def test_check_results_are_stored_with_a_publication(store: Store) -> None:
    """The results of one environment, newest first, with every field."""
    newer = replace(CHECKED, checked_at=at(days=0), rule="score > 1", name="n", severity="warn", kind="unique")
    publish(store, lambda w: w.checked([CHECKED]))
    publish(store, lambda w: w.checked([newer, replace(newer, environment="pr_1")]), env="pr_1")

    assert store.checks() == [newer, CHECKED]
    assert store.checks("pr_1") == [replace(newer, environment="pr_1")]


def test_check_results_can_be_stored_alone(store: Store) -> None:
    """Nothing else of the writer is published, and the state stays the same, so earlier plans stay valid."""
    publish(store, build())
    before = store.read()
    with store.writing(pytest.fail) as writer:
        build("scores_2")(writer)
        writer.record(OLD)
        writer.checked([CHECKED])
        writer.keep_checks()

    assert store.checks() == [CHECKED]
    assert store.read() == before
    assert len(store.history()) == 1
    publish(store, build("scores_3"))
    assert (store.checks(), store.read().head.serial) == ([CHECKED], 2)


def test_before_the_first_apply_no_check_results_are_stored(store: Store) -> None:
    """A failed check in the first apply creates no store."""
    assert store.checks() == []
    with store.writing(pytest.fail) as writer:
        writer.checked([CHECKED])
        writer.keep_checks()

    assert (store.checks(), store.read()) == ([], Snapshot())


def test_check_results_are_deleted_with_the_history(store: Store) -> None:
    """Storing new results deletes those that are older than 30 days, the default."""
    old, young = replace(CHECKED, checked_at=at(days=31)), replace(CHECKED, checked_at=at(days=29))
    publish(store, lambda w: w.checked([old, young]))
    assert store.checks() == [young, old]

    with store.writing(pytest.fail) as writer:
        writer.checked([CHECKED])
        writer.keep_checks()
    assert store.checks() == [CHECKED, young]


def test_a_writer_reports_the_size_of_its_tables(store: Store) -> None:
    """Zero at first, growing with each large table, and at the end about the sum of the tables' sizes."""
    with store.writing(pytest.fail) as writer:
        sizes = [writer.written()]
        for number in (1, 2):
            build(f"scores_{number}", "SELECT i AS user_id, random() AS score FROM range(500_000) t(i)")(writer)
            sizes.append(writer.written())
        writer.publish(entry(1))
        sizes.append(writer.written())

    assert sizes[0] == 0
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3] == pytest.approx(sum(table.bytes for table in store.read().tables.values()), rel=0.1)


def test_a_table_is_read_as_it_was_built(store: Store, project: Project) -> None:
    """The rows, and the table's metadata in the registry."""
    publish(store, build(sql="SELECT * FROM (VALUES (1, 0.5), (2, NULL)) t(user_id, score)"))

    table = store.read().tables["scores_1"]
    assert rows(store, project, "scores_1") == [(1, 0.5), (2, None)]
    assert (table.name, table.rows, table.columns) == ("scores_1", 2, COLUMNS)
    assert table.engine.startswith("duckdb ")


def test_a_table_reads_others_of_this_apply_and_of_earlier_ones(store: Store, project: Project) -> None:
    """Derived groups are built from both."""
    publish(store, build("first"))
    publish(
        store,
        build("second", "SELECT 2 AS user_id, 1.5 AS score"),
        build("both", "FROM tables.first UNION ALL FROM tables.second", ("first", "second")),
    )

    assert rows(store, project, "both") == [(1, 0.5), (2, 1.5)]


def test_a_table_without_entities_and_rows_can_be_listed(store: Store) -> None:
    """A table without entities has no rows per entity; the numbers must be valid JSON."""
    publish(store, build("empty", "SELECT 1 AS user_id, 0.5 AS score WHERE false"))

    table = store.read().tables["empty"]
    assert (table.rows, table.entity_rows) == (0, (0.0, 0.0))


def test_a_writer_opens_tables_to_check_them(store: Store) -> None:
    """Tables of this apply and of an earlier one."""
    publish(store, build("first"))
    with store.writing(pytest.fail) as writer:
        writer.build("second", "SELECT 2 AS user_id, 1.5 AS score", COLUMNS, ())
        for name in ("first", "second"):
            writer.open([name])

        query = "SELECT sum(score) FROM (FROM tables.first UNION ALL FROM tables.second)"
        assert writer.session.rows(query) == [(2.0,)]


def test_a_released_table_is_no_longer_listed(store: Store) -> None:
    """The other tables stay listed."""
    publish(store, build("first"), build("second"))
    publish(store, lambda w: w.release("first"))

    assert list(store.read().tables) == ["second"]


def test_a_view_reads_stored_tables(store: Store, project: Project) -> None:
    """Under the names that the plan uses."""
    publish(store, build(), lambda w: w.put_view("scores", "SELECT score FROM tables.scores_1"))

    assert viewed(store, project, "scores") == [(0.5,)]


def test_a_view_is_replaced_and_dropped(store: Store, project: Project) -> None:
    """The latest apply decides; unknown view names are ignored."""
    publish(store, lambda w: w.put_view("one", "SELECT 1"), lambda w: w.put_view("two", "SELECT 1"))
    publish(store, lambda w: w.put_view("one", "SELECT 2"), lambda w: w.drop_view("two"))

    assert viewed(store, project, "one") == [(2,)]
    reader = session.open_session(project)
    store.open_views(reader, ["one", "two", "three"])
    names = reader.rows("SELECT DISTINCT view_name FROM duckdb_views() WHERE schema_name = 'prod'")
    assert names == [("one",)]


def test_nothing_is_seen_before_it_is_published(store: Store) -> None:
    """A reader that runs beside a writer sees the earlier state, without waiting."""
    publish(store, lambda w: w.record(USER))
    before, token = store.read(), store.token()
    with store.writing(pytest.fail) as writer:
        writer.build("scores_1", "SELECT 1 AS user_id, 0.5 AS score", COLUMNS, ())
        writer.record(OLD)
        writer.forget("entity", "user", "")
        writer.put_view("scores", "SELECT 1")

        assert (store.read(), store.token()) == (before, token)
        writer.publish(entry(2))

    assert list(store.read().tables) == ["scores_1"]
    assert store.read().catalog.entities == {}


def test_an_interrupted_apply_has_no_effect(store: Store) -> None:
    """After an exception the store is unchanged, and the next apply works."""
    publish(store, lambda w: w.record(USER))
    before, token = store.read(), store.token()

    with pytest.raises(ZeroDivisionError):
        publish(store, build(), lambda w: w.record(OLD), lambda _: 1 / 0)

    assert (store.read(), store.token()) == (before, token)
    publish(store, build())
    assert list(store.read().tables) == ["scores_1"]


def test_a_reader_keeps_what_it_opened(store: Store, project: Project) -> None:
    """A reader can still read a table after a later apply released it."""
    publish(store, build())
    reader = session.open_session(project)
    store.open_tables(reader, store.read().tables.values())
    publish(store, build("scores_2", "SELECT 1 AS user_id, 9.5 AS score"), lambda w: w.release("scores_1"))

    assert reader.rows("SELECT * FROM tables.scores_1") == [(1, 0.5)]


def test_one_session_reads_tables_of_two_states(store: Store, project: Project) -> None:
    """Pinned tables can be older than current ones."""
    publish(store, build("first"))
    publish(store, build("second", "SELECT 2 AS user_id, 1.5 AS score"))
    reader = session.open_session(project)
    store.open_tables(reader, store.read().tables.values())

    assert reader.rows("FROM tables.first UNION ALL FROM tables.second ORDER BY ALL") == [
        (1, 0.5),
        (2, 1.5),
    ]


def test_history_lists_the_newest_first(store: Store) -> None:
    """Each entry is read back as it was written."""
    publish(store)
    publish(store)

    assert store.history() == [entry(2), entry(1)]


def test_a_second_writer_waits_and_learns_who_holds_the_store(store: Store) -> None:
    """It is notified once that it waits, and gives up after the project's lock_timeout."""
    told: list[str] = []
    with store.writing(pytest.fail):
        with pytest.raises(StoreLockedError, match="is writing to"), store.writing(told.append):
            pytest.fail("two writers at once")

        assert len(told) == 1

    publish(store)


def test_an_intact_store_has_not_drifted(store: Store) -> None:
    """There is no drift right after an apply."""
    publish(
        store, build(), lambda w: w.record(OLD), lambda w: w.record(GROUP), lambda w: w.put_view("scores", "SELECT 1")
    )

    assert store.drift(store.read()) == Drift()


@pytest.mark.parametrize("act", ["DROP VIEW prod.scores", "CREATE OR REPLACE VIEW prod.scores AS SELECT 9 AS score"])
def test_a_missing_or_replaced_view_has_drifted(kind: Implementation, store: Store, project: Project, act: str) -> None:
    """A view that was dropped or replaced by hand; other views are not reported."""
    view = 'SELECT score FROM tables."scores_1"'
    publish(store, build(), lambda w: w.put_view("scores", view), lambda w: w.put_view("others", view))
    kind.edit(project, act)

    assert store.drift(store.read()) == Drift(views=frozenset({"scores"}))


def test_views_over_a_table_without_a_view_have_drifted(kind: Implementation, store: Store, project: Project) -> None:
    """Reading such views would fail."""
    publish(store, build(), lambda w: w.put_view("scores", 'SELECT score FROM tables."scores_1"'))
    publish(store, lambda w: w.put_view("one", "SELECT 1 AS one"))
    kind.edit(project, "DROP VIEW tables.scores_1")

    assert store.drift(store.read()) == Drift(views=frozenset({"scores"}))


@pytest.mark.parametrize(
    "act",
    [
        "DELETE FROM scores_1",
        "INSERT INTO scores_1 VALUES (2, 1.5)",
        "UPDATE scores_1 SET score = score + 1",
        "ALTER TABLE scores_1 DROP score",
        "DROP TABLE scores_1",
    ],
)
def test_a_table_that_was_altered_by_hand_has_drifted(
    kind: Implementation, store: Store, project: Project, act: str
) -> None:
    """Altered rows, altered columns, or a dropped table; other tables are not reported."""
    publish(store, build())
    publish(store, build("other"))
    kind.alter(project, store.read().tables["scores_1"], act)

    assert store.drift(store.read()) == Drift(tables=frozenset({"scores_1"}))
    assert store.read_with_drift() == (store.read(), Drift(tables=frozenset({"scores_1"})))


def test_a_copy_of_a_store_has_not_drifted(kind: Implementation, store: Store, project: Project) -> None:
    """The copies have newer times and the same content."""
    publish(store, build())
    kind.touch(project, store.read().tables["scores_1"].file)

    assert store.drift(store.read()) == Drift()


def test_an_environment_is_a_copy_of_prod_from_its_first_apply_on(store: Store, project: Project) -> None:
    """An environment has its own definitions and views; all environments share stored tables."""
    publish(
        store, build(), lambda w: w.record(USER), lambda w: w.put_view("scores", "SELECT score FROM tables.scores_1")
    )
    assert store.read("trial").is_new
    assert store.read("trial").catalog == store.read().catalog

    publish(store, lambda w: w.record(replace(USER, owner="accounts")), env="trial")
    publish(store, lambda w: w.put_view("scores", "SELECT 2.5 AS score"), env="trial")

    assert not store.read("trial").is_new
    assert store.read("trial").catalog.entities == {"user": replace(USER, owner="accounts")}
    assert store.read().catalog.entities == {"user": USER}
    assert (viewed(store, project, "scores", "trial"), viewed(store, project, "scores")) == ([(2.5,)], [(0.5,)])
    assert store.drift(store.read("trial")) == store.drift(store.read()) == Drift()
    assert store.read_with_drift("trial") == (store.read("trial"), Drift())
    assert [each.name for each in store.environments()] == ["prod", "trial"]


def test_an_apply_elsewhere_leaves_the_head_of_an_environment(store: Store) -> None:
    """A plan for prod does not become stale when another environment changes."""
    publish(store, lambda w: w.record(USER))
    before = store.read().head
    publish(store, lambda w: w.forget("entity", "user", ""), env="trial")

    assert store.read().head == before
    assert store.read("trial").head.serial == 2
    publish(store)
    assert store.read().head.serial == 3


def test_dropping_an_environment_drops_its_views(store: Store, project: Project) -> None:
    """Prod does not change."""
    publish(
        store, build(), lambda w: w.record(USER), lambda w: w.put_view("scores", "SELECT score FROM tables.scores_1")
    )
    publish(store, lambda w: w.expire_after(60), env="trial")
    publish(store, lambda w: w.drop_environment("trial"))

    assert [each.name for each in store.environments()] == ["prod"]
    assert store.read("trial").is_new
    with pytest.raises(EngineError):
        viewed(store, project, "scores", "trial")
    assert viewed(store, project, "scores") == [(0.5,)]


def test_an_environment_has_an_expiry(store: Store) -> None:
    """Set by the environment's last apply with an expiry; prod never expires."""
    publish(store)
    publish(store, lambda w: w.expire_after(3600), env="trial")
    prod, trial = store.environments()

    assert prod.expires_at is None
    assert trial.expires_at is not None
    lasts = datetime.fromisoformat(trial.expires_at) - datetime.fromisoformat(trial.made_at)
    assert lasts == timedelta(hours=1)


def test_earlier_states_can_be_read(store: Store) -> None:
    """Each state with its versions and groups, in each environment."""
    publish(store, lambda w: w.record(OLD), lambda w: w.record(GROUP))
    publish(store, lambda w: w.record(NEW), lambda w: w.forget("feature", "scores.score", "old"),
            lambda w: w.record(replace(GROUP, members=(Member(column="score", feature="scores.score", fingerprint="new"),))))  # fmt: skip
    publish(store, lambda w: w.forget("group", "scores", ""), lambda w: w.forget("feature", "scores.score", "new"))

    assert [list(store.read(serial=serial).versions) for serial in (1, 2, 3)] == [
        [("scores.score", "old")], [("scores.score", "new")], [],
    ]  # fmt: skip
    assert store.read(serial=1).catalog.features == {"scores.score": OLD}
    with pytest.raises(StoreError, match="The store does not keep state 4"):
        store.read(serial=4)


def test_replaced_states_can_be_deleted(store: Store) -> None:
    """Earlier states are refused; current definitions stay known, and so do the tables of later states."""
    publish(store, lambda w: w.record(OLD), lambda w: w.record(GROUP), lambda w: w.record(USER))
    publish(store, lambda w: w.record(NEW), lambda w: w.forget("feature", "scores.score", "old"),
            lambda w: w.record(replace(GROUP, members=(Member(column="score", feature="scores.score", fingerprint="new"),))))  # fmt: skip
    assert store.tables_since(0) == {"scores_1", "scores_2"}
    assert store.tables_since(2) == {"scores_2"}
    publish(store, lambda w: w.forget_until(2))

    assert store.read(serial=2).catalog.features == {"scores.score": NEW}
    assert store.read().catalog.entities == {"user": USER}
    assert store.tables_since(0) == {"scores_2"}
    with pytest.raises(StoreError, match="The store does not keep state 1, only states 2 to 3"):
        store.read(serial=1)


def test_the_plan_of_an_apply_is_kept_with_it(store: Store) -> None:
    """The plan is kept as long as the definitions that the apply replaced."""
    publish(store, plan='{"a": "é"}')
    publish(store)

    assert [store.plan(serial) for serial in (1, 2, 3)] == ['{"a": "é"}', "", ""]
    publish(store, lambda w: w.forget_until(2))
    assert store.plan(1) == ""


def test_tables_beside_a_released_one_stay_readable(store: Store, project: Project) -> None:
    """They are moved if necessary, so that the space of the released table can be reclaimed."""
    publish(store, build("first"), build("second", "SELECT 2 AS user_id, 1.5 AS score"))
    publish(store, lambda w: w.release("first"))

    assert rows(store, project, "second") == [(2, 1.5)]
    assert store.drift(store.read()) == Drift()


def test_rows_are_compared_with_their_digest(kind: Implementation, store: Store, project: Project) -> None:
    """After a build, an extension and a replacement."""
    times = "SELECT range::INT AS user_id, TIMESTAMP '2026-01-01' + to_days(range::INT) AS event_timestamp, 1 AS score FROM range({})"
    columns = (
        Column(name="user_id", dtype="INTEGER"),
        Column(name="event_timestamp", dtype="TIMESTAMP"),
        Column(name="score", dtype="INTEGER"),
    )
    publish(store, *(partial(make, name, times.format(3), columns) for name in ("longer", "other")))
    publish(store, build())
    later = f"{times.format(5)} WHERE range >= 2"
    publish(store, lambda w: w.extend("longer", later, since="2026-01-03 00:00:00"))
    publish(
        store,
        lambda w: w.replace("other", times.format(4)),
        lambda w: w.extend("longer", later.replace("5", "7"), since="2026-01-03 00:00:00"),
    )
    snapshot = store.read()
    assert (snapshot.tables["longer"].rows, snapshot.tables["other"].rows) == (7, 4)
    assert store.examine(snapshot) == Examined()

    kind.alter(project, snapshot.tables["scores_1"], "UPDATE scores_1 SET score = score + 1")
    assert store.examine(snapshot).altered == {"scores_1"}
    assert store.drift(snapshot) == Drift(tables=frozenset({"scores_1"}))


def make(name: str, sql: str, columns: tuple[Column, ...], writer: Writer) -> int:
    """Build a table with these columns, keyed by user."""
    return writer.build(name, sql, columns, (), ("user_id",))


def test_replacing_all_rows_writes_only_changed_ones(store: Store) -> None:
    """The table also records since when rows differ, and whether an old row is gone."""
    sql = "SELECT range::INT AS user_id, TIMESTAMP '2026-01-01' + to_days(range::INT) AS event_timestamp, {} AS score FROM range(3)"
    columns = tuple(
        Column(name=name, dtype=dtype)
        for name, dtype in (("user_id", "INTEGER"), ("event_timestamp", "TIMESTAMP"), ("score", "INTEGER"))
    )
    publish(store, partial(make, "scores", sql.format(1), columns))
    done: list[int | None] = []
    publish(store, lambda w: done.append(w.replace("scores", sql.format(1))))
    before = store.read().tables["scores"]
    publish(store, lambda w: done.append(w.replace("scores", sql.format("CASE WHEN range = 1 THEN 9 ELSE 1 END"))))
    after = store.read().tables["scores"]
    publish(
        store,
        lambda w: done.append(
            w.replace("scores", sql.format("CASE WHEN range = 1 THEN 9 ELSE 1 END").replace("(3)", "(4)"))
        ),
    )
    longer = store.read().tables["scores"]

    assert done == [None, 3, 4]
    assert before.written == (Written(serial=1),)
    assert after.written[1:] == (Written(serial=3, since="2026-01-02 00:00:00", changed=True),)
    assert longer.written[2:] == (Written(serial=4, since="2026-01-04 00:00:00", changed=False),)
    assert (after.built_at, after.rows, longer.rows) == (before.built_at, 3, 4)


def test_a_table_has_its_build_time_and_size(store: Store) -> None:
    """The duration in seconds and the size in bytes; a larger table has a larger share of its file."""
    many = "SELECT range AS user_id, random() AS score FROM range(500000)"
    publish(store, build("large", many), build("small"))
    large, small = (store.read().tables[name] for name in ("large", "small"))

    assert large.bytes > 1_000_000 > small.bytes > 0
    assert large.seconds > 0


def test_missing_data_have_drifted(kind: Implementation, store: Store, project: Project) -> None:
    """A table whose data are missing is reported by name."""
    publish(store, build("first"))
    publish(store, build("second"))
    kind.lose(project, store.read().tables["second"].file)

    assert store.drift(store.read()) == Drift(tables=frozenset({"second"}))


def test_a_view_is_made_without_opening_the_file_of_its_table() -> None:
    """The view is bound to an empty table with the same columns, and keeps its own SQL."""
    with duckdb.connect() as connection:
        shape = {"scores_1": COLUMNS}
        select = "SELECT * FROM read_duckdb('/nowhere/data.duckdb', table_name => 'scores_1')"
        with view_stubs.stub_tables(connection, shape):
            connection.execute(f"CREATE VIEW scores AS {select}")
        assert view_stubs.shapes(connection, ["memory"]) == {"scores": list(COLUMNS)}
        with pytest.raises(duckdb.Error, match="/nowhere/data.duckdb"):
            connection.execute("FROM scores")


def test_an_error_while_creating_views_is_raised_unchanged(tmp_path: Path) -> None:
    """The session is in a transaction on one database and cannot clean up in another; that error must not hide the first one."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{tmp_path / 'catalogue.duckdb'}' AS catalogue")

        def stopped() -> None:
            with view_stubs.stub_tables(connection, {"scores_1": COLUMNS}):
                connection.execute("BEGIN; CREATE TABLE catalogue.scores (score DOUBLE)")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stopped()


def test_a_view_over_an_old_table_and_a_new_one_reads_both(store: Store, project: Project) -> None:
    """One table is in a file of an earlier apply, the other in a file of this one."""
    publish(store, build())
    publish(
        store,
        build("scores_2", "SELECT 1 AS user_id, 2.5 AS score"),
        lambda writer: writer.put_view("new", 'SELECT * FROM tables."scores_2"'),
        lambda writer: writer.put_view("both", 'FROM tables."scores_1" UNION ALL FROM tables.scores_2'),
    )
    reader = session.open_session(project)
    store.open_views(reader, ["new", "both"])
    assert reader.rows("FROM prod.new") == [(1, 2.5)]
    assert reader.rows("FROM prod.both ORDER BY score") == [(1, 0.5), (1, 2.5)]
    assert store.drift(store.read()) == Drift()


def test_the_rows_of_entities_are_counted_for_each_table_of_a_file(store: Store) -> None:
    """The mean rows per entity, plain and weighted by rows; a table without rows has no entities."""
    keys = ("user_id",)
    many = "SELECT user_id, 0.5 AS score FROM unnest([1, 1, 1, 2]) AS rows(user_id)"
    none = "SELECT 1 AS user_id, 0.5 AS score LIMIT 0"
    publish(
        store,
        lambda writer: writer.build("many", many, COLUMNS, (), keys),
        lambda writer: writer.build("none", none, COLUMNS, (), keys),
    )
    found = {name: (table.rows, table.entity_rows) for name, table in store.read().tables.items()}
    assert found == {"many": (4, (2.0, 2.5)), "none": (0, (0.0, 0.0))}


def extended(sql: str, since: str, done: list[int | None]) -> Callable[[Writer], object]:
    """Return the writer call that replaces the rows of the table `held` from a time on."""
    return lambda writer: done.append(writer.extend("held", sql, since=since))


@pytest.mark.parametrize("at_once", [True, False])
def test_rows_end_at_the_next_row_of_their_entity(store: Store, project: Project, *, at_once: bool) -> None:
    """In a table of this apply and in a published one: with nanoseconds, and with a key named "first"."""
    dtypes = {"first": "VARCHAR", "event_timestamp": "TIMESTAMP_NS", "#until": "TIMESTAMP_NS"}
    columns = tuple(Column(name=name, dtype=dtype) for name, dtype in dtypes.items())
    times = ["2026-01-01 00:00:00", "2026-01-01 00:00:00.000000001", "2026-01-01 00:00:00.00000001", "infinity"]

    def held(*values: tuple[str, int]) -> str:
        listed = ", ".join(f"({key}, TIMESTAMP_NS '{times[time]}')" for key, time in values)
        end = "lead(event_timestamp, 1, TIMESTAMP_NS 'infinity') OVER (PARTITION BY first ORDER BY event_timestamp)"
        select = "SELECT first::VARCHAR AS first, event_timestamp"
        return f'{select}, {end} AS "#until" FROM (VALUES {listed}) AS rows(first, event_timestamp)'

    done: list[int | None] = []
    acts = [
        partial(make_held, held(("'c'", 0), ("'a'", 0), ("'a'", 1)), columns),
        extended(held(("'c'", 1), ("'b'", 1)), times[1], done),
        extended(held(("'c'", 2), ("'a'", 2), ("'a'", 3)), times[2], done),
        extended(held(("'c'", 2), ("'a'", 2)), times[2], done),
    ]
    if at_once:
        publish(store, *acts)
    else:
        for act in acts:
            publish(store, act)
    reader = session.open_session(project)
    store.open_tables(reader, [store.read().tables["held"]])
    query = 'SELECT first, event_timestamp::VARCHAR, "#until"::VARCHAR FROM tables.held ORDER BY ALL'

    assert done == [2, 3, 2]
    assert reader.rows(query) == [
        ("a", times[0], times[2]),
        ("a", times[2], "infinity"),
        ("b", times[1], "infinity"),
        ("c", times[0], times[1]),
        ("c", times[1], times[2]),
        ("c", times[2], "infinity"),
    ]


def make_held(sql: str, columns: tuple[Column, ...], writer: Writer) -> int:
    """Build the table `held`, whose key is named "first"."""
    return writer.build("held", sql, columns, (), ("first",))


def measured(serial: int, table: str = "scores_1", **figures: object) -> TableStatistics:
    """Return statistics as a run keeps them."""
    column = ColumnStatistics(
        dtype="DOUBLE", fingerprint="old", rows=2, nulls=1, distinct=1, minimum="0.5", maximum="0.5", mean=0.5,
        quantiles=("0.5",) * 7, top=(TopValue(value="0.5 é", rows=1),), bins=(Bin(low=0.5, high=1.0, rows=1),),
    )  # fmt: skip
    return TableStatistics(
        table=table, serial=serial, computed_at="2026-01-01T00:00:00+00:00", during="apply", rows=2,
        columns={"score": replace(column, **figures)},
    )  # fmt: skip


def test_statistics_are_kept_by_run(store: Store) -> None:
    """They are read as they were written, the newest first, and only those of the wanted tables."""
    assert store.statistics(["scores_1"]) == {}
    publish(store, build(), build("scores_2"), lambda writer: writer.measured([measured(1), measured(1, "scores_2")]))
    publish(store, lambda writer: writer.measured([measured(2, nulls=0)]))
    assert store.statistics(["scores_1", "unknown"]) == {"scores_1": [measured(2, nulls=0), measured(1)]}


def test_statistics_go_with_their_table(store: Store) -> None:
    """A released table has none, and others keep theirs."""
    publish(store, build(), build("scores_2"), lambda writer: writer.measured([measured(1), measured(1, "scores_2")]))
    publish(store, lambda writer: writer.release("scores_1"))
    assert store.statistics(["scores_1", "scores_2"]) == {"scores_2": [measured(1, "scores_2")]}


def test_statistics_of_the_last_runs_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is refreshed often does not let the registry grow without end."""
    monkeypatch.setattr(registry, "_RUNS", 3)
    publish(store, build(), build("scores_2"), lambda writer: writer.measured([measured(1), measured(1, "scores_2")]))
    for serial in range(2, 6):
        publish(store, lambda writer, serial=serial: writer.measured([measured(serial)]))
    kept = store.statistics(["scores_1", "scores_2"])
    assert {name: [each.serial for each in runs] for name, runs in kept.items()} == {
        "scores_1": [5, 4, 3],
        "scores_2": [1],
    }


def test_a_store_of_an_earlier_release_gets_the_table_of_statistics(
    store: Store, kind: Implementation, project: Project
) -> None:
    """Without the table there are no statistics; a run that has some makes it, and one that has none does not need it."""
    publish(store, build(), build("scores_2"))
    kind.edit(project, "DROP TABLE IF EXISTS registry.statistics")
    assert store.statistics(["scores_1"]) == {}
    publish(store, lambda writer: writer.release("scores_2"))
    assert store.statistics(["scores_1"]) == {}
    publish(store, lambda writer: writer.measured([measured(3)]))
    assert store.statistics(["scores_1"]) == {"scores_1": [measured(3)]}
