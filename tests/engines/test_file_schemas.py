"""Every file of a source is read in types that hold its values, or refused with the file, the line, the column and the value."""

# ruff: noqa: DTZ001 - naive times are UTC

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl.definitions.casts import fits, joined, widens
from featdsl.engines.duckdb.file_reading import rows_of
from tests.budgets import examples
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

SNIFFED = 20_480
"""So many rows DuckDB looks at to tell the types of a text file."""
PROJECT = """
import datetime as dt
from featdsl import Entity, Feature, FeatureGroup, Source

e = Entity("e", keys={"id": int})
s = Source("s", path="data/*.KIND", timestamp="ts"MORE)


class G(FeatureGroup, entity=e, source=s):
    v = Feature(TYPE)
"""


def project(workspace: Workspace, kind: str, dtype: str = "float", more: str = "") -> Workspace:
    """Write a project over the files of one kind, with one feature."""
    text = PROJECT.replace("KIND", kind).replace("TYPE", dtype).replace("MORE", more)
    (workspace.root / "data").mkdir(exist_ok=True)
    return workspace.write({
        "featproject.toml": '[project]\nname = "p"\n[engine]\nthreads = 2\n', "features/__init__.py": text,
    })  # fmt: skip


def csv(*rows: tuple[object, ...], head: str = "id,ts,v") -> str:
    """Return the text of a CSV file."""
    return "".join(f"{line}\n" for line in [head, *(",".join(map(str, row)) for row in rows)])


def values(workspace: Workspace) -> list[object]:
    """Return the values of the feature, in order of key and time."""
    return [value for (value,) in workspace.published("SELECT v FROM prod.g ORDER BY id, event_timestamp")]


def refused(workspace: Workspace, *command: str) -> str:
    """Return the message with which a command ends that publishes nothing."""
    done = workspace.run(*command)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


# Values of one type among those of another: what is written, the declared type, and what must come


LATE: dict[str, tuple[object, object, str, object]] = {
    "a fraction": (1, 2.7, "float", 2.7),
    "a large integer": (1, 2**40, "int", 2**40),
    "a time of day": ("2024-01-01", "2024-01-02 13:00:00", "dt.datetime", datetime(2024, 1, 2, 13)),
    "an offset": (
        "2024-01-01 00:00:00", "2024-01-02 00:00:00+02:00", "'TIMESTAMPTZ'", datetime(2024, 1, 1, 22, tzinfo=UTC),
    ),
    "a text": (1, "1.10x", "str", "1.10x"),
    "a version": ("1.2.3", "1.10", "str", "1.10"),
    "a word": ("x", "true", "str", "true"),
}  # fmt: skip
"""The usual value and the late one, the type of the feature, and the late value as it must come."""


