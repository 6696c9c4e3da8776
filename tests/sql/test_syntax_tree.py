"""SQL that differs to DuckDB has different fingerprints, and equivalent SQL is no change, wherever SQL is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
import sqlglot

import featdsl
from featdsl.sql import parser
from tests.budgets import FULL
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

ROWS = """
    SELECT i % 2 AS id, TIMESTAMP '2026-01-01' + to_hours(i::INT) AS ts, i::DOUBLE AS amount, i AS n,
           '{"n": 1, "N": 100, "u.n": 7, "u": {"n": 1000}}'::JSON AS j, {'a': i, 'B': 2 * i} AS s
    FROM range(6) t(i)
"""
PLACES = {
    "feature": "v = Feature(float, sql='''{0}''')",
    "window": "v = Feature(float, sql='''sum({0})''', window='30 days')",
    "filter": "v = Feature(int, sql='''count(*) FILTER (WHERE {0} > 1)''', windows=['1 day', '30 days'])",
    "source": "v = Feature(float, sql='c')",
    "macro": "v = Feature(float, sql='{{{{ taken(1) }}}}')",
    "derived": "v = Feature(float, sql='amount + n')",
}
"""For each place of SQL, a feature that contains `{0}` there, or reads what contains it."""


def declared(workspace: Workspace, place: str, text: str) -> Workspace:
    """Write a project with an expression at one place."""
    source = "made" if place == "source" else "rows"
    derived = (
        f"class D(FeatureGroup, entity=e, inputs=[G.amount, G.n, G.s, G.j]):\n    d = Feature(float, sql='''{text}''')"
    )
    return workspace.write({
        "featproject.toml": '[project]\nname = "p"\n',
        "features/__init__.py": "",
        "features/macros/m.sql": f"{{% macro taken(x) %}}{text}{{% endmacro %}}",
        "features/t/__init__.py": f"""
from featdsl import Entity, Feature, FeatureGroup, Source

e = Entity("e", keys={{"id": int}})
rows = Source("rows", path="data/rows.parquet", timestamp="ts")
made = Source("made", sql='''SELECT id, ts, {text if place == "source" else "amount"} AS c FROM {{{{ rows }}}}''', timestamp="ts")


class G(FeatureGroup, entity=e, source=rows):
    amount = Feature(float)
    n = Feature(int)
    s = Feature("STRUCT(a BIGINT, B BIGINT)")
    j = Feature("JSON")


class H(FeatureGroup, entity=e, source={source}):
    {PLACES[place].format(text)}

