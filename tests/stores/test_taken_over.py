"""Tables that another engine has written as Parquet files: both stores treat them like tables that they have built."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl.definitions.names import literal, quote
from featdsl.definitions.snapshot import Drift, Examined
from featdsl.definitions.sources import Column
from featdsl.definitions.stored_tables import Reading, StoredTable
from featdsl.engines.duckdb import session
from featdsl.engines.external import Computed, ParquetRows, TableFiles
from featdsl.engines.session import EngineError
from featdsl.project.settings import Project
from featdsl.stores import Store, Writer
from tests.stores import test_contract
from tests.stores.test_contract import Implementation, publish

project, kind, store = test_contract.project, test_contract.kind, test_contract.store
ENGINE = "spark 4.3.0"


@dataclass(frozen=True)
class Typed:
    """A column: its type, its value for a number `v` as SQL, and the type in which other engines write it."""

    dtype: str
    value: str
    plain: str


TYPES = {
    "boolean": Typed("BOOLEAN", "v % 2 = 0", "BOOLEAN"),
    "tiny": Typed("TINYINT", "v - 100", "TINYINT"),
    "small": Typed("SMALLINT", "v - 30000", "SMALLINT"),
    "whole": Typed("INTEGER", "v * 1000003", "INTEGER"),
    "big": Typed("BIGINT", "9223372036854775807 - v", "BIGINT"),
    "huge": Typed("HUGEINT", "99999999999999999999999999999999999999::HUGEINT - v", "DECIMAL(38,0)"),
    "utiny": Typed("UTINYINT", "255 - v", "SMALLINT"),
    "usmall": Typed("USMALLINT", "65535 - v", "INTEGER"),
    "uwhole": Typed("UINTEGER", "4294967295 - v", "BIGINT"),
    "ubig": Typed("UBIGINT", "18446744073709551615::UBIGINT - v::UBIGINT", "DECIMAL(20,0)"),
    "single": Typed("FLOAT", "v / 3", "FLOAT"),
    "double": Typed("DOUBLE", "CASE WHEN v = 7 THEN 'nan'::DOUBLE WHEN v = 8 THEN '-inf'::DOUBLE ELSE v / 7 END", "DOUBLE"),
    "money": Typed("DECIMAL(18,3)", "v / 8", "DECIMAL(18,3)"),
    "text": Typed("VARCHAR", "'é''\"' || v", "VARCHAR"),
    "bytes": Typed("BLOB", "('\\x00\\xFF' || v)::BLOB", "BLOB"),
    "day": Typed("DATE", "DATE '1969-12-30' + v::INTEGER", "DATE"),
    "moment": Typed("TIMESTAMP", "TIMESTAMP '1969-12-31 23:59:59.999999' + to_days(v::INTEGER)", "TIMESTAMP"),
    "seconds": Typed("TIMESTAMP_S", "(TIMESTAMP '2026-01-01' + to_days(v::INTEGER))::TIMESTAMP_S", "TIMESTAMP"),
    "millis": Typed("TIMESTAMP_MS", "(TIMESTAMP '2026-01-01 00:00:00.123' + to_days(v::INTEGER))::TIMESTAMP_MS", "TIMESTAMP"),
    "instant": Typed("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_days(v::INTEGER)", "TIMESTAMP WITH TIME ZONE"),
    "choice": Typed("ENUM('a', 'b''é')", "CASE WHEN v % 2 = 0 THEN 'a' ELSE 'b''é' END", "VARCHAR"),
    "id": Typed("UUID", "('00000000-0000-0000-0000-' || lpad(v::VARCHAR, 12, '0'))", "VARCHAR"),
    "list": Typed("UINTEGER[]", "[v, NULL, 4294967295]", "BIGINT[]"),
    "array": Typed("DOUBLE[2]", "[v / 3, NULL]", "DOUBLE[]"),
    "struct": Typed('STRUCT(a UTINYINT, "b c" VARCHAR[])', "{'a': v, 'b c': ['x', v::VARCHAR]}", 'STRUCT(a SMALLINT, "b c" VARCHAR[])'),
    "map": Typed("MAP(VARCHAR, HUGEINT)", "MAP {'k': v::HUGEINT, 'l': NULL}", "MAP(VARCHAR, DECIMAL(38,0))"),
}  # fmt: skip
AS_OF = (Column(name="key", dtype="BIGINT"), Column(name="event_timestamp", dtype="TIMESTAMP"), Column(name="#until", dtype="TIMESTAMP"))  # fmt: skip
COLUMNS = (*AS_OF, *(Column(name=name, dtype=typed.dtype) for name, typed in TYPES.items()))
SIMPLE = (*AS_OF, Column(name="text", dtype="VARCHAR"))
KEYS = ("key",)
Row = tuple[int, int, int]
"""A key, a day of January 2026, and a number from which all values are made; every fifth number stands for NULL."""


def query(rows: Sequence[Row], columns: Sequence[Column] = COLUMNS) -> str:
    """Return the query of a table's rows as DuckDB computes it."""
    names = {column.name for column in columns}
    values = ", ".join(
        f"CAST(CASE WHEN v % 5 > 0 THEN {typed.value} END AS {typed.dtype}) AS {quote(name)}"
        for name, typed in TYPES.items()
        if name in names
    )
    until = """lead(event_timestamp, 1, TIMESTAMP 'infinity') OVER (PARTITION BY key ORDER BY event_timestamp)"""
    listed = ", ".join(f"({key}, TIMESTAMP '2026-01-01' + to_days({day}), {v})" for key, day, v in rows)
    given = f"(VALUES {listed})" if rows else "(SELECT 1, TIMESTAMP '2026-01-01', 1 LIMIT 0)"
    head = "key::BIGINT AS key, event_timestamp"
    ends = f'{until} AS "#until", ' if "#until" in names else ""
    return f"SELECT {head}, {ends}{values} FROM {given} AS rows(key, event_timestamp, v) ORDER BY ALL"


