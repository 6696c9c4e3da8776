"""Features and sources computed by Python functions, from declaration to values, with every refusal."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from featdsl import DeclarationError, Entity, Feature, FeatureGroup, Source, python_feature
from featdsl.plan import planfile
from tests.cli.test_bad_input import Edit, refused
from tests.conftest import Workspace
from tests.declared import applied

MODULE = "features/reviews.py"
SHOP = {
    "featproject.toml": '[project]\nname = "shop"\n',
    "features/__init__.py": "",
    "features/words.py": '''
import pyarrow.compute as pc

GOOD = {"good", "great", "fine"}


def share(text, word):
    """How often a text has a word."""
    return pc.count_substring(text, word)
''',
    MODULE: '''
import pyarrow as pa
import pyarrow.compute as pc

from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source, python_feature
from features.words import GOOD, share

user = Entity("user", keys={"user_id": int})
reviews = Source("reviews", path="data/reviews.parquet", timestamp="at")
WEIGHT = 3


class Reviews(FeatureGroup, entity=user, source=reviews):
    @python_feature(float, expect="sentiment >= 0", tags="text")
    def sentiment(text: pa.Array, stars: pa.Array) -> pa.Array:
        """How content the author is."""
        total = pc.cast(stars, "double")
        for word in sorted(GOOD):
            total = pc.add(total, share(text, word))
        return pc.multiply(total, WEIGHT)

    stars = Feature(int, description="As given.")


class Shouted(FeatureGroup, entity=user, inputs=[Reviews.sentiment]):
    louder = Feature(float, sql="sentiment * 10")


mood = FeatureSet("mood", version=1, features=[Reviews.sentiment])
''',
}
"""A group with a Python feature and a SQL feature, a feature derived from the Python one, and a set."""
ROWS = """
    SELECT i % 7 AS user_id, TIMESTAMP '2026-01-01' + to_seconds(i) AS at, i % 5 AS stars,
           CASE i % 3 WHEN 0 THEN 'good and great' WHEN 1 THEN 'good good' END AS text
    FROM range(5000) t(i)
"""


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """The project, not applied yet."""
    return workspace.write(SHOP).parquet("data/reviews.parquet", ROWS)


def sentiment(i: int) -> float | None:
    """Return the expected feature of row `i`: three times the stars plus the good words."""
    text = ["good and great", "good good", None][i % 3]
    return None if text is None else 3.0 * (i % 5 + sum(text.count(word) for word in ("good", "great", "fine")))


def test_values_are_those_of_the_function(shop: Workspace) -> None:
    """For more rows than a batch has, with missing values among them."""
    shop.apply()

    stored = shop.published("SELECT user_id, sentiment FROM prod.reviews ORDER BY event_timestamp")

    assert stored == [(i % 7, sentiment(i)) for i in range(5000)]
    assert shop.run("plan", "--check").returncode == 0
    assert shop.run("check", "--parity").returncode == 0


def test_readers_need_no_function(shop: Workspace) -> None:
    """The store serves and trains the feature and the ones derived from it."""
    shop.apply()
    (shop.root / MODULE).unlink()
    spine = pd.DataFrame({"user_id": [3], "at": [dt.datetime(2026, 1, 1, 0, 0, 58)]})  # noqa: DTZ001 - naive is UTC

    trained = shop.store.training_set("mood@1", spine, timestamp="at").df()

    assert trained["sentiment"].to_list() == [sentiment(52)]
    assert shop.store.get_features(["sentiment", "louder"], user_id=5) == {
        "sentiment": sentiment(4996),
        "louder": 10 * sentiment(4996),  # type: ignore[operator]
    }


def test_beside_windows_it_is_stored_all_the_same(shop: Workspace, edit: Edit) -> None:
    """A group may mix windowed and Python features."""
    edit(MODULE, "    stars =", '    written = Feature(int, sql="count(*)", window="10 seconds")\n    stars =')
    shop.apply()
    spine = "SELECT 3 AS user_id, TIMESTAMP '2026-01-01 00:00:58' AS at"

    trained = shop.store.training_set(["sentiment", "written"], spine, timestamp="at").df()

    assert trained[["sentiment", "written"]].to_numpy().tolist() == [[sentiment(52), 1]]
    assert shop.run("check", "--parity").returncode == 0


def test_a_plan_shows_the_call_and_runs_nothing(shop: Workspace, edit: Edit) -> None:
    """Not even a function that would exit the program."""
    edit(MODULE, "        for word", "        raise SystemExit(7)\n        for word")

    done = shop.run("plan", "--sql")

    assert done.returncode == 0
    assert "+ sentiment     DOUBLE  How content the author is." in done.stdout
    name = next(line for line in done.stdout.splitlines() if line.endswith("is features.reviews:Reviews.sentiment"))
    called = name.split()[1]
    assert f'CAST({called}("text", "stars") AS DOUBLE) AS "sentiment"' in done.stdout


def test_show_prints_the_code(shop: Workspace) -> None:
    """From the registry: the function's code and the values that it uses."""
    shop.apply()

    output = shop.run("show", "sentiment").stdout

    assert "function     features.reviews:Reviews.sentiment" in output
    assert "reads        stars, text" in output
    assert "columns      reviews.stars, reviews.text" in output
    assert "code         def sentiment(text, stars):\n" in output
    assert "GOOD = {'fine', 'good', 'great'}" in output
    assert "def share(text, word):" in output
    assert "    return pc.count_substring(text, word)\n" in output