def written(path: Path, kind: str, rows: list[tuple[int, object]]) -> None:
    """Write rows as a file of a kind; each file of Parquet has the types of its own values."""
    if kind == "csv":
        path.write_text(csv(*((key, "2024-01-01 00:00:00", value) for key, value in rows)), encoding="utf-8")
    elif kind == "json":
        lines = (json.dumps({"id": key, "ts": "2024-01-01 00:00:00", "v": value}) for key, value in rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@settings(max_examples=examples(4, 20), deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    case=st.sampled_from(sorted(LATE)),
    kind=st.sampled_from(["csv", "json"]),
    beyond=st.integers(-2, 200),
    apart=st.booleans(),
    at_refresh=st.booleans(),
)
def test_a_late_value_comes_as_it_is_or_is_refused(
    case: str,
    kind: str,
    beyond: int,
    apart: bool,  # noqa: FBT001 - made by hypothesis
    at_refresh: bool,  # noqa: FBT001 - made by hypothesis
) -> None:
    """Wherever it stands beyond the rows that are sniffed, in the same file or in another, at the first read or later."""
    usual, late, dtype, expected = LATE[case]
    with TemporaryDirectory() as folder:
        workspace = project(Workspace(Path(folder)), kind, dtype)
        rows = [(number, usual) for number in range(10, SNIFFED + 10 + beyond)]
        first, second = workspace.root / "data" / f"a.{kind}", workspace.root / "data" / f"b.{kind}"
        if apart or at_refresh:
            written(first, kind, rows)
            if at_refresh:
                before = workspace.run("apply", "--yes")
                if before.returncode:  # the usual values alone are of another type than the feature
                    assert f"declared {duckdb_type(dtype)}" in before.stderr
                    return
            written(second, kind, [(1, late)])
        else:
            written(first, kind, [*rows, (1, late)])

        done = workspace.run("refresh") if at_refresh else workspace.run("apply", "--yes")

        if done.returncode:
            # A type that the feature does not have is refused when it is planned, by the feature's name.
            named = (f"b.{kind}", f"a.{kind}", "feature g.v is declared")
            assert any(each in done.stderr for each in named), done.stderr
            assert '"v"' in done.stderr or "g.v" in done.stderr
        else:
            query = (
                "SELECT epoch_us(v) FROM prod.g WHERE id = 1"
                if case == "an offset"
                else "SELECT v FROM prod.g WHERE id = 1"
            )
            wanted = round(expected.timestamp() * 1_000_000) if case == "an offset" else expected  # type: ignore[attr-defined]
            assert workspace.published(query) == [(wanted,)]


def duckdb_type(dtype: str) -> str:
    """Return the DuckDB type of a feature's type as messages show it."""
    names = {"float": "DOUBLE", "int": "BIGINT", "str": "VARCHAR", "dt.datetime": "TIMESTAMP"}
    return names.get(dtype, "TIMESTAMP WITH TIME ZONE")


# Parquet


PAIRS: dict[str, tuple[str, str, str, object]] = {
    "integers and fractions": ("10", "10.5::DOUBLE", "float", 10.5),
    "small and large integers": ("10::SMALLINT", "1099511627776::BIGINT", "int", 2**40),
    "dates and times": (
        "DATE '2024-01-01'",
        "TIMESTAMP '2024-01-01 18:00:00'",
        "dt.datetime",
        datetime(2024, 1, 1, 18),
    ),
    "two and four decimals": ("1.25::DECIMAL(10,2)", "1.2345::DECIMAL(10,4)", "'DECIMAL(12,4)'", Decimal("1.2345")),
    "nothing and something": ("NULL::INTEGER", "2.5::DOUBLE", "float", 2.5),
}


@pytest.mark.parametrize("case", PAIRS)
def test_parquet_files_are_read_in_the_type_that_holds_all(workspace: Workspace, case: str) -> None:
    """Whichever file comes first."""
    first, second, dtype, expected = PAIRS[case]
    project(workspace, "parquet", dtype)
    workspace.parquet("data/a.parquet", f"SELECT 1 AS id, TIMESTAMP '2024-01-01' AS ts, {first} AS v")
    workspace.parquet("data/b.parquet", f"SELECT 2 AS id, TIMESTAMP '2024-01-01' AS ts, {second} AS v")
    workspace.apply()
    assert values(workspace)[1] == expected


def test_parquet_files_that_do_not_go_together_are_named(workspace: Workspace) -> None:
    """A text is no number."""
    project(workspace, "parquet")
    workspace.parquet("data/a.parquet", "SELECT 1 AS id, TIMESTAMP '2024-01-01' AS ts, 1.5::DOUBLE AS v")
    workspace.parquet("data/b.parquet", "SELECT 2 AS id, TIMESTAMP '2024-01-01' AS ts, 'x' AS v")
    assert refused(workspace, "plan").startswith(
        'Files differ\n  source s: The column "v" is DOUBLE in data/a.parquet and VARCHAR in data/b.parquet.\n'
    )


def test_an_integer_that_a_float_does_not_hold_is_refused(workspace: Workspace) -> None:
    """2 ** 53 + 1 would become 2 ** 53."""
    project(workspace, "parquet")
    workspace.parquet("data/a.parquet", "SELECT 1 AS id, TIMESTAMP '2024-01-01' AS ts, 9007199254740993 AS v")
    workspace.parquet("data/b.parquet", "SELECT 2 AS id, TIMESTAMP '2024-01-01' AS ts, 0.5::DOUBLE AS v")
    said = refused(workspace, "apply", "--yes")
    assert "data/a.parquet, row 1: the column \"v\" has '9007199254740993', which DOUBLE does not hold." in said


# Refresh


@pytest.mark.parametrize(
    ("value", "shown"), [("2.5", "line 3: the column \"v\" has '2.5'"), ("x", "line 3: the column \"v\" has 'x'")]
)
def test_a_refresh_names_the_value_that_does_not_fit(workspace: Workspace, value: str, shown: str) -> None:
    """With its file, line and column; the store stays as it was, and a plan tells of the wider type."""
    project(workspace, "csv", "int").write({"data/a.csv": csv((1, "2024-01-01", 1))}).apply()
    workspace.write({"data/b.csv": csv((1, "2024-01-02", 2), (1, "2024-01-03", value))})

    said = refused(workspace, "refresh")

    assert f"data/b.csv, {shown}, which BIGINT does not hold." in said
    assert "features/__init__.py:6" in said
    assert values(workspace) == [1]
    assert f"{'VARCHAR' if value == 'x' else 'DOUBLE'} in data/b.csv" in refused(workspace, "plan")


def test_dates_of_a_new_file_have_the_format_of_those_before(workspace: Workspace) -> None:
    """02/03/2024 alone may be two days."""
    project(workspace, "csv", "int").write({"data/a.csv": csv((1, "01/13/2024", 1))}).apply()
    workspace.write({"data/b.csv": csv((1, "02/03/2024", 2))})
    assert workspace.run("refresh").returncode == 0
    times = workspace.published("SELECT event_timestamp FROM prod.g ORDER BY ALL")
    assert times == [(datetime(2024, 1, 13),), (datetime(2024, 2, 3),)]
    assert workspace.run("plan", "--check").returncode == 0


def test_a_column_that_a_new_file_lacks_is_not_answered_by_a_feature(workspace: Workspace) -> None:
    """The file is named; where columns go by name there is NULL."""
    text = "id,ts,usd,amount\n1,2024-01-01,5,500\n"
    more = "\n    amount = Feature(int, sql='usd')\n    v = Feature(bool, sql='amount > 100')\n"
    for options in ("", ', options={"union_by_name": True}'):
        there = Workspace(workspace.root / ("by_name" if options else "plain"))
        there.root.mkdir()
        project(there, "csv", more=options).write({"data/a.csv": text})
        file = there.root / "features" / "__init__.py"
        file.write_text(file.read_text(encoding="utf-8").replace("\n    v = Feature(float)\n", more), encoding="utf-8")
        there.apply()
        there.write({"data/b.csv": "id,ts,usd\n1,2024-01-02,600\n"})
        if options:
            assert there.run("refresh").returncode == 0
            assert values(there) == [True, None]
        else:
            assert 'data/b.csv has no column "amount", which the source had when it was planned.' in refused(
                there, "refresh"
            )
            assert 'data/b.csv has no column "amount", which data/a.csv has.' in refused(there, "plan")


# Declared types


def test_declared_types_are_kept_to(workspace: Workspace) -> None:
    """They are part of what a source is, and values that do not fit are named."""
    project(workspace, "csv", "str", ', schema={"v": str}').write({"data/a.csv": csv((1, "2024-01-01", "007"))}).apply()
    assert values(workspace) == ["007"]
    project(workspace, "csv", "int", ', schema={"v": int}')
    assert "schema" in workspace.run("plan").stdout
    workspace.apply()
    assert values(workspace) == [7]
    workspace.write({"data/b.csv": csv((1, "2024-01-02", "7.5"))})
    assert "data/b.csv, line 2: the column \"v\" has '7.5', which BIGINT does not hold." in refused(
        workspace, "refresh"
    )
    project(workspace, "csv", "int", ', schema={"w": int}')
    assert 'schema= declares the column "w", which data/a.csv does not have.' in refused(workspace, "plan")


def test_types_are_declared_for_files_alone(workspace: Workspace) -> None:
    """A query has its own types."""
    project(workspace, "csv").write({"data/a.csv": csv((1, "2024-01-01", 1))})
    file = workspace.root / "features" / "__init__.py"
    file.write_text(
        file.read_text(encoding="utf-8").replace('path="data/*.csv"', 'sql="SELECT 1 AS id", schema={"id": int}'),
        encoding="utf-8",
    )
    assert "schema= declares column types of Parquet, CSV or JSON files" in refused(workspace, "plan")


# Odd files


ODD: dict[str, tuple[dict[str, str | bytes], str]] = {
    "a header alone": ({"a": "id,ts,v\n"}, "data/a.csv has no rows, so the types of its columns are unknown."),
    "nothing at all": ({"a": ""}, "data/a.csv: no rows, so the columns are unknown."),
    "not UTF-8": ({"a": "id,ts,v,n\n1,2024-01-01,1,ü\n".encode("latin-1")}, "data/a.csv is not UTF-8."),
    "lines before the columns": (
        {"a": "id;ts\n1;2024-01-01\n2;2024-01-01;5\n"}, "data/a.csv: the columns begin after line",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_a_file_that_cannot_be_read_is_named(workspace: Workspace, case: str) -> None:
    """When it is planned."""
    files, said = ODD[case]
    project(workspace, "csv")
    for name, content in files.items():
        (workspace.root / "data" / f"{name}.csv").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    assert said in refused(workspace, "plan")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_files_without_rows_say_nothing_of_types(workspace: Workspace, order: str) -> None:
    """Whether they come first or last."""
    project(workspace, "csv", "int")
    for empty, name in zip(["id,ts,v\n", csv((1, "2024-01-01", 1))], order, strict=True):
        workspace.write({f"data/{name}.csv": empty})
    workspace.write({"data/c.csv": ""}).apply()
    assert values(workspace) == [1]


# Types


TYPES = ["TINYINT", "UTINYINT", "INTEGER", "UBIGINT", "BIGINT", "HUGEINT", "DECIMAL(4,2)", "DECIMAL(18,4)", "FLOAT", "DOUBLE", "DATE", "TIMESTAMP", "BOOLEAN"]  # fmt: skip
SAMPLES = ["0", "1", "-1", "100", "255", "-128", "32767", "16777217", "9007199254740993", "18446744073709551615", "0.5", "12.34", "1.2345", "99.99", "3.4e38", "1e300"]  # fmt: skip


@pytest.mark.parametrize("found", TYPES)
def test_what_widens_loses_nothing(found: str) -> None:
    """For each type into each other: a value comes back as it was, and the condition in SQL says when it does."""
    connection = duckdb.connect()
    texts = ["2024-01-01", "2024-01-01 13:00:00"] if found in {"DATE", "TIMESTAMP"} else SAMPLES
    for wanted in TYPES:
        for text in texts:
            cast = (
                f"TRY_CAST(TRY_CAST('{text}' AS DOUBLE) AS {found})"
                if "e" in text
                else f"TRY_CAST('{text}' AS {found})"
            )
            back: Callable[[str], Any] = lambda sql: connection.execute(f"SELECT {sql}").fetchall()[0][0]  # noqa: E731
            if back(f"{cast} IS NULL"):
                continue
            try:
                comes_back = back(f"TRY_CAST(TRY_CAST({cast} AS {wanted}) AS {found}) IS NOT DISTINCT FROM {cast}")
            except duckdb.Error:  # no such cast
                assert not widens(found, wanted)
                continue
            if widens(found, wanted):
                assert comes_back, (text, found, wanted)
            if (found == "BOOLEAN") != (wanted == "BOOLEAN"):
                comes_back = False  # a truth value is no number
            if found in {"FLOAT", "DOUBLE"} and "INT" in wanted:
                comes_back = comes_back and abs(back(cast)) < 2**53
            assert back(fits(f"({cast})", found, wanted)) == comes_back, (text, found, wanted)


@settings(deadline=None)
@given(st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_both_types_go_into_the_joined_one(one: str, other: str) -> None:
    """Whatever the order; a DOUBLE is the exception, which values are checked against."""
    both = joined(one, other)
    assert both == joined(other, one)
    if both is not None and both != "DOUBLE":
        assert widens(one, both)
        assert widens(other, both)


@settings(deadline=None, max_examples=examples(20, 100))
@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)))
def test_a_date_is_a_time_without_loss(day: date) -> None:
    """And a time of day is none."""
    connection = duckdb.connect()
    for text, expected in ((f"{day}", True), (f"{day} 00:00:01", False)):
        ((found,),) = connection.execute(f"SELECT {fits('$1', 'VARCHAR', 'DATE')}", [text]).fetchall()
        assert found is expected


def test_a_file_of_a_spine_is_looked_at_whole(workspace: Workspace) -> None:
    """A time of day far down in a column of dates is no midnight."""
    project(workspace, "csv", "int").write({"data/a.csv": csv((1, "2024-01-02 12:00:00", 5))}).apply()
    rows = [(1, "2024-01-02")] * (SNIFFED + 10)
    workspace.write({"spine.csv": csv(*rows, (1, "2024-01-02 13:00:00"), head="id,at")})

    spine = str(workspace.root / "spine.csv")
    found = workspace.store.training_set(["v"], spine, timestamp="at").relation.fetchall()

    assert found[-1] == (1, datetime(2024, 1, 2, 13), 5)
    assert found[0] == (1, datetime(2024, 1, 2), None)


def test_columns_in_the_names_of_folders_are_read_too(workspace: Workspace) -> None:
    """Beside them the types hold all rows of all files, as elsewhere."""
    project(workspace, "csv", "float", "").write({
        "data/year=2023/a.csv": csv((1, "2023-01-01", 1)), "data/year=2024/b.csv": csv((2, "2024-01-01", 2.5)),
    })  # fmt: skip
    file = workspace.root / "features" / "__init__.py"
    text = file.read_text(encoding="utf-8").replace("data/*.csv", "data/*/*.csv")
    file.write_text(f"{text}    year = Feature(int)\n", encoding="utf-8")
    workspace.apply()
    assert workspace.published("SELECT id, v, year FROM prod.g ORDER BY ALL") == [(1, 1.0, 2023), (2, 2.5, 2024)]
    workspace.write({"data/year=2025/c.csv": csv((3, "2025-01-01", 3))})
    assert workspace.run("refresh").returncode == 0
    assert workspace.published("SELECT id, v, year FROM prod.g ORDER BY ALL")[-1] == (3, 3.0, 2025)


def test_the_name_of_a_file_may_be_a_column(workspace: Workspace) -> None:
    """Types are those of all files all the same."""
    project(workspace, "parquet", "float", ', options={"filename": True}')
    workspace.parquet("data/a.parquet", "SELECT 1 AS id, TIMESTAMP '2024-01-01' AS ts, 10 AS v")
    workspace.parquet("data/b.parquet", "SELECT 2 AS id, TIMESTAMP '2024-01-01' AS ts, 10.5::DOUBLE AS v")
    workspace.apply()
    assert values(workspace) == [10.0, 10.5]


def test_the_advice_about_a_wider_type_works(workspace: Workspace) -> None:
    """Refresh refuses, the plan shows the wider type, and apply with a refresh reads the value."""
    project(workspace, "csv", "float").write({"data/a.csv": csv((1, "2024-01-01", 1))}).apply()
    workspace.write({"data/b.csv": csv((2, "2024-01-02", 2.5))})
    assert "accept a wider type: featdsl plan shows the change" in refused(workspace, "refresh")
    assert "DOUBLE" in workspace.run("plan").stdout
    workspace.apply()
    assert workspace.run("refresh").returncode == 0
    assert values(workspace) == [1.0, 2.5]


def test_a_number_of_a_json_file_is_declared_a_text_as_it_stands(workspace: Workspace) -> None:
    """Beside a fraction it would be read as a float, and lose its last digits."""
    large = 2**53 + 1
    workspace.write({
        "featproject.toml": '[project]\nname = "p"\n',
        "features/__init__.py": "from featdsl import Entity, Feature, FeatureGroup, Source\n"
        'user = Entity("user", keys={"user_id": int})\n'
        'class G(FeatureGroup, entity=user, source=Source("s", path="data/a.json", schema={"code": str})):\n'
        "    code = Feature(str)\n",
        "data/a.json": f'{{"user_id": 1, "code": {large}}}\n{{"user_id": 2, "code": 1.5}}\n',
    })  # fmt: skip
    workspace.apply()
    assert [workspace.store.get_features(["code"], user_id=n)["code"] for n in (1, 2)] == [str(large), "1.5"]


def test_decimals_of_a_text_file_are_never_floats(tmp_path: Path) -> None:
    """The query itself reads them as decimals: no optimizer has to move a cast into the reader for exact values."""
    file = tmp_path / "large.csv"
    file.write_text("v\n9007199254740993\n0.5\n")
    with duckdb.connect() as connection:
        connection.execute("PRAGMA disable_optimizer")
        rows = connection.execute(rows_of(connection, "csv", str(file))).fetchall()
    assert rows == [(Decimal(9007199254740993),), (Decimal("0.5"),)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("csv", csv((1, "2026-01-01", "9007199254740993"), (2, "2026-01-01", "0.5"))),
        ("json", '{"id": 1, "ts": "2026-01-01", "v": 9007199254740993}\n{"id": 2, "ts": "2026-01-01", "v": 0.5}\n'),
    ],
)
def test_declared_decimals_of_a_text_file_keep_their_digits(workspace: Workspace, kind: str, text: str) -> None:
    """The detected type of such a column is a float, which does not hold the first value."""
    made = project(workspace, kind, '"DECIMAL(38,10)"', ', schema={"v": "DECIMAL(38,10)"}')
    (made.root / "data" / f"a.{kind}").write_text(text)
    done = made.run("apply", "--yes")
    assert done.returncode == 0, done.stderr
    assert values(made) == [Decimal(9007199254740993), Decimal("0.5")]
