"""Pushing: what is accepted, what is refused, and what plan, apply and refresh make of it."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from featdsl import DeclarationError, Source
from featdsl.errors import Problem, RequestError, ResourceError, StoreError
from featdsl.featurestore import FeatureStore
from featdsl.push.events import PushResult
from featdsl.stores.event_log import EventLog
from tests.conftest import Workspace
from tests.push.declared import SHOP, click, shop, trained


def refused(store: FeatureStore, rows: Any, source: Any = "clicks") -> Problem:
    """Return the one problem of a push, which must have written nothing."""
    before = store._states.event_log("clicks").read()
    with pytest.raises(RequestError) as error:
        store.push(source, rows)
    assert store._states.event_log("clicks").read() == before
    (problem,) = error.value.problems
    return problem


def counted(workspace: Workspace, user: int = 1) -> int:
    """Return the number of events of a user in training after a refresh."""
    done = workspace.run("refresh")
    assert done.returncode == 0, done.stderr
    ((_, times, _),) = trained(workspace, [user], "02-01 00:00")
    return int(times)


# What is accepted


def test_events_are_in_training_after_the_next_refresh(workspace: Workspace) -> None:
    """The latest value, the number and the sum of the events before a time."""
    store = shop(workspace).store
    assert store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(1, 7.0, "01-03 10:00")]) == PushResult(2, 0)
    assert workspace.run("refresh").returncode == 0
    assert trained(workspace, [1, 2], "01-04 00:00") == [(7.0, 2, 12.0), (None, 0, None)]


def test_a_source_without_events_applies_to_empty_tables(workspace: Workspace) -> None:
    """The first events are those of the next refresh."""
    shop(workspace)
    assert trained(workspace, [1], "01-04 00:00") == [(None, 0, None)]
    assert workspace.run("plan", "--check").returncode == 0


def test_equal_rows_are_one_event(workspace: Workspace) -> None:
    """In one call and in several, however their values are written."""
    store = shop(workspace).store
    event = click(1, 5.0, "01-02 10:00")
    assert store.push("clicks", [event, dict(event)]) == PushResult(1, 1)
    written = {
        **event,
        "user_id": "1",
        "amount": 5,
        "at": dt.datetime(2026, 1, 2, 11, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    }
    assert store.push("clicks", [written, click(1, 5.5, "01-02 10:00")]) == PushResult(1, 1)
    assert counted(workspace) == 2


def test_an_event_is_a_duplicate_after_a_refresh_too(workspace: Workspace) -> None:
    """The log knows the ids of all events, also of those in files."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert counted(workspace) == 1
    assert store.push("clicks", [click(1, 5.0, "01-02 10:00")]) == PushResult(0, 1)
    assert counted(workspace) == 1


def test_an_event_id_identifies_an_event(workspace: Workspace) -> None:
    """The first event with an id counts, whatever a later one with this id has."""
    files = {
        **SHOP,
        "features/clicks.py": SHOP["features/clicks.py"].replace('timestamp="at"', 'timestamp="at", event_id="number"'),
    }
    workspace.write(files).apply()
    store = workspace.store
    assert store.push("clicks", [click(1, 5.0, "01-02 10:00", 7), click(1, 6.0, "01-02 10:00", 7)]) == PushResult(1, 1)
    assert store.push("clicks", [click(1, 5.0, "01-02 10:00", 8)]) == PushResult(1, 0)
    assert refused(store, [click(1, 5.0, "01-02 10:00") | {"number": None}]) == Problem(
        "Missing event id",
        "The event has no number, the event id of source clicks.",
        fix="The columns are: amount: DOUBLE, at: TIMESTAMP, number: BIGINT, shop: VARCHAR, user_id: BIGINT.",
    )
    assert counted(workspace) == 2