{derived if place == "derived" else ""}
""",
    }).parquet("data/rows.parquet", ROWS)  # fmt: skip


ALIKE = [
    ("amount + n", "(amount) + (n)"),
    ("amount + n", "((amount + n))"),
    ("amount + n", "Amount +\n  N /* both */"),
    ("amount + n", '"amount" + "N" -- both\n'),
    ("coalesce(amount, 0)", "COALESCE( AMOUNT ,0 )"),
    ("amount::INT + 0.5", "CAST(amount AS int) + 0.5"),
    ("s.a + 1", "S.A + 1"),
    ("s.B + 1", 's."b" + 1'),
    ("(j.n)::DOUBLE", "((J.n))::double"),
    ("(j->>'$.n')::DOUBLE", "CAST((j ->> '$.n') AS DOUBLE)"),
]
APART = [
    ("(j->>'u.n')::DOUBLE", "(j->>'$.u.n')::DOUBLE"),
    ("(j.n)::DOUBLE", "(j.N)::DOUBLE"),
    ("(j.n)::DOUBLE", '(j."N")::DOUBLE'),
    ("json_extract(j, 'u.n')::DOUBLE", "json_extract(j, '$.u.n')::DOUBLE"),
    ("round(amount + 0.5)", "round_even(amount + 0.5, 0)"),
    ("list_sum(list_transform([n], lambda x: x + 1))", "list_sum(list_transform([n], lambda x: x + 2))"),
    ("json_extract(to_json({'k': amount}), '$.k')::DOUBLE", "json_extract(to_json({'K': amount}), '$.k')::DOUBLE"),
]


@pytest.mark.parametrize("place", PLACES)
def test_what_duckdb_reads_alike_is_no_change(workspace: Workspace, place: str) -> None:
    """Parentheses, quotes, letter case of names, spaces and comments make no difference at any place."""
    for before, after in ALIKE if FULL else ALIKE[list(PLACES).index(place) :: 3]:
        declared(workspace, place, before).apply()
        done = declared(workspace, place, after).run("plan", "--check")
        assert (done.returncode, "Nothing to do" in done.stdout) == (0, True), (before, after, done)


@pytest.mark.property
@pytest.mark.parametrize("place", PLACES)
def test_what_duckdb_keeps_apart_is_a_change(workspace: Workspace, place: str) -> None:
    """Edits in both directions are changes, and the values are those of the new SQL."""
    both = [*APART, *((after, before) for before, after in APART)]
    for before, after in both if FULL else both[list(PLACES).index(place) :: len(PLACES)]:
        declared(workspace, place, before).apply()
        assert declared(workspace, place, after).run("plan", "--check").returncode == 2, (before, after)
        workspace.apply()
        assert workspace.run("plan", "--check").returncode == 0
        if place in {"feature", "macro", "source", "derived"}:
            name = "d.d" if place == "derived" else "h.v"
            query = f"SELECT ({after})::DOUBLE FROM ({ROWS}) WHERE id = 1 ORDER BY ts DESC LIMIT 1"
            assert workspace.store.get_features([name], id=1) == {
                name.partition(".")[2]: duckdb.sql(query).fetchall()[0][0]
            }
        if place == "window":
            query = f"SELECT sum(({after})::DOUBLE) FROM ({ROWS}) WHERE id = 1"
            spine = "SELECT 1 AS id, TIMESTAMP '2026-01-10' AS t"
            rows = workspace.store.training_set(["h.v"], spine, timestamp="t").relation.fetchall()
            assert rows[0][-1] == duckdb.sql(query).fetchall()[0][0]


def test_an_expectation_of_another_key_is_a_change(workspace: Workspace) -> None:
    """A changed condition builds nothing, but apply checks it."""
    code = """
from featdsl import Entity, Feature, FeatureGroup, Source

e = Entity("e", keys={"id": int})
rows = Source("rows", path="data/rows.parquet", timestamp="ts")


class G(FeatureGroup, entity=e, source=rows):
    j = Feature("JSON", expect="%s")
"""
    declared(workspace, "feature", "n").write({"features/t/__init__.py": code % "(j.n)::INT = 1"}).apply()
    assert workspace.write({"features/t/__init__.py": code % "((J.n))::int = 1"}).run("plan", "--check").returncode == 0
    assert workspace.write({"features/t/__init__.py": code % "(j.N)::INT = 100"}).run("plan", "--check").returncode == 2
    done = workspace.write({"features/t/__init__.py": code % "(j.N)::INT = 1"}).run("apply", "--yes")
    assert done.returncode == 1, done


# Applied fingerprints

EVERYTHING = """
from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source

e = Entity("e", keys={"id": int})
rows = Source("rows", path="data/rows.parquet", timestamp="ts")
made = Source("made", sql='''SELECT *, [x * 2 FOR x IN [n]] AS l, list_transform([n], lambda x: x + 1) AS k,
    count(*) OVER (PARTITION BY id ORDER BY ts) AS c FROM {{ rows }}''', timestamp="ts")


class G(FeatureGroup, entity=e, source=made):
    plain = Feature(float, sql="coalesce(amount, 0) * 2")
    path = Feature(str, sql="j->>'u.n'")
    key = Feature("JSON", sql="j.N")
    longer = Feature(str, sql="regexp_extract(upper('a1'), '[a-z]', 0, 'i')")
    years = Feature(int, sql="date_diff('year', ts, TIMESTAMP '2030-01-01' + INTERVAL 1 DAY)")


class W(FeatureGroup, entity=e, source=made):
    total = Feature(float, sql="sum(amount) FILTER (WHERE n IS NOT NULL) / nullif(count(*), 0)", windows=["1 day", "9 days"])
    listed = Feature("BIGINT[]", sql="list(n)", window="9 days")
    lower = Feature("HUGEINT", sql="sum((j.n)::INT)", window="9 days")
    upper = Feature("HUGEINT", sql="sum((j.N)::INT)", window="9 days")


class D(FeatureGroup, entity=e, inputs=[G.plain, G.path, W.total["9 days"].alias("t")]):
    d = Feature(float, sql="round(plain + t, 2) + (path::INT)", expect="d > 0")