SAME = {
    "a comment": ((MODULE, "        for word", "        # all of them\n        for word"),),
    "a moved helper": (
        ("features/words.py", "GOOD =", "from features.counts import share  # noqa\nGOOD ="),
        ("features/words.py", "def share(text, word):", "def other(text, word):"),
    ),
    "another line": ((MODULE, "WEIGHT = 3", "WEIGHT = 3\nUNUSED = 4\n\n"),),
    "the order of a set": (("features/words.py", '"good", "great", "fine"', '"fine", "good", "great"'),),
}


@pytest.mark.parametrize("name", SAME)
def test_an_equal_function_is_no_change(shop: Workspace, edit: Edit, name: str) -> None:
    """The plan is empty."""
    shop.apply()
    counts = "import pyarrow.compute as pc\n\ndef share(text, word):\n    return pc.count_substring(text, word)\n"
    shop.write({"features/counts.py": counts})

    for file, old, new in SAME[name]:
        edit(file, old, new)

    done = shop.run("plan", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


OTHER = {
    "the function": (
        (MODULE, "pc.multiply(total, WEIGHT)", "pc.add(total, WEIGHT)"),
        "+     return pc.add(total, WEIGHT)",
    ),
    "a constant": ((MODULE, "WEIGHT = 3", "WEIGHT = 4"), "+ WEIGHT = 4"),
    "a helper": (("features/words.py", "(text, word)\n", "(text, word, ignore_case=True)\n"), "ignore_case=True)"),
    "a constant of another module": (("features/words.py", ', "fine"', ', "fine", "nice"'), "'great', 'nice'}"),
}


@pytest.mark.parametrize("name", OTHER)
def test_another_result_is_a_change_of_the_function(shop: Workspace, edit: Edit, name: str) -> None:
    """The plan shows the changed lines; features derived from the group's other features are unaffected."""
    (file, old, new), line = OTHER[name]
    shop.apply()

    edit(file, old, new)
    output = shop.run("plan").stdout

    assert "    ~ sentiment  definition\n          function:\n" in output
    assert line in output
    assert "recomputed from reviews.sentiment" in output
    assert "not affected: reviews.stars (shop)" in output
    reasons = json.loads(shop.run("plan", "--format", "json").stdout)["changes"]
    codes = {c["change"]["address"]: [r["code"] for r in c["change"]["reasons"]] for c in reasons}
    assert codes == {"reviews.sentiment": ["function"], "shouted.louder": ["upstream"]}


def test_a_feature_moves_from_sql_to_python_and_back(shop: Workspace, edit: Edit) -> None:
    """Both are definition changes."""
    old = SHOP[MODULE][SHOP[MODULE].index("    @python_feature") : SHOP[MODULE].index("    stars =")]
    shop.apply()

    edit(MODULE, old, '    sentiment = Feature(float, sql="stars")\n')
    there = shop.run("plan").stdout
    shop.apply()
    edit(MODULE, '    sentiment = Feature(float, sql="stars")\n', old)
    back = shop.run("plan").stdout

    assert "            - def sentiment(text, stars):" in there
    assert "            + stars\n" in there
    assert "            - stars\n" in back
    assert "            + def sentiment(text, stars):" in back


def test_a_renamed_column_of_the_source_is_a_mistake_with_a_hint(shop: Workspace, edit: Edit) -> None:
    """Parameters are bound to columns, as in SQL."""
    edit(MODULE, "sentiment(text:", "sentiment(txt:")
    edit(MODULE, "share(text,", "share(txt,")

    assert refused(shop, "plan") == (
        "Unknown column\n  feature reviews.sentiment reads the column 'txt', which does not exist.\n"
        f'  {MODULE}:14\n  Did you mean "text"?'
    )


def test_the_page_on_python_can_be_copied(workspace: Workspace) -> None:
    """Its module plans, applies, and gives the documented values."""
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    shown = page.partition("```python\n")[2].partition("```")[0]
    rows = ["s,2026-01-01T10:00:00,Great and GOOD", "s,2026-01-01T11:00:00,good", "t,2026-01-02T09:00:00,"]
    workspace.write(
        {
            "featproject.toml": SHOP["featproject.toml"],
            "features/shops.py": shown,
            "data/reviews.csv": "\n".join(["shop,written_at,text", *rows, ""]),
        }
    )

    workspace.apply()

    assert workspace.store.get_features(["praise", "written"], shop="s") == {"praise": 0.5, "written": 2}
    assert workspace.store.get_features(["praise", "written"], shop="t") == {"praise": None, "written": 0}


@pytest.mark.slow
def test_hash_seeds_and_folders_give_the_same_plan(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Byte for byte, including the functions' code and fingerprints."""
    elsewhere = Workspace(tmp_path_factory.mktemp("elsewhere"))
    elsewhere.write(SHOP).parquet("data/reviews.parquet", ROWS)

    plans = {
        where.run("plan", "--format", "json", PYTHONHASHSEED=str(seed)).stdout
        for where in (shop, elsewhere)
        for seed in range(4)
    }

    assert len(plans) == 1
    assert "GOOD = {'fine', 'good', 'great'}" in plans.pop()


# Plan files


def test_a_saved_plan_runs_the_functions_that_it_names(shop: Workspace) -> None:
    """In a process of its own, with the project's code."""
    assert shop.run("plan", "--out", "plan.json").returncode == 0

    done = shop.run("apply", "plan.json")

    assert done.returncode == 0, done.stderr
    assert shop.published("SELECT count(sentiment) FROM prod.reviews") == [(3334,)]


def test_a_saved_plan_of_other_code_is_stale(shop: Workspace, edit: Edit) -> None:
    """Only the reviewed code runs; a changed comment does not matter."""
    assert shop.run("plan", "--out", "plan.json").returncode == 0
    edit("features/words.py", "count_substring", "count_substring_regex")

    error = refused(shop, "apply", "plan.json", exit_code=4)
    edit("features/words.py", "count_substring_regex", "count_substring")
    edit("features/words.py", "GOOD =", "# words\nGOOD =")

    assert error == (
        "Stale plan\n  feature reviews.sentiment calls features.reviews:Reviews.sentiment\n"
        "  The project no longer declares this code as it was when the plan was made.\n"
        "  Plan again and review what has changed: featdsl plan --out plan.json"
    )
    assert shop.run("apply", "plan.json").returncode == 0


def test_a_saved_plan_runs_nothing_that_is_not_declared(shop: Workspace) -> None:
    """A plan file that names a library function, or another function of the project, is refused."""
    assert shop.run("plan", "--out", "plan.json").returncode == 0
    path = shop.root / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    uses = [use for step in plan["steps"] for use in step.get("functions", ())]
    for use in uses:
        use["function"] |= {"module": "os", "qualname": "system", "fingerprint": "0" * 32}
    plan["digest"] = planfile._digest(plan)  # as who forges a plan would write it
    path.write_text(json.dumps(plan), encoding="utf-8")

    assert "feature reviews.sentiment calls os:system\n" in refused(shop, "apply", "plan.json", exit_code=4)
    assert len(uses) == 1


def test_a_saved_plan_over_broken_code_shows_the_mistakes(shop: Workspace, edit: Edit) -> None:
    """The error is not that the plan is stale."""
    assert shop.run("plan", "--out", "plan.json").returncode == 0
    edit("features/words.py", "GOOD =", "GOOD ==")

    assert "NameError: name 'GOOD' is not defined" in refused(shop, "apply", "plan.json")


def test_an_edit_within_the_same_second_counts(shop: Workspace) -> None:
    """An edit of equal length and, for the file system, of equal time."""
    import os

    shop.apply()
    path = shop.root / MODULE
    before = path.stat()
    path.write_text(SHOP[MODULE].replace("WEIGHT = 3", "WEIGHT = 9"), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert shop.run("plan", "--check").returncode == 2


# Errors in functions

BODY = "        return pc.multiply(total, WEIGHT)"
FAILURES = {
    "an exception": (
        "        return {}['nice']",
        "Function failed\n  feature reviews.sentiment: features.reviews:Reviews.sentiment raised KeyError: 'nice'\n"
        f"  {MODULE}:20",
    ),
    "an exception of a library": (
        "        return pc.add(text, 1)",
        "Function failed\n  feature reviews.sentiment: features.reviews:Reviews.sentiment raised ArrowNotImplementedError:",
    ),
    "the end of the program": (
        "        raise SystemExit(3)",
        "Function failed\n  feature reviews.sentiment: features.reviews:Reviews.sentiment raised SystemExit: 3\n"
        f"  {MODULE}:20",
    ),
    "a list": (
        "        return total.to_pylist()",
        "Wrong function result\n"
        "  feature reviews.sentiment: features.reviews:Reviews.sentiment returns list, not a pyarrow Array.\n"
        f"  {MODULE}:14",
    ),
    "a scalar": ("        return pc.sum(total)", "returns pyarrow.lib.DoubleScalar, not a pyarrow Array."),
    "nothing": ("        pass", "returns NoneType, not a pyarrow Array."),
    "too few values": ("        return total[1:]", "returns 2,047 values for 2,048 rows."),
    "another type": (
        "        return pc.cast(total, 'string')",
        "returns VARCHAR (Arrow's string), but the feature is declared DOUBLE.",
    ),
    "a type that DuckDB lacks": (
        "        return pc.cast(total, pa.float16())",
        "but the feature is declared DOUBLE.",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_in_a_function_is_reported_and_nothing_is_published(shop: Workspace, edit: Edit, name: str) -> None:
    """With the feature, the line and the reason; a second run after the fix works."""
    body, message = FAILURES[name]
    edit(MODULE, BODY, body)

    error = refused(shop, "apply", "--yes")

    assert message in error
    assert error.endswith("  Nothing was published. Fix the function or its data, then apply again.")
    assert not (shop.root / ".featdsl" / "store.duckdb").exists()
    edit(MODULE, body, BODY)
    shop.apply()


def test_a_check_on_its_values_stops_an_apply(shop: Workspace, edit: Edit) -> None:
    """As with the values of SQL features."""
    edit(MODULE, "WEIGHT = 3", "WEIGHT = -3")

    assert "reviews.sentiment: 3334 rows break the rule: sentiment >= 0" in refused(shop, "apply", "--yes")


# Declarations


def declaration_problem(declare: Callable[[], object]) -> str:
    """Return the error message of a declaration, without its origin."""
    with pytest.raises(DeclarationError) as refusal:
        declare()
    (problem,) = refusal.value.problems
    assert problem.where is not None
    return f"{problem.what}\n{problem.fix}".strip()


def decorated(function: Any, dtype: Any = float) -> Callable[[], object]:
    """Return the declaration of a feature by a function."""
    return lambda: python_feature(dtype, name="made")(function)


def none() -> None:
    """Read nothing."""


def star(*columns: Any) -> None:
    """Read anything."""


def generated(x: Any) -> Any:
    """Yield."""
    yield x


async def waited(x: Any) -> Any:
    """Wait."""
    return x


def plain(x: Any) -> Any:
    """Return it."""
    return x


DECLARED_WRONGLY: Mapping[str, tuple[Callable[[], object], str]] = {
    "a lambda": (
        decorated(lambda x: x),
        "python_feature 'made': function: a lambda has no name to identify it by; write a def",
    ),
    "no function": (decorated(5), "python_feature 'made': function: 5 is not a function; write a def"),
    "a builtin": (
        decorated(len),
        "python_feature 'made': function: the function len is not a function; write a def",
    ),
    "no column": (
        decorated(none),
        "none() has no parameters, so it reads no columns.\n"
        "Name its parameters after the source columns that it reads.",
    ),
    "any columns": (
        decorated(star),
        "python_feature 'made': function: star has the parameter *columns: 'Any'; name each input as a "
        "parameter of its own",
    ),
    "a generator": (
        decorated(generated),
        "python_feature 'made': function: generated is asynchronous or a generator; write a plain def that returns its "
        "result",
    ),
    "a coroutine": (
        decorated(waited),
        "python_feature 'made': function: waited is asynchronous or a generator; write a plain def that returns its result",
    ),
    "no type": (
        lambda: python_feature(plain),  # type: ignore[call-overload]
        "@python_feature on plain does not say the type of its values.\nAdd it: @python_feature(float)",
    ),
    "a window": (
        lambda: python_feature(float, window="1 day"),  # type: ignore[call-overload]
        "python_feature has no option 'window'."
        "\nA Python feature computes row by row. To aggregate rows, use a Feature with sql= and a window.",
    ),
    "a misspelt option": (
        lambda: python_feature(float, expects="x > 0"),  # type: ignore[call-overload]
        "python_feature has no option 'expects'.\nDid you mean \"expect\"?",
    ),
    "a type that is none": (
        decorated(plain, dict),
        "python_feature 'made': dtype: <class 'dict'> is not a column type; write a DuckDB type, such as "
        '"MAP(VARCHAR, DOUBLE)"',
    ),
    "a source without columns": (
        lambda: Source("rates", function=plain),
        "Source 'rates': function= and columns= go together: give the function and the columns that it returns",
    ),
    "columns without a function": (
        lambda: Source("rates", path="a.csv", columns={"x": int}),
        "Source 'rates': function= and columns= go together: give the function and the columns that it returns",
    ),
    "a source of two places": (
        lambda: Source("rates", path="a.csv", function=plain, columns={"x": int}),
        "Source 'rates': give one of path=, table=, sql=, frame= or function=; path and function are given",
    ),
    "a source of a lambda": (
        lambda: Source("rates", function=lambda: [{}], columns={"x": int}),
        "Source 'rates': function: a lambda has no name to identify it by; write a def",
    ),
}


@pytest.mark.parametrize("name", DECLARED_WRONGLY)
def test_a_wrong_declaration_is_reported(name: str) -> None:
    """With its file and line."""
    declare, message = DECLARED_WRONGLY[name]

    assert declaration_problem(declare) == message


def test_in_a_derived_group_it_is_refused(shop: Workspace, edit: Edit) -> None:
    """Derived features are computed in SQL at every read."""
    edit(
        MODULE,
        "    louder =",
        "    @python_feature(float)\n    def high(sentiment):\n        return sentiment\n\n    louder =",
    )

    assert refused(shop, "plan") == (
        "Python in a derived group\n  feature shouted.high is a Python function in a derived group.\n"
        f"  {MODULE}:26\n"
        "  A derived feature is computed in SQL at every read. Write it in SQL, or move it to a group over a source."
    )


def test_a_value_that_cannot_be_fingerprinted_is_refused(shop: Workspace, edit: Edit) -> None:
    """With the value's name, at the function's line."""
    edit(MODULE, "WEIGHT = 3", "WEIGHT = object()")

    assert refused(shop, "plan") == (
        "Function cannot be fingerprinted\n  feature reviews.sentiment: features.reviews.WEIGHT is an object, which cannot be "
        f"fingerprinted.\n  {MODULE}:14\n"
        "  Create it inside the function, or use plain values: numbers, texts, lists, dicts, dataclasses."
    )


def test_a_description_is_the_docstring_unless_it_is_given() -> None:
    """As for a group."""
    documented, given = python_feature(float)(plain), python_feature(float, description="Given.")(plain)

    assert [documented.description, given.description] == ["Return it.", "Given."]


# Dataframes


def test_features_of_a_loop_have_values_of_their_own(tmp_path: Path) -> None:
    """Through a default value, which is not a column."""

    def declare() -> None:
        def times(x: pa.Array, factor: int) -> pa.Array:
            return pc.multiply(x, factor)

        def made(n: int) -> Feature[int]:
            def by(x: pa.Array, factor: int = n) -> pa.Array:
                return times(x, factor)

            return python_feature(int, name=f"by_{n}")(by)

        numbers = Source("numbers", frame=[{"user_id": 1, "x": 5}])
        type("Numbers", (FeatureGroup,), {}, entity=Entity("user", keys={"user_id": int}), source=numbers,
             features=[made(n) for n in (2, 3)])  # fmt: skip

    store = applied(tmp_path, declare)

    assert store.get_features(["by_2", "by_3"], user_id=1) == {"by_2": 10, "by_3": 15}


def identity(value: pa.Array) -> pa.Array:
    """Return it."""
    return value


def forgotten(value: pa.Array) -> pa.Array:
    """Return as many missing values."""
    return pa.nulls(len(value))


TYPES: list[tuple[Any, str, Any]] = [
    (str, "'naïve'", "naïve"),
    (float, "1.5::DOUBLE", 1.5),
    (int, "7::BIGINT", 7),
    (bool, "true", True),
    (list[float], "[1.5, NULL]::DOUBLE[]", [1.5, None]),
    ("DECIMAL(18, 2)", "1.25::DECIMAL(18, 2)", Decimal("1.25")),
    (dt.datetime, "TIMESTAMP '2026-01-01 12:30:00.000001'", dt.datetime(2026, 1, 1, 12, 30, 0, 1)),  # noqa: DTZ001
    (dt.date, "DATE '2026-01-01'", dt.date(2026, 1, 1)),
    (dt.timedelta, "INTERVAL 3 DAY", dt.timedelta(3)),
    (bytes, "'\\x00\\xFF'::BLOB", b"\x00\xff"),
    ("FLOAT[3]", "[1, 2, 3]::FLOAT[3]", (1.0, 2.0, 3.0)),
    ("UUID", "'00000000-0000-0000-0000-000000000001'::UUID", "00000000-0000-0000-0000-000000000001"),
    ("STRUCT(a INTEGER, b VARCHAR)", "{'a': 1, 'b': 'x'}", {"a": 1, "b": "x"}),
    ("ENUM('a', 'b')", "'b'::ENUM('a', 'b')", "b"),
    ("HUGEINT", "12345678901234567890123::HUGEINT", 12345678901234567890123),
    ("JSON", """'{"a": 1}'::JSON""", '{"a": 1}'),
    (float, "7::INTEGER", 7.0),
    ("FLOAT[3]", "[1, 2, 3]::FLOAT[]", (1.0, 2.0, 3.0)),
    (dt.datetime, "DATE '2026-01-01'", dt.datetime(2026, 1, 1)),  # noqa: DTZ001
]


@pytest.mark.slow
@pytest.mark.parametrize("function", [identity, forgotten])
@pytest.mark.parametrize(("dtype", "value", "expected"), TYPES)
def test_values_of_every_type_come_through(
    tmp_path: Path, dtype: Any, value: str, expected: Any, function: Any
) -> None:
    """The same value, a value that widens to the declared type, and NULL for NULL input or output."""

    def declare() -> None:
        even = f"SELECT i AS user_id, {value} AS value FROM range(0, 3000, 2) t(i)"
        rows = Source("rows", sql=f"{even} UNION ALL SELECT i, NULL FROM range(1, 3000, 2) t(i)")
        type("Made", (FeatureGroup,), {}, entity=Entity("user", keys={"user_id": int}), source=rows,
             features={"made": python_feature(dtype)(function)})  # fmt: skip

    store = applied(tmp_path, declare)

    entities = [{"user_id": 2998}, {"user_id": 2999}]
    values = [row["made"] for row in store.get_features(["made"], rows=entities)]
    assert [str(each) if dtype == "UUID" and each else each for each in values] == [
        expected if function is identity else None,
        None,
    ]


def test_a_chunked_array_a_dictionary_and_an_integer_are_results(tmp_path: Path) -> None:
    """Any Arrow type that widens to the declared type."""

    def chunked(x: pa.Array) -> pa.ChunkedArray:
        return pa.chunked_array([x[:1], x[1:]])

    def dictionary(x: pa.Array) -> pa.Array:
        return pc.dictionary_encode(pc.cast(x, "string"))

    def integer(x: pa.Array) -> pa.Array:
        return pc.cast(x, "int8")

    def declare() -> None:
        rows = Source("rows", frame=[{"user_id": i, "x": i} for i in range(5)])
        made = {
            "c": python_feature(int)(chunked),
            "d": python_feature(str)(dictionary),
            "i": python_feature(float)(integer),
        }
        type("Made", (FeatureGroup,), {}, entity=Entity("user", keys={"user_id": int}), source=rows, features=made)

    assert applied(tmp_path, declare).get_features(["c", "d", "i"], user_id=4) == {"c": 4, "d": "4", "i": 4.0}


def test_a_source_without_rows_gives_none(tmp_path: Path) -> None:
    """And nothing fails."""

    def declare() -> None:
        rows = Source("rows", frame=pa.table({"user_id": pa.array([], pa.int64()), "value": pa.array([], pa.string())}))
        type("Made", (FeatureGroup,), {}, entity=Entity("user", keys={"user_id": int}), source=rows,
             features={"made": python_feature(str)(identity)})  # fmt: skip

    assert applied(tmp_path, declare).get_features(["made"], user_id=4) == {"made": None}


def test_two_features_of_one_function_over_two_sources(tmp_path: Path) -> None:
    """The same SQL function is called with columns of other types."""

    def declare() -> None:
        key = Entity("user", keys={"user_id": int})
        for name, value in (("texts", "a"), ("numbers", 5)):
            rows = Source(name, frame=[{"user_id": 1, "value": value}])
            made = python_feature("VARCHAR")(as_text)
            type("Of", (FeatureGroup,), {}, name=name, entity=key, source=rows, features={f"of_{name}": made})

    assert applied(tmp_path, declare).get_features(["of_texts", "of_numbers"], user_id=1) == {
        "of_texts": "a",
        "of_numbers": "5",
    }


def as_text(value: pa.Array) -> pa.Array:
    """Return it as text."""
    return pc.cast(value, "string")


# Python sources

RATES = {
    "featproject.toml": '[project]\nname = "shop"\n',
    "features/__init__.py": "",
    "features/rates.py": '''
import datetime as dt

import pyarrow as pa

from featdsl import Entity, Feature, FeatureGroup, Source

currency = Entity("currency", keys={"currency": str})
quotes = Source("quotes", path="data/quotes.csv", timestamp="day")
weights = Source("weights", path="data/weights.csv")
FACTOR = 2


def load_rates(quotes: pa.Table, weights: pa.Table, factor: int = FACTOR) -> list[dict[str, object]]:
    """Rates by currency and day."""
    weight = {row["currency"]: row["weight"] for row in weights.to_pylist()}
    return [
        {"currency": row["currency"], "day": row["day"], "rate": row["quote"] * weight[row["currency"]] * factor}
        for row in quotes.to_pylist()
    ]


rates = Source(
    "rates",
    function=load_rates,
    columns={"currency": str, "day": dt.date, "rate": float},
    timestamp="day",
)
doubled = Source("doubled", sql="SELECT currency, day, 2 * rate AS rate FROM {{ rates }}", timestamp="day")


class Rates(FeatureGroup, entity=currency, source=rates):
    rate = Feature(float)


class Doubled(FeatureGroup, entity=currency, source=doubled):
    twice = Feature(float, sql="rate")
''',
    "data/quotes.csv": "currency,day,quote\neur,2026-01-01,3\nusd,2026-01-01,5\neur,2026-01-02,7\n",
    "data/weights.csv": "currency,weight\neur,1.5\nusd,1\n",
}
RATES_FILE = "features/rates.py"


@pytest.fixture
def bureau(workspace: Workspace) -> Workspace:
    """A project with a source that is a function of two other sources and is read by a SQL source."""
    return workspace.write(RATES)


def test_a_source_is_what_its_function_returns(bureau: Workspace) -> None:
    """It reads other sources, and others read it."""
    assert bureau.run("plan", "--out", "plan.json").returncode == 0
    assert bureau.run("apply", "plan.json").returncode == 0

    query = (
        "SELECT currency, rate, twice FROM prod.rates JOIN prod.doubled USING (currency, event_timestamp) ORDER BY 2"
    )
    assert bureau.published(query) == [("eur", 9.0, 18.0), ("usd", 10.0, 20.0), ("eur", 21.0, 42.0)]
    assert bureau.run("plan", "--check").returncode == 0


def test_a_plan_calls_no_function_of_a_source(bureau: Workspace, edit: Edit) -> None:
    """Its schema is declared."""
    edit(RATES_FILE, '    """Rates by currency and day."""', "    raise SystemExit(7)")

    done = bureau.run("plan", "--sql")

    assert done.returncode == 0
    assert "+ source rates     Python load_rates over quotes, weights" in done.stdout
    assert "-- source rates is features.rates:load_rates" in done.stdout


def test_the_lineage_of_a_source_goes_through_its_function(bureau: Workspace) -> None:
    """It includes every column of the function's inputs."""
    bureau.apply()

    output = bureau.run("lineage", "twice").stdout

    assert "source quotes (shop): currency, day, quote" in output
    assert "source weights (shop): currency, weight" in output


SOURCE_CHANGES = {
    "its code": ((RATES_FILE, "* factor}", "+ factor}"), ["function"]),
    "a default": ((RATES_FILE, "FACTOR = 2", "FACTOR = 3"), ["function"]),
    "a source that it reads": ((RATES_FILE, "data/weights.csv", "data/weight*.csv"), ["upstream"]),
}


@pytest.mark.parametrize("name", SOURCE_CHANGES)
def test_a_changed_source_recomputes_its_consumers(bureau: Workspace, edit: Edit, name: str) -> None:
    """Its function, the values that the function uses, and its input sources."""
    (file, old, new), codes = SOURCE_CHANGES[name]
    bureau.apply()

    edit(file, old, new)
    changes = json.loads(bureau.run("plan", "--format", "json").stdout)["changes"]

    reasons = {c["change"]["address"]: [r["code"] for r in c["change"]["reasons"]] for c in changes}
    assert reasons["rates"] == codes
    assert reasons["rates.rate"] == reasons["doubled.twice"] == ["upstream"]


SOURCE_FAILURES = {
    "an exception": (
        ("* factor}", "* nothing[0]}"),
        ("FACTOR = 2", "FACTOR = 2\nnothing = []"),
        "Function failed\n  source rates: features.rates:load_rates raised IndexError: list index out of range\n"
        "  features/rates.py:19",
    ),
    "no rows": (
        ("    return [\n", "    return 5\n    [\n"),
        None,
        "source rates: features.rates:load_rates returns no rows: int is not a frame.",
    ),
    "a missing column": (
        ('"rate": row["quote"]', '"rat": row["quote"]'),
        None,
        "source rates: features.rates:load_rates returns no column 'rate'; its columns are: currency, day, rat.",
    ),
    "a column of another type": (
        ('"currency": str, "day"', '"currency": int, "day"'),
        ('keys={"currency": str}', 'keys={"currency": int}'),
        "source rates: features.rates:load_rates returns 'currency' as VARCHAR, but it is declared BIGINT.",
    ),
}


@pytest.mark.parametrize("name", SOURCE_FAILURES)
def test_an_error_in_a_source_is_reported_and_nothing_is_published(bureau: Workspace, edit: Edit, name: str) -> None:
    """With the source, the line and the reason."""
    *edits, message = SOURCE_FAILURES[name]
    for each in edits:
        if each is not None:
            edit(RATES_FILE, *each)

    error = refused(bureau, "apply", "--yes")

    assert message in error
    assert not (bureau.root / ".featdsl" / "store.duckdb").exists()


def test_a_function_of_unknown_sources_and_types_is_refused(bureau: Workspace, edit: Edit) -> None:
    """At plan time, with the nearest name."""
    edit(RATES_FILE, "def load_rates(quotes", "def load_rates(quote")
    nothing = refused(bureau, "plan")
    edit(RATES_FILE, "quotes.to_pylist()", "quote.to_pylist()")
    one = refused(bureau, "plan")
    edit(RATES_FILE, "def load_rates(quote", "def load_rates(quotes")
    edit(RATES_FILE, "quote.to_pylist()", "quotes.to_pylist()")
    edit(RATES_FILE, '"rate": float', '"rate": "DOUBEL"')
    other = refused(bureau, "plan")

    assert nothing == (
        "Function cannot be fingerprinted\n  source rates: features.rates.quotes is the source quotes, which is not a value.\n"
        "  features/rates.py:14\n  A function gets its inputs as parameters: add a parameter of that name."
    )
    assert one == (
        'Unknown source\n  source rates reads "quote", which no source declares.\n  features/rates.py:23\n'
        '  Did you mean "quotes"?'
    )
    assert "source rates: column rate: DuckDB has no type DOUBEL." in other


def test_sources_in_a_circle_are_refused(bureau: Workspace, edit: Edit) -> None:
    """Also through a function."""
    edit(RATES_FILE, 'path="data/weights.csv"', 'sql="FROM {{ doubled }}"')

    error = refused(bureau, "plan")

    assert error.startswith("Cycle\n  These sources depend on each other: ")
    assert all(name in error for name in ("doubled", "rates", "weights"))


def frame(kind: str) -> Any:
    """Return a dataframe of this kind."""
    if kind == "pandas":
        return pd.DataFrame({"user_id": [1], "x": [0.5]})
    if kind == "polars":
        return pl.DataFrame({"x": [0.5], "user_id": [1]})
    if kind == "arrow":
        return pa.table({"user_id": [1], "x": [0.5], "more": ["a"]})
    if kind == "integers":
        return pa.table({"USER_ID": pa.array([1], pa.int8()), "X": pa.array([0.5], pa.float32())})
    return [{"user_id": 1, "x": 0.5}] if kind == "dicts" else []


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "dicts", "integers", "none"])
def test_a_function_returns_any_kind_of_frame(tmp_path: Path, kind: str) -> None:
    """With extra columns, with types that widen, or without rows."""

    def declare() -> None:
        def rows(kind: str = kind) -> Any:
            return frame(kind)

        made = Source("rows", function=rows, columns={"user_id": int, "x": float})
        type("Made", (FeatureGroup,), {"x": Feature(float)}, entity=Entity("user", keys={"user_id": int}), source=made)

    assert applied(tmp_path, declare).get_features(["x"], user_id=1) == {"x": None if kind == "none" else 0.5}