def test_of_events_at_one_time_the_last_to_arrive_wins(workspace: Workspace) -> None:
    """No refresh fails on them, and SQL sees the order of arrival."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(1, 3.0, "01-02 10:00")])
    assert workspace.run("refresh").returncode == 0
    assert trained(workspace, [1], "01-03 00:00") == [(3.0, 2, 8.0)]


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist, list])
def test_rows_may_be_a_frame(workspace: Workspace, kind: Any) -> None:
    """Of pandas, polars or pyarrow, or a list of dicts."""
    store = shop(workspace).store
    rows = [click(1, 5.0, "01-02 10:00"), click(1, 6.0, "01-02 11:00")]
    times = [{**row, "at": dt.datetime.fromisoformat(row["at"])} for row in rows]
    assert store.push("clicks", kind(times)) == PushResult(2, 0)
    assert counted(workspace) == 2


TYPES: dict[str, tuple[Any, str]] = {
    "BOOLEAN": (True, "true"),
    "UBIGINT": (2**64 - 1, "18446744073709551615"),
    "HUGEINT": (-(2**126), "-85070591730234615865843651857942052864"),
    "FLOAT": (0.5, "0.5"),
    "DOUBLE": (0.1, "0.1"),
    "DECIMAL(38,10)": ("123.4567891234", "123.4567891234"),
    "VARCHAR": ("a\"b,['é']\n\\", "a\"b,['é']\n\\"),
    "BLOB": (b"\x00\xffa", "\\x00\\xFFa"),
    "DATE": (dt.date(2024, 2, 29), "2024-02-29"),
    "TIMESTAMP_NS": ("2024-01-01 01:02:03.123456789", "2024-01-01 01:02:03.123456789"),
    "TIMESTAMP WITH TIME ZONE": ("2024-01-01T02:00:00+02:00", "2024-01-01 00:00:00+00"),
    "INTERVAL": ("1 month 3 days", "1 month 3 days"),
    "TIME WITH TIME ZONE": ("01:02:03+02", "01:02:03+02"),
    "UUID": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "VARCHAR[]": (["a,b", None, "NULL", ""], "['a,b', NULL, 'NULL', '']"),
    'STRUCT(a VARCHAR, "b c" INTEGER[])': ({"a": "x: }y", "b c": [1, None]}, "{'a': 'x: }y', 'b c': [1, NULL]}"),
}
"""Values by type, and their texts."""


def test_values_of_every_type_arrive_unchanged(workspace: Workspace) -> None:
    """Through the log, through a file, and merged from both."""
    schema = {f"v{number}": dtype for number, dtype in enumerate(TYPES)}
    listed = ", ".join(f"{name!r}: {dtype!r}" for name, dtype in schema.items())
    features = "\n".join(f"    f{n} = Feature({dtype!r}, sql='v{n}')" for n, dtype in enumerate(TYPES))
    workspace.write({
        **SHOP,
        "features/clicks.py": f"""
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={{"user_id": int}})
clicks = Source.push("clicks", schema={{"user_id": int, "at": "TIMESTAMP", {listed}}}, timestamp="at")