one = FeatureSet("one", version=1, features=[G.plain, G.path, W.total["9 days"], W.lower, W.upper, D.d])
"""
"""Sources, values, windows and derived features, with SQL that parsers print in different ways."""


def everything(workspace: Workspace) -> Workspace:
    """Write the project EVERYTHING."""
    files = {"featproject.toml": '[project]\nname = "p"\n', "features/__init__.py": ""}
    return workspace.write({**files, "features/t/__init__.py": EVERYTHING}).parquet("data/rows.parquet", ROWS)


def forgotten(workspace: Workspace) -> Workspace:
    """Delete the cache, so that the next plan parses all SQL, as after an upgrade."""
    for file in (workspace.root / ".featdsl").glob("memory-*"):
        file.unlink()
    return workspace


def test_another_print_leaves_applied_fingerprints(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser release that prints all SQL differently changes no plan, and an edit changes only its features."""
    everything(workspace).apply()
    printed = parser._printed
    monkeypatch.setattr(parser, "_printed", lambda tree: f"({printed(tree)})")

    assert "Nothing to do" in forgotten(workspace).run("plan", "--check").stdout
    code = EVERYTHING.replace("coalesce(amount, 0) * 2", "coalesce(amount, 0) * 3")
    done = workspace.write({"features/t/__init__.py": code}).run("plan", "--format", "json")
    changed = {change["change"]["address"] for change in json.loads(done.stdout)["changes"]}
    assert changed == {"g.plain", "d.d"}


@pytest.mark.slow
def test_another_release_of_the_parser_leaves_applied_fingerprints(workspace: Workspace) -> None:
    """Apply with the installed release and plan with an older one, and the other way round."""
    older = workspace.root / "older"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(older),
        "sqlglot==30.4.0",
    ]
    subprocess.run(install, check=True, capture_output=True)
    path = os.pathsep.join([str(older), str(Path(featdsl.__file__).parents[1])])
    code = "import sqlglot; print(sqlglot.__version__)"
    version = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=True
    )
    assert version.stdout.decode().strip() == "30.4.0" != sqlglot.__version__

    everything(workspace).apply()
    done = workspace.spawn("plan", "--check", PYTHONPATH=path)
    assert (done.returncode, "Nothing to do" in done.stdout) == (0, True), done

    other = Workspace(workspace.root / "other")
    assert everything(other).spawn("apply", "--yes", PYTHONPATH=path).returncode == 0
    done = other.run("plan", "--check")
    assert (done.returncode, "Nothing to do" in done.stdout) == (0, True), done


def test_one_fingerprint_of_before_is_not_taken_for_two_texts(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry in which two texts share a fingerprint still detects edits, and serves the right values."""
    everything(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(parser, "_disambiguated", lambda *texts: texts[-1])
        workspace.apply()
    assert forgotten(workspace).run("apply", "--yes").returncode == 0
    spine = "SELECT 1 AS id, TIMESTAMP '2026-01-09' AS t"
    rows = workspace.store.training_set(["w.lower", "w.upper"], spine, timestamp="t").relation.fetchall()
    assert rows[0][2:] == (3, 300)

    edited = EVERYTHING.replace("j->>'u.n'", "j->>'$.u.n'")
    for code, value in [(edited, "1000"), (EVERYTHING, "7"), (edited, "1000")]:
        assert workspace.write({"features/t/__init__.py": code}).run("plan", "--check").returncode == 2
        workspace.apply()
        assert workspace.run("plan", "--check").returncode == 0
        assert workspace.store.get_features(["g.path"], id=1) == {"path": value}


def test_an_input_may_be_called_otherwise(workspace: Workspace) -> None:
    """The name of an input in derived SQL does not change the fingerprint, whatever the parser prints."""
    everything(workspace).apply()
    code = EVERYTHING.replace('.alias("t")', '.alias("s")').replace("plain + t", "plain + (s)")
    code = code.replace("inputs=[G.plain, G.path, W", 'inputs=[G.plain, G.path.alias("p"), W').replace(
        "(path::INT)", "(p::INT)"
    )
    plan = json.loads(workspace.write({"features/t/__init__.py": code}).run("plan", "--format", "json").stdout)
    assert (plan["changes"], [step for step in plan["steps"] if step["step"] == "build_table"]) == ([], [])
    workspace.apply()
    assert workspace.run("plan", "--check").returncode == 0