def write(folder: str, sql: str, columns: Sequence[Column] = COLUMNS, files: int = 2) -> ParquetRows:
    """Write the rows of a query as another engine would: in plain types, without infinite times, in several files."""
    plain = {name: typed.plain for name, typed in TYPES.items()}
    listed = ", ".join(
        """CASE WHEN isfinite("#until") THEN "#until" END AS "#until\""""
        if column.name == "#until"
        else f"CAST({quote(column.name)} AS {plain.get(column.name, column.dtype)}) AS {quote(column.name)}"
        for column in columns
    )
    Path(folder).mkdir()
    (Path(folder) / "_SUCCESS").touch()
    (Path(folder) / ".part-0.parquet.crc").write_bytes(b"crc")
    paths, written = [], 0
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE rows AS {sql}")
        for number in range(files):
            paths.append(f"{folder}/part-{number}-c0a8.zstd.parquet")
            part = f"SELECT {listed} FROM rows WHERE rowid % {files} = {number}"
            ((count,),) = connection.execute(f"COPY ({part}) TO {literal(paths[-1])} (FORMAT parquet)").fetchall()
            written += count
    return ParquetRows(tuple(paths), written)


def take_over(writer: Writer, table: str, sql: str, columns: Sequence[Column] = COLUMNS, files: int = 2) -> int:
    """Let an engine elsewhere write the rows of a query, and the store take them over."""
    rows = write(writer.staging(table), sql, columns, files)
    return writer.take_over(table, Computed(rows, ENGINE, 1.5), columns, KEYS)


def taking_over(table: str = "taken", rows: Sequence[Row] = ((1, 0, 1), (1, 1, 2), (2, 0, 5))) -> object:
    """Return the writer call that takes over a table of few columns."""
    return lambda writer: take_over(writer, table, query(rows, SIMPLE), SIMPLE)