class Types(FeatureGroup, entity=user, source=clicks):
{features}
""",
    })  # fmt: skip
    workspace.apply()
    store = workspace.store
    values = {f"v{number}": given for number, (given, _) in enumerate(TYPES.values())}
    empty = dict.fromkeys(values)
    store.push("clicks", [{"user_id": 1, "at": "2026-01-01", **values}])
    done = workspace.run("refresh")
    assert done.returncode == 0, done.stderr
    store.push("clicks", [{"user_id": 2, "at": "2026-01-02", **values}, {"user_id": 3, "at": "2026-01-02", **empty}])
    done = workspace.run("refresh")
    assert done.returncode == 0, done.stderr
    spine = "SELECT unnest([1, 2, 3]) AS user_id, TIMESTAMP '2026-01-03' AS ts"
    names = [f"types.f{number}" for number in range(len(TYPES))]
    found = store.training_set(names, spine, timestamp="ts").relation
    texts = found.project(", ".join(f"CAST(f{number} AS VARCHAR)" for number in range(len(TYPES))))
    first, second, third = texts.fetchall()
    assert list(first) == list(second) == [text for _, text in TYPES.values()]
    assert set(third) == {None}


# What is refused


def test_events_that_do_not_fit_are_refused(workspace: Workspace) -> None:
    """With the nearest name, without the value, and all of a call or none."""
    store = shop(workspace).store
    event = click(1, 5.0, "01-02 10:00")
    columns = "The columns are: amount: DOUBLE, at: TIMESTAMP, number: BIGINT, shop: VARCHAR, user_id: BIGINT."
    assert refused(store, [event, {**event, "amout": 1.0}]) == Problem(
        "Unknown column", "source clicks has no column 'amout' in row 2.", fix='Did you mean "amount"?'
    )
    assert refused(store, [{"user_id": 1}]) == Problem(
        "Missing column", "The event has no column 'amount', which source clicks needs.", fix=columns
    )
    assert refused(store, [event, {**event, "amount": "hunter2"}]) == Problem(
        "Wrong type of column",
        "source clicks: the column amount is DOUBLE, which a value of type str in row 2 is not.",
        fix="Give a value of the type DOUBLE, or None.",
    )
    assert refused(store, [event, {**event, "at": None}]) == Problem(
        "Missing event time", "The event in row 2 has no at, the event time of source clicks.", fix=columns
    )
    assert refused(store, [{**event, "at": "2999-01-01"}]) == Problem(
        "Event time in the future",
        "The at of the event is more than a day in the future.",
        fix="Give the time in UTC, or with its zone.",
    )
    assert refused(store, ["hunter2"]) == Problem(
        "Not an event", "source clicks: the event is no dict of columns.", fix=columns
    )
    assert refused(store, event) == Problem("Not rows", "rows= is one dict.", fix="Give a list of dicts: [{...}].")
    assert refused(store, "hunter2") == Problem(
        "Not rows", "rows= is str, not a list of rows.", fix="Give a list of dicts, or a frame."
    )


def test_a_value_that_only_the_engine_refuses_is_named_by_its_row(workspace: Workspace) -> None:
    """The engine's text shows the value, so the message is another."""
    workspace.write({
        **SHOP,
        "features/clicks.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
clicks = Source.push("clicks", schema={"user_id": int, "at": "TIMESTAMP", "gap": "INTERVAL"}, timestamp="at")


class Gap(FeatureGroup, entity=user, source=clicks):
    gap = Feature("INTERVAL", sql="gap")
""",
    })  # fmt: skip
    workspace.apply()
    good = {"user_id": 1, "at": "2026-01-01", "gap": "1 day"}
    assert refused(workspace.store, [good, {**good, "gap": "hunter2"}]) == Problem(
        "Wrong type of column",
        "source clicks: a value in row 2 does not fit its column.",
        fix="Give values of the declared types.",
    )


def test_sources_that_take_no_events_are_refused(workspace: Workspace) -> None:
    """With the nearest name of one that does."""
    files = workspace.write(SHOP).parquet("data/a.parquet", "SELECT 1 AS user_id").root / "features/other.py"
    files.write_text("from featdsl import Source\nfiles = Source('files', path='data/a.parquet')\n", encoding="utf-8")
    workspace.apply()
    store = workspace.store
    assert refused(store, [], "click") == Problem(
        "Unknown source", "No applied source has the name 'click'.", fix='Did you mean "clicks"?'
    )
    fix = "Sources that take events: clicks. A new source takes events after featdsl apply."
    assert refused(store, [], 7) == Problem("Unknown source", "No applied source has the name 7.", fix=fix)
    assert store.push("clicks", []) == PushResult(0, 0)


def test_a_time_that_is_skipped_is_refused(workspace: Workspace) -> None:
    """A local time that no clock shows has no instant."""
    zoned = SHOP["features/clicks.py"].replace('timestamp="at"', 'timestamp="at", timezone="Europe/Berlin"')
    workspace.write({**SHOP, "features/clicks.py": zoned}).apply()
    store = workspace.store
    problem = refused(store, [click(1, 5.0, "03-29 02:30")])
    assert (problem.summary, problem.what) == ("Ambiguous local time", "source clicks: a time cannot be read.")
    assert store.push("clicks", [click(1, 5.0, "01-29 02:30")]) == PushResult(1, 0)


# Declarations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": {}, "timestamp": "at"}, "schema= is empty; give every column of an event with its type"),
        ({"schema": {"a": int}, "timestamp": None}, "timestamp= is missing; name the column with the time of an event"),
        (
            {"schema": {"user": int, "at": str}, "timestamp": "at", "event_id": "usr"},
            "schema= has no column 'usr', the event_id=. Did you mean \"user\"?",
        ),
        (
            {"schema": {"event_number": int, "at": str}, "timestamp": "at"},
            "schema= has event_number, which featdsl adds to every event: its order of arrival",
        ),
        ({"schema": {"a": int, "A": int}, "timestamp": "a"}, "schema= has columns that differ only in case"),
        ({"schema": {"a": int}, "timestamp": "a", "path": "x.csv"}, "events are pushed, so path= has no meaning"),
    ],
)
def test_wrong_declarations_are_refused(options: dict[str, Any], message: str) -> None:
    """Where they are written."""
    with pytest.raises(DeclarationError) as error:
        Source.push("clicks", **options)
    assert message in str(error.value)


def test_a_missing_timestamp_column_is_a_problem_of_the_plan(workspace: Workspace) -> None:
    """The columns are those of the schema."""
    wrong = SHOP["features/clicks.py"].replace('timestamp="at"', 'timestamp="att"')
    done = workspace.write({**SHOP, "features/clicks.py": wrong}).run("plan")
    assert (done.returncode, "source clicks has no column 'att', its timestamp=." in done.stderr) == (1, True)


def test_the_log_is_no_part_of_the_fingerprint(workspace: Workspace) -> None:
    """A plan after a push, and after a change of the event id, recomputes nothing."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert workspace.run("plan", "--check").returncode == 0
    with_id = SHOP["features/clicks.py"].replace('timestamp="at"', 'timestamp="at", event_id="number"')
    workspace.write({"features/clicks.py": with_id})
    assert "Nothing is computed" in workspace.run("plan").stdout or "build" not in workspace.run("plan").stdout


def test_a_new_column_is_null_in_earlier_events(workspace: Workspace) -> None:
    """Apply computes the tables over all events of the log, those of the earlier schema too."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert counted(workspace) == 1
    store.push("clicks", [click(1, 6.0, "01-03 10:00")])
    wider = SHOP["features/clicks.py"].replace('"number": int}', '"number": int, "city": str}')
    wider = wider.replace(
        "class Spent",
        'class City(FeatureGroup, entity=user, source=clicks):\n    city = Feature(str, sql="city")\n\n\nclass Spent',
    )
    workspace.write({"features/clicks.py": wider}).apply()
    store = workspace.store
    store.push("clicks", [{**click(1, 7.0, "01-04 10:00"), "city": "Oslo"}])
    assert counted(workspace) == 3
    rows = store.get_feature("city.city").fetchall()
    assert [city for *_, city in sorted(rows, key=str)] == [None, None, "Oslo"]


def test_a_preview_reads_pushed_events(workspace: Workspace) -> None:
    """Also those that no refresh has read yet."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00"), click(2, 6.0, "01-02 10:00")])
    assert counted(workspace) == 1
    store.push("clicks", [click(3, 7.0, "01-02 10:00"), click(4, 7.0, "01-02 10:00")])
    doubled = SHOP["features/clicks.py"].replace(
        'amount = Feature(float, sql="amount")', 'amount = Feature(float, sql="amount * 2")'
    )
    done = workspace.write({"features/clicks.py": doubled}).run("plan", "--preview", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert '"rows": 4' in done.stdout or "of 4" in done.stdout, done.stdout


# Refreshes


def test_a_refresh_reads_only_new_events(workspace: Workspace) -> None:
    """Those since the refresh before, which are in one new file however many pushes there were."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert counted(workspace) == 1
    for number in range(3):
        store.push("clicks", [click(1, 6.0, f"01-03 10:0{number}")])
    done = workspace.run("refresh")
    first = done.stdout.splitlines()[1].split()
    assert first[:5] == ["everywhere", "extended", "3", "2026-01-03", "10:00:00"]
    assert "1 new file" in done.stdout
    assert workspace.run("refresh").stdout.splitlines()[-1] == "Everything is up to date."


def test_a_late_event_is_counted(workspace: Workspace) -> None:
    """In the windows and the latest values of the times after it."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-05 10:00")])
    assert counted(workspace) == 1
    store.push("clicks", [click(1, 6.0, "01-02 10:00")])
    assert counted(workspace) == 2
    assert trained(workspace, [1], "01-03 00:00") == [(6.0, 1, 6.0)]
    assert workspace.run("refresh", "--full").stdout.splitlines()[-1] == "Everything is up to date."


def test_many_pushes_become_few_files(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes move waiting events to files, which the next refresh merges into one; later files stay as they are."""
    monkeypatch.setattr("featdsl.push.events._WAITING", 3)
    store = shop(workspace).store
    folder = workspace.root / ".featdsl" / "push" / "clicks"
    for number in range(10):
        store.push("clicks", [click(1, 1.0, "01-02 10:00", number)])
    before = store._states.event_log("clicks").read()
    assert (len(before.files), [len(each.texts) for each in before.events]) == (2, [2])
    assert counted(workspace) == 10
    (first,) = store._states.event_log("clicks").read().files
    store.push("clicks", [click(1, 1.0, "01-02 10:00", 10)])
    assert counted(workspace) == 11
    files = store._states.event_log("clicks").read().files
    assert (len(files), first in files) == (2, True)
    for path in folder.glob("*.parquet"):
        os.utime(path, (0, 0))
    store.push("clicks", [click(1, 1.0, "01-02 10:00", 11)])
    assert counted(workspace) == 12
    assert len(list(folder.glob("*.parquet"))) == 3


def test_environments_share_the_events_of_a_source(workspace: Workspace) -> None:
    """Each refresh of an environment reads all events once."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert workspace.run("apply", "--yes", "--env", "trial").returncode == 0
    assert counted(workspace) == 1
    store.push("clicks", [click(1, 6.0, "01-03 10:00")])
    assert workspace.run("refresh", "--env", "trial").returncode == 0
    assert FeatureStore(workspace.root, env="trial").get_features(["times"], user_id=1) == {"times": 2}
    assert counted(workspace) == 2


def test_a_lost_file_of_events_is_named(workspace: Workspace) -> None:
    """A refresh does not go on without it."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    assert counted(workspace) == 1
    (file,) = (workspace.root / ".featdsl/push/clicks").glob("*.parquet")
    file.unlink()
    done = workspace.run("refresh")
    assert (done.returncode, "Pushed events are lost" in done.stderr, str(file) in done.stderr) == (1, True, True)


def test_a_deleted_log_starts_anew(workspace: Workspace) -> None:
    """A store that is open notices that somebody has deleted the folder."""
    store = shop(workspace).store
    store.push("clicks", [click(1, 5.0, "01-02 10:00")])
    for path in (workspace.root / ".featdsl/push/clicks").iterdir():
        path.unlink()
    assert store.push("clicks", [click(1, 5.0, "01-02 10:00")]) == PushResult(1, 0)
    assert counted(workspace) == 1


def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    """Without the text of a library's traceback."""
    (tmp_path / "log").write_text("")
    with pytest.raises(StoreError, match="Log of pushed events cannot be used"):
        EventLog(tmp_path / "log").append((), [])


def test_the_log_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Its tables may have another meaning."""
    import sqlite3

    with sqlite3.connect(tmp_path / "log.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="The log has the format 99; this version of featdsl reads up to 1"):
        EventLog(tmp_path).append((), [])
    assert issubclass(ResourceError, Exception)