@contextlib.contextmanager
def reading(store: Store, project: Project) -> Iterator[session.DuckDBSession]:
    """Yield a new reader with all tables open."""
    reader = session.open_session(project)
    store.open_tables(reader, store.read().tables.values())
    yield reader


def texts(reader: session.DuckDBSession, relation: str) -> list[tuple[object, ...]]:
    """Return the sorted rows of a relation, in the text of their values, as NaN differs from itself."""
    return reader.rows(f"SELECT COLUMNS(*)::VARCHAR FROM {relation} ORDER BY ALL")


def types(reader: session.DuckDBSession, relation: str) -> list[tuple[object, ...]]:
    """Return the names and types of the columns of a relation."""
    return [row[:2] for row in reader.rows(f"DESCRIBE FROM {relation}")]


def ends(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Return the key, the time and the end of each row, by brute force."""
    found = []
    for key, day, _ in rows:
        later = [other for each, other, _ in rows if each == key and other > day]
        found.append((str(key), _time(day), _time(min(later)) if later else "infinity"))
    return sorted(found)


def _time(day: int) -> str:
    return f"2026-01-{day + 1:02d} 00:00:00"


def test_a_table_that_was_taken_over_is_one_that_was_built(store: Store, project: Project) -> None:
    """With values of every type: equal rows and types; the metadata name the engine that computed it."""
    rows = [(key, day, key * 7 + day) for key in range(4) for day in range(5)]
    publish(
        store,
        lambda w: w.build("built", query(rows), COLUMNS, (), KEYS),
        lambda w: take_over(w, "taken", query(rows)),
        lambda w: w.put_view("both", "FROM tables.built EXCEPT ALL FROM tables.taken"),
    )
    tables = store.read().tables
    built, taken = tables["built"], tables["taken"]
    assert (taken.engine, taken.seconds, taken.bytes > 0) == (ENGINE, 1.5, True)
    same = {"name": "built", "file": built.file, "engine": built.engine, "seconds": built.seconds, "bytes": built.bytes}
    assert replace(taken, **same, built_at=built.built_at) == built
    with reading(store, project) as reader:
        assert texts(reader, "tables.taken") == texts(reader, "tables.built")
        assert types(reader, "tables.taken") == types(reader, "tables.built")
        assert reader.rows("FROM tables.built EXCEPT ALL FROM tables.taken") == []
        store.open_views(reader, ["both"])
        assert reader.rows("FROM prod.both") == []
    assert store.drift(store.read()) == Drift()
    assert store.examine(store.read()) == Examined()
    assert store.orphans() == []


days = st.integers(0, 9)
steps = st.lists(
    st.tuples(st.sampled_from(["extend", "extend", "replace", "publish", "lend"]), days, st.integers(0, 99)),
    min_size=1,
    max_size=5,
)


def made(since: int, seed: int) -> list[Row]:
    """Return rows from a day on: a few keys, each with a row on some days."""
    return [
        (key, day, (seed + key * 13 + day * 3) % 100)
        for key in range(3)
        for day in range(since, 10)
        if (seed * 31 + key * 7 + day * 11) % 3 > 0
    ]


@given(first=st.integers(0, 99), steps=steps, as_of=st.booleans())
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.reuse, Phase.generate))
def test_refreshes_give_the_same_tables(
    kind: Implementation, tmp_path_factory: pytest.TempPathFactory, project: Project, first: int,
    steps: list[tuple[str, int, int]], *, as_of: bool,
) -> None:  # fmt: skip
    """Extended, replaced, published in between and lent, in any order: the rows are those of a built table and of a model."""
    store = _fresh(kind, project, tmp_path_factory)
    columns = COLUMNS if as_of else tuple(column for column in COLUMNS if column.name != "#until")
    model, own, replaced, extended = made(0, first), store[1], set[int](), set[int]()
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(store[0].writing(pytest.fail))
        writer.build("built", query(model, columns), columns, (), KEYS)
        take_over(writer, "taken", query(model, columns), columns)
        for act, day, seed in [*steps, ("publish", 0, 0)]:
            is_published = "built" in writer.snapshot.tables
            if act == "extend" and writer.serial not in replaced:  # no run both extends and replaces a published table
                extended.add(writer.serial)
                model = [*(row for row in model if row[1] < day), *made(day, seed)]
                new, since = query(made(day, seed), columns), _time(day)
                done = [writer.extend(name, new, since=since) for name in ("built", "taken")]
                assert done[0] == done[1]
            elif act == "replace" and is_published and writer.serial not in extended:
                model = made(0, seed)
                replaced.add(writer.serial)
                done = writer.replace("built", query(model, columns))
                if day < 5:
                    assert writer.replace("taken", query(model, columns)) == done
                else:
                    rows = write(writer.staging("taken"), query(model, columns), columns)
                    assert writer.replace_with("taken", Computed(rows, ENGINE, 1.0)) == done
            elif act == "publish":
                writer.publish(test_contract.entry(writer.serial))
                stack.close()
                _compare(store[0], own, model, as_of=as_of)
                writer = stack.enter_context(store[0].writing(pytest.fail))
            elif act == "lend":
                lent = writer.lend(["built", "taken"])
                assert read_lent(lent["built"]) == read_lent(lent["taken"])
            for name in ("built", "taken"):
                assert writer.table(name).changed_since(0) == writer.table("built").changed_since(0)


def _fresh(kind: Implementation, project: Project, paths: pytest.TempPathFactory) -> tuple[Store, Project]:
    if project.place is not None:
        store = kind.opened(project)
        if store.read().tables:
            publish(store, lambda w: w.release("built"), lambda w: w.release("taken"))
        return store, project
    own = Project(paths.mktemp("project"), project.settings)
    return kind.opened(own), own


def _compare(store: Store, project: Project, model: list[Row], *, as_of: bool) -> None:
    built, taken = (store.read().tables[name] for name in ("built", "taken"))
    assert (taken.rows, taken.entity_rows, taken.written) == (built.rows, built.entity_rows, built.written)
    with reading(store, project) as reader:
        assert texts(reader, "tables.taken") == texts(reader, "tables.built")
        assert reader.rows("FROM tables.built EXCEPT ALL FROM tables.taken") == []
        if as_of:
            found = reader.rows(
                'SELECT key, event_timestamp, "#until" FROM tables.taken'.replace("key,", "key::VARCHAR,")
            )
            assert sorted((key, str(time), str(until)) for key, time, until in found) == ends(model) or sorted(
                texts(reader, '(SELECT key, event_timestamp, "#until" FROM tables.taken)')
            ) == ends(model)
    assert store.drift(store.read()) == Drift()
    assert store.examine(store.read()) == Examined()
    # A lake leaves the lists of deleted rows that one transaction has written twice.
    assert [each for each in store.orphans() if not each.path.endswith("-delete.parquet")] == []


def read_lent(table: TableFiles) -> list[tuple[object, ...]]:
    """Return the rows of a lent table as another engine reads it."""
    rows: list[tuple[object, ...]] = []
    names = ", ".join(f"{quote(column.name)}::VARCHAR" for column in table.columns)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for files, upto in table.parts:
            until = f"WHERE event_timestamp < TIMESTAMP '{upto}'" if upto else ""
            rows += connection.execute(f"SELECT {names} FROM read_parquet({list(files)}) {until}").fetchall()
    return sorted(rows, key=str)


def test_tables_are_lent_in_plain_types(store: Store, project: Project, tmp_path: Path) -> None:
    """Without the ends of rows and without columns that other engines cannot read; an export is deleted afterwards."""
    rows = [(key, day, key * 7 + day) for key in range(3) for day in range(4)]
    clocked = (*COLUMNS, Column(name="clock", dtype="TIME"))
    timed = f"SELECT *, TIME '10:00' AS clock FROM ({query(rows)})"
    publish(store, lambda w: w.build("built", timed, clocked, (), KEYS), lambda w: take_over(w, "taken", query(rows)))
    reader = session.open_session(project)
    expected = tuple(column for column in COLUMNS if column.name != "#until")
    plain = {"key": "BIGINT", "event_timestamp": "TIMESTAMP", **{name: typed.plain for name, typed in TYPES.items()}}
    with store.lend(reader, store.read().tables.values(), str(tmp_path / "lent")) as lent:
        assert {name: table.columns for name, table in lent.items()} == {"built": expected, "taken": expected}
        assert read_lent(lent["built"]) == read_lent(lent["taken"]) != []
        for table in lent.values():
            files = [file for part, _ in table.parts for file in part]
            found = duckdb.sql(f"DESCRIBE FROM read_parquet({files})").fetchall()
            assert {name: dtype for name, dtype, *_ in found if name != "#until"} == plain
    assert list((tmp_path / "lent").iterdir()) == []
    with reading(store, project) as again:
        assert len(texts(again, "tables.taken")) == 12


def test_an_infinite_time_is_not_lent(store: Store) -> None:
    """Another engine would read another time."""
    columns = (Column(name="key", dtype="BIGINT"), Column(name="ends", dtype="STRUCT(at DATE[])"))
    sql = "SELECT 1::BIGINT AS key, {'at': [DATE '2026-01-01', DATE 'infinity']} AS ends"
    publish(store, lambda w: w.build("held", sql, columns, (), KEYS))
    with store.writing(pytest.fail) as writer, pytest.raises(duckdb.Error, match='"ends" has an infinite time'):
        writer.lend(["held"])


def test_a_table_without_rows_may_have_no_files(store: Store, project: Project) -> None:
    """Engines write none, or empty ones."""
    publish(
        store,
        lambda w: w.staging("none") and w.take_over("none", Computed(ParquetRows((), 0), ENGINE, 0.5), COLUMNS, KEYS),
        lambda w: take_over(w, "empty", query([])),
    )
    with reading(store, project) as reader:
        assert (texts(reader, "tables.none"), texts(reader, "tables.empty")) == ([], [])
        assert types(reader, "tables.none") == types(reader, "tables.empty") == [(each.name, _shown(each)) for each in COLUMNS]  # fmt: skip
    assert store.drift(store.read()) == Drift()


def _shown(column: Column) -> str:
    ((_, dtype, *_),) = duckdb.sql(f"DESCRIBE SELECT CAST(NULL AS {column.dtype}) AS x").fetchall()
    return str(dtype)


@pytest.mark.parametrize(
    ("rows", "columns", "wrong"),
    [
        (3, SIMPLE, "wrote 2 rows instead of 3"),
        (2, (*SIMPLE, Column(name="more", dtype="HUGEINT")), 'wrote the column "more" as none instead of DECIMAL'),
        (2, (*AS_OF, Column(name="text", dtype="BLOB")), 'wrote the column "text" as VARCHAR instead of BLOB'),
        (2, (*SIMPLE, Column(name="clock", dtype="TIME")), "clock is TIME"),
    ],
)
def test_files_that_are_not_as_told_are_refused(
    store: Store, rows: int, columns: tuple[Column, ...], wrong: str
) -> None:
    """The number of rows, the columns and their types are compared; nothing is left of the files."""
    publish(store)
    with store.writing(pytest.fail) as writer:
        written = write(writer.staging("taken"), query([(1, 0, 1), (1, 1, 2)], SIMPLE), SIMPLE)
        with pytest.raises(EngineError, match=wrong):
            writer.take_over("taken", Computed(replace(written, rows=rows), ENGINE, 1.0), columns, KEYS)
    assert store.orphans() == []
    assert not Path(written.files[0]).exists()


def test_an_apply_that_fails_leaves_no_files(store: Store) -> None:
    """Neither those that were taken over nor those that were not, nor what was exported for the engine."""
    publish(store, taking_over())  # type: ignore[arg-type]
    left: list[str] = []

    def fail(writer: Writer) -> None:
        left.append(writer.staging("other"))
        write(left[0], query([(1, 0, 1)], SIMPLE), SIMPLE)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish(
            store, lambda w: w.build("built", query([(1, 0, 1)]), COLUMNS, (), KEYS), lambda w: w.lend(["built"]), fail
        )
    assert not list(Path(left[0]).glob("*"))
    publish(store)
    assert store.orphans() == []


def test_files_that_nobody_took_over_are_found_and_deleted(store: Store) -> None:
    """Their apply has died; the next one, or doctor, deletes them."""
    publish(store, taking_over())  # type: ignore[arg-type]
    with store.writing(pytest.fail) as writer:
        folder = writer.staging("other")
    write(folder, query([(1, 0, 1)], SIMPLE), SIMPLE)
    found = [orphan.path for orphan in store.orphans()]
    assert found
    assert all(path.startswith(folder) for path in found)
    assert [orphan.path for orphan in store.fix(pytest.fail)] == found
    assert store.orphans() == []
    assert store.drift(store.read()) == Drift()


def test_files_may_be_named_in_another_way(store: Store, project: Project) -> None:
    """By a URL, or by the path of the same folder on another machine."""
    with store.writing(pytest.fail) as writer:
        rows = write(writer.staging("taken"), query([(1, 0, 1), (1, 1, 2)], SIMPLE), SIMPLE)
        elsewhere = tuple(f"file:/mnt/elsewhere{file}" for file in rows.files)
        writer.take_over("taken", Computed(replace(rows, files=elsewhere), ENGINE, 1.0), SIMPLE, KEYS)
        writer.publish(test_contract.entry(1))
    with reading(store, project) as reader:
        assert len(texts(reader, "tables.taken")) == 2


def test_an_interrupted_apply_is_resumed_with_its_files(store: Store, project: Project) -> None:
    """A table whose data have not changed is reused, with its engine."""
    publish(store)

    def interrupted() -> None:
        with store.writing(pytest.fail) as writer:
            take_over(writer, "taken", query([(1, 0, 1), (1, 1, 2)]))
            writer.keep("taken", "", Reading(""), made_of="these")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.unfinished() == ["taken"]
    with store.writing(pytest.fail) as writer:
        assert writer.resume("taken", "others") is None
        resumed = writer.resume("taken", "these")
        assert resumed is not None
        assert resumed.rows == 2
        writer.publish(test_contract.entry(writer.serial))
    assert store.read().tables["taken"].engine == ENGINE
    with reading(store, project) as reader:
        assert len(texts(reader, "tables.taken")) == 2
    assert store.drift(store.read()) == Drift()
    assert store.orphans() == []


def test_missing_files_have_drifted(kind: Implementation, store: Store, project: Project) -> None:
    """The table is reported, and so are its files; an apply replaces them."""
    publish(store, taking_over(), taking_over("other"))  # type: ignore[arg-type]
    taken = store.read().tables["taken"]
    lose(kind, project, taken)
    assert store.drift(store.read()) == Drift(tables=frozenset({"taken"}))
    assert store.examine(store.read()).altered == {"taken"}
    assert len(store.damaged([taken])) == 2
    publish(store, taking_over())  # type: ignore[arg-type]
    assert store.drift(store.read()) == Drift()


def lose(kind: Implementation, project: Project, table: StoredTable) -> None:
    """Delete the files of a table."""
    if project.place is not None:
        kind.lose(project, table.file)
        return
    for path in (project.store / table.file).iterdir():
        path.unlink()
