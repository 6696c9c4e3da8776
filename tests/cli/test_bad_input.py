"""Errors name the place, the reason and the fix, and nothing is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from featdsl import FeatureNotFoundError, RequestError
from featdsl.plan import planfile
from tests.conftest import ACCOUNTS, Workspace
from tests.waiting import PATIENCE

TEAM = "features/accounts/__init__.py"
USERS = "features/lending/__init__.py"
TOML = "featproject.toml"
Edit = Callable[[str, str, str], None]


def refused(workspace: Workspace, *arguments: str, exit_code: int = 1) -> str:
    """Run a command that must be refused and return its message; the store must not change."""
    store = workspace.root / ".featdsl" / "store.duckdb"
    before = store.read_bytes() if store.is_file() else None
    done = workspace.run(*arguments)
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (store.read_bytes() if store.is_file() else None) == before
    return done.stderr.replace(str(workspace.root), "").strip()


# Declarations

SET = 'FeatureSet("other", version=1,'
CLASS = "\n\nclass UserProfile(FeatureGroup,"
DEPRECATED = f"\nfrom featdsl import Deprecated\n{CLASS.rstrip(',')}"
DECLARATIONS = {
    "a syntax error": (
        (TEAM, "\n\nclass UserProfile", "\nuser user\n\nclass UserProfile"),
        """\
Syntax error
  invalid syntax: user user
  features/accounts/__init__.py:7
  Python cannot parse this line; fix it or the line before.""",
    ),
    "an exception": (
        (TEAM, 'user = Entity("user"', '1 / 0\nuser = Entity("user"'),
        """\
Module cannot be imported
  ZeroDivisionError: division by zero
  features/accounts/__init__.py:4
  A module of declarations must not raise on import; fix this line or the code it calls.""",
    ),
    "a typo in a reference": (
        (USERS, "inputs=[UserProfile.income]", "inputs=[UserProfile.incom]"),
        """\
Module cannot be imported
  AttributeError: type object 'UserProfile' has no attribute 'incom'
  features/lending/__init__.py:6
  Did you mean "income"?""",
    ),
    "an unknown column": (
        (TEAM, 'sql="annual_income"', 'sql="anual_income"'),
        """\
Unknown column
  feature user_profile.income reads the column 'anual_income', which does not exist.
  features/accounts/__init__.py:13
  Did you mean "annual_income"?""",
    ),
    "an unknown column of a derived group": (
        (USERS, 'sql="income / 12"', 'sql="incom / 12"'),
        """\
Unknown column
  feature affordability.monthly reads the column 'incom', which is not one of its inputs.
  features/lending/__init__.py:9
  Did you mean "income"?""",
    ),
    "an unknown function": (
        (TEAM, 'sql="annual_income"', 'sql="rounds(annual_income)"'),
        """\
Unknown function
  feature user_profile.income calls rounds(), which DuckDB does not have.
  features/accounts/__init__.py:13
  Did you mean "round"?""",
    ),
    "SQL that does not parse": (
        (TEAM, 'sql="annual_income"', 'sql="(annual_income"'),
        """\
Invalid SQL
  feature user_profile.income: Syntax error: ) is missing after '(annual_income'.
  features/accounts/__init__.py:13
  Fix the SQL; the dialect is DuckDB's.""",
    ),
    "several statements": (
        (TEAM, 'sql="annual_income"', 'sql="annual_income; DROP TABLE accounts"'),
        """\
Invalid SQL
  feature user_profile.income: The SQL has several statements.
  features/accounts/__init__.py:13
  Write one, without semicolons.""",
    ),
    "a query as a feature": (
        (TEAM, 'sql="annual_income"', 'sql="SELECT annual_income"'),
        """\
Invalid SQL
  feature user_profile.income: The SQL contains a query, but a feature is an expression over the columns of its source.
  features/accounts/__init__.py:13
  Move the query to a Source(sql=...).""",
    ),
    "an aggregate": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income)"'),
        """\
Aggregate misused
  feature user_profile.income aggregates over many rows, but has no window that says which: sum(annual_income)
  features/accounts/__init__.py:13
  Give it one, such as window='30 days' or 'lifetime'.""",
    ),
    "an aggregate of inputs": (
        ("features/lending/__init__.py", 'sql="income / 12"', 'sql="sum(income)"'),
        """\
Aggregate misused
  feature affordability.monthly aggregates, but of its inputs there is one value each: sum(income)
  features/lending/__init__.py:9
  Aggregate in a group over a source, where a window says which rows, and derive from that.""",
    ),
    "an aggregate of a window that nests": (
        (TEAM, 'sql="annual_income"', 'sql="max(sum(annual_income))", window="1 day"'),
        """\
Invalid SQL
  feature user_profile.income: sum() is nested in max().
  features/accounts/__init__.py:13
  Aggregate once, and do the rest in a Source(sql=...).""",
    ),
    "a column beside an aggregate": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income) / birth_date", window="1 day"'),
        """\
Invalid SQL
  feature user_profile.income: The column 'birth_date' is outside of an aggregate, but a window has many rows.
  features/accounts/__init__.py:13
  Choose one row, such as last(birth_date), or aggregate the column.""",
    ),
    "a window over nothing": (
        (TEAM, 'sql="annual_income"', 'sql="annual_income", window="1 day"'),
        """\
Invalid SQL
  feature user_profile.income: The feature has a window, but its SQL has no aggregate.
  features/accounts/__init__.py:13
  Write an aggregate, such as sum(amount).""",
    ),
    "a window over a typing error": (
        (TEAM, 'sql="annual_income"', 'sql="summ(annual_income)", window="1 day"'),
        """\
Invalid SQL
  feature user_profile.income: The feature has a window, but summ() is not an aggregate.
  features/accounts/__init__.py:13
  Did you mean "sum"?""",
    ),
    "a window over an aggregate and a typing error": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income) / cuont(annual_income)", window="1 day"'),
        """\
Invalid SQL
  feature user_profile.income: The feature has a window, but cuont() is not an aggregate.
  features/accounts/__init__.py:13
  Did you mean "count"?""",
    ),
    "a window of no length": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income)", window="1 fortnight"'),
        """\
Invalid declaration
  Feature: window: '1 fortnight' is not a duration, such as '30 days' or '1 hour', or 'lifetime'
  features/accounts/__init__.py:13""",
    ),
    "a window twice": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income)", windows=["7 days", "1 week"]'),
        """\
Invalid declaration
  Feature: windows: '1 week' is listed twice
  features/accounts/__init__.py:13""",
    ),
    "windows that are one": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income)", windows="7 days"'),
        """\
Invalid declaration
  Feature: windows: '7 days' is one window; write a list, ['7 days'], or use window='7 days'
  features/accounts/__init__.py:13""",
    ),
    "a window longer than time": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income)", window="5000000 days"'),
        """\
Invalid declaration
  Feature: window: '5000000 days' is too long; the maximum is 10,000 years, or 'lifetime'
  features/accounts/__init__.py:13""",
    ),
    "a delay without a window": (
        (TEAM, 'sql="annual_income"', 'sql="annual_income", delay="1 hour"'),
        """\
Invalid declaration
  Feature: delay= needs a window; add one, such as window='30 days'
  features/accounts/__init__.py:13""",
    ),
    "no last rows": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_income)", last_n=0'),
        """\
Invalid declaration
  Feature: last_n: 0 is not at least 1
  features/accounts/__init__.py:13""",
    ),
    "a window without SQL": (
        (TEAM, 'sql="annual_income"', 'window="1 day"'),
        """\
Invalid declaration
  Feature: a window needs sql= with an aggregate, such as sql='sum(amount)'
  features/accounts/__init__.py:13""",
    ),
    "a window whose SQL does not bind": (
        (TEAM, 'sql="annual_income"', 'sql="sum(annual_incom)", window="1 day"'),
        """\
Unknown column
  feature user_profile.income reads the column 'annual_incom', which does not exist.
  features/accounts/__init__.py:13
  Did you mean "annual_income"?""",
    ),
    "a window of another type": (
        (TEAM, 'sql="annual_income"', 'sql="list(annual_income)", window="1 day"'),
        """\
Wrong type
  feature user_profile.income is declared DOUBLE, but its SQL gives DECIMAL(24,1)[].
  features/accounts/__init__.py:13
  Declare that type, or cast: CAST(... AS DOUBLE).""",
    ),
    "a function that changes by the run": (
        (TEAM, "birth_date, updated_at)", "birth_date, now())"),
        """\
Invalid SQL
  feature user_profile.age: now() gives another value at each run, so past values cannot be computed.
  features/accounts/__init__.py:11
  Use the row's own timestamp. In a group with inputs=[...], as_of_timestamp is the time of the read.""",
    ),
    "a number by chance": (
        (TEAM, 'sql="annual_income"', 'sql="annual_income * random()"'),
        """\
Invalid SQL
  feature user_profile.income: random() gives another value at each run, so past values cannot be computed.
  features/accounts/__init__.py:13
  Use the row's own timestamp, or a variable: {{ var('name') }}.""",
    ),
    "an aggregate of some rows by chance": (
        (TEAM, 'sql="annual_income"', 'sql="reservoir_quantile(annual_income, 0.5)", window="1 day"'),
        """\
Invalid SQL
  feature user_profile.income: reservoir_quantile() gives another value at each run, so past values cannot be computed.
  features/accounts/__init__.py:13
  Use the row's own timestamp, or a variable: {{ var('name') }}.""",
    ),
    "a template that does not end": (
        (TEAM, 'sql="annual_income"', 'sql="{{ annual_income"'),
        """\
Template cannot be rendered
  feature user_profile.income: Line 1 of the template has a syntax error: unexpected end of template, expected 'end of print statement'.
  features/accounts/__init__.py:13
  If {{ is SQL and not a template, add a space: { {""",
    ),
    "a map of structs that begins like a template": (
        (TEAM, 'sql="annual_income"', "sql=\"MAP {{'a': 1}: annual_income}[{'a': 1}]\""),
        """\
Template cannot be rendered
  feature user_profile.income: Line 1 of the template has a syntax error: expected token 'end of print statement', got ':'.
  features/accounts/__init__.py:13
  If {{ is SQL and not a template, add a space: { {""",
    ),
    "a comment that does not end": (
        (TEAM, 'sql="annual_income"', 'sql="""{{ var(\'x\') }} +\n{#1}"""'),
        """\
Template cannot be rendered
  feature user_profile.income: Line 2 of the template has a syntax error: Missing end of comment tag.
  features/accounts/__init__.py:13
  If {# is SQL and not a template, add a space: { #""",
    ),
    "a type that the SQL does not give": (
        (TEAM, 'Feature(float, sql="annual_income"', 'Feature(int, sql="annual_income"'),
        """\
Wrong type
  feature user_profile.income is declared BIGINT, but its SQL gives DECIMAL(24,1).
  features/accounts/__init__.py:13
  Declare that type, or cast: CAST(... AS BIGINT).""",
    ),
    "a type that does not exist": (
        (TEAM, 'Feature(float, sql="annual_income"', 'Feature("FLOATY", sql="annual_income"'),
        """\
Unknown type
  feature user_profile.income: DuckDB has no type FLOATY.
  features/accounts/__init__.py:13
  Did you mean "FLOAT" or "FLOAT4" or "FLOAT8"?""",
    ),
    "a key type that does not exist": (
        (TEAM, '{"user_id": int}', '{"user_id": "INTEGR"}'),
        """\
Unknown type
  entity user: key user_id: DuckDB has no type INTEGR.
  features/accounts/__init__.py:4
  Did you mean "INTEGER" or "INTEGRAL" or "UINTEGER"?""",
    ),
    "a check that is no condition": (
        (TEAM, 'expect="age BETWEEN 0 AND 120"', 'expect="age + 1"'),
        """\
Wrong type
  expect of user_profile.age is BIGINT, not a condition: age + 1
  features/accounts/__init__.py:11
  Write what is true of every good value, such as: age BETWEEN 0 AND 120.""",
    ),
    "a check of an unknown column": (
        (TEAM, 'expect="age BETWEEN 0 AND 120"', 'expect="agee > 0"'),
        """\
Unknown column
  expect of user_profile.age reads the column 'agee', which does not exist.
  features/accounts/__init__.py:11
  Did you mean "age"?""",
    ),
    "an unknown option": (
        (TEAM, 'sql="annual_income"', 'sqll="annual_income"'),
        """\
Unknown option
  Feature has no option 'sqll'.
  features/accounts/__init__.py:13
  Did you mean "sql"?""",
    ),
    "an unknown option of a group": (
        (TEAM, "source=accounts)", 'source=accounts, tll="1 day")'),
        """\
Unknown option
  FeatureGroup 'user_profile' has no option 'tll'.
  features/accounts/__init__.py:8
  Did you mean "ttl"?""",
    ),
    "two groups of one name": (
        (USERS, "class Affordability(FeatureGroup,", 'class Affordability(FeatureGroup, name="user_profile",'),
        """\
Name used twice
  Two groups are named user_profile; the other one is at features/accounts/__init__.py:8.
  features/lending/__init__.py:6
  Rename one of them.""",
    ),
    "two features of one name": (
        (TEAM, "    income = Feature(", "    age = Feature(int)\n    income = Feature("),
        """\
Name used twice
  user_profile has two features named age; the other one is at line 11.
  features/accounts/__init__.py:13
  Rename one of them.""",
    ),
    "two listed features of one name": (
        (
            USERS,
            "credit_risk_v1 =",
            "class Twice(FeatureGroup, entity=user, inputs=[UserProfile.age],\n"
            '            features=[Feature(int, sql="age", name=name) for name in ("a", "a")]):\n'
            '    """Twice."""\n\n\ncredit_risk_v1 =',
        ),
        """\
Name used twice
  twice has two features named a; the other one is at line 13.
  features/lending/__init__.py:13
  Rename one of them.""",
    ),
    "a circle of groups": (
        (
            USERS,
            "credit_risk_v1 =",
            'class Chicken(FeatureGroup, entity=user, inputs=["egg.age"]):\n    weight = Feature(int, sql="age")\n\n'
            'class Egg(FeatureGroup, entity=user, inputs=["chicken.weight"]):\n    age = Feature(int, sql="weight")\n\n'
            'eggs = FeatureSet("eggs", version=1, features=["egg.age"])\n\ncredit_risk_v1 =',
        ),
        """\
Cycle
  These groups depend on each other: chicken → egg → chicken.
  features/lending/__init__.py:12
  Remove one of these dependencies.""",
    ),
    "a circle of SQL sources": (
        (
            TEAM,
            "\n\nclass UserProfile",
            '\nhere = Source("here", sql="SELECT * FROM {{ there }}")\n'
            'there = Source("there", sql="SELECT * FROM {{ here }}")\n\nclass UserProfile',
        ),
        """\
Cycle
  These sources depend on each other: here → there → here.
  features/accounts/__init__.py:7
  Remove one of these dependencies.""",
    ),
    "an unknown source in SQL": (
        (TEAM, "\n\nclass UserProfile", '\nhere = Source("here", sql="FROM {{ acounts }}")\n\nclass UserProfile'),
        """\
Template cannot be rendered
  source here: 'acounts' is undefined in the template.
  features/accounts/__init__.py:7
  Did you mean "accounts"?""",
    ),
    "a file read past its source": (
        (TEAM, "\n\nclass UserProfile", "\nhere = Source('here', sql=\"FROM 'a.csv'\")\n\nclass UserProfile"),
        """\
Invalid SQL
  source here: The SQL reads "a.csv", which is not a source.
  features/accounts/__init__.py:7
  Declare it as a Source and refer to it with Jinja: FROM {{ that_source }}.""",
    ),
    "an unknown variable": (
        (TEAM, 'sql="annual_income"', "sql=\"annual_income * {{ var('rate') }}\""),
        """\
Template cannot be rendered
  feature user_profile.income: The variable 'rate' is not in [variables] of featproject.toml.
  features/accounts/__init__.py:13
  Add it there: rate = ...""",
    ),
    "a missing file": (
        (TEAM, "data/accounts.parquet", "data/acounts.parquet"),
        """\
Missing file
  source accounts: no file matches data/acounts.parquet.
  features/accounts/__init__.py:5
  Did you mean "data/accounts.parquet"?""",
    ),
    "a missing folder": (
        (TEAM, "data/accounts.parquet", "nowhere/*.parquet"),
        """\
Missing file
  source accounts: no file matches nowhere/*.parquet.
  features/accounts/__init__.py:5
  Paths start at the folder of featproject.toml.""",
    ),
    "a missing database": (
        (TEAM, 'path="data/accounts.parquet"', 'table="main.accounts", database="warehouse.duckdb"'),
        """\
Missing file
  source accounts: there is no database warehouse.duckdb.
  features/accounts/__init__.py:5
  Paths start at the folder of featproject.toml.""",
    ),
    "a database in a variable that is not set": (
        (TEAM, 'path="data/accounts.parquet"', 'table="main.accounts", database="env:FEATDSL_NO_SUCH_VARIABLE"'),
        """\
Source cannot be read
  source accounts: the variable FEATDSL_NO_SUCH_VARIABLE is not set; it says where the database is.
  features/accounts/__init__.py:5
  Set it where featdsl runs: export FEATDSL_NO_SUCH_VARIABLE=postgresql://user:password@host:5432/database""",
    ),
    "a missing timestamp column": (
        (TEAM, 'timestamp="updated_at"', 'timestamp="update_at"'),
        """\
Missing column
  source accounts has no column 'update_at', its timestamp=.
  features/accounts/__init__.py:5
  Did you mean "updated_at"?""",
    ),
    "a timestamp that is none": (
        (TEAM, 'timestamp="updated_at"', 'timestamp="annual_income"'),
        """\
Wrong type
  source accounts: its timestamp 'annual_income' is DECIMAL(24,1), not a DATE or TIMESTAMP.
  features/accounts/__init__.py:5
  Say what it counts since 1970: time_unit="day" for relative days, "s" for epoch seconds, or another of: ns, us, ms, s, \
minute, hour, day, week.""",
    ),
    "a missing key column": (
        (TEAM, '{"user_id": int}', '{"usr_id": int}'),
        """\
Missing column
  group user_profile: source accounts has no column 'usr_id' for its key usr_id.
  features/accounts/__init__.py:8
  Did you mean "user_id"?
  Or say which column it is: keys={"usr_id": "..."}.""",
    ),
    "a key of another type": (
        (TEAM, '{"user_id": int}', '{"user_id": str}'),
        """\
Wrong type
  group user_profile: key user_id is VARCHAR, but user_id is BIGINT.
  features/accounts/__init__.py:8
  Cast it in a Source(sql=...), or change the entity's key.""",
    ),
    "a deprecation without a day": (
        (TEAM, CLASS, f'{DEPRECATED}, deprecated=Deprecated(since="soon"),'),
        """\
Invalid declaration
  Deprecated: since: 'soon' is not a date; write it as '2026-06-30'
  features/accounts/__init__.py:10""",
    ),
    "a deprecation that ends before it begins": (
        (TEAM, CLASS, f'{DEPRECATED}, deprecated=Deprecated(since="2026-06-30", remove_after="2026-01-01"),'),
        """\
Invalid declaration
  Deprecated: remove_after=2026-01-01 is before since=2026-06-30
  features/accounts/__init__.py:10""",
    ),
    "a replacement that nobody declares": (
        (TEAM, CLASS, f'{DEPRECATED}, deprecated=Deprecated(since="2026-01-01", use="affordability.montly"),'),
        """\
Unknown replacement
  group user_profile is to be replaced by "affordability.montly", which is not a feature, group or set version.
  features/accounts/__init__.py:10
  Did you mean "affordability.monthly"?""",
    ),
    "a replacement by itself": (
        (TEAM, CLASS, f'{DEPRECATED}, deprecated=Deprecated(since="2026-01-01", use="user_profile"),'),
        """\
Unknown replacement
  group user_profile names itself as its replacement.
  features/accounts/__init__.py:10
  Name the replacement in use=.""",
    ),
    "a replacement of another kind": (
        (TEAM, CLASS, f'{DEPRECATED}, deprecated=Deprecated(since="2026-01-01", use=accounts),'),
        """\
Invalid declaration
  Deprecated: use: <Source accounts> is not a feature, group or feature set; name one, such as 'user_profile.income'
  features/accounts/__init__.py:10""",
    ),
    "a text for a deprecation": (
        (TEAM, 'sql="annual_income"', 'sql="annual_income", deprecated="2026-01-01"'),
        """\
Invalid declaration
  Feature: deprecated: '2026-01-01' is not a Deprecated
  features/accounts/__init__.py:13""",
    ),
    "a text for protection": (
        (TEAM, 'sql="annual_income"', 'sql="annual_income", protect="yes"'),
        """\
Invalid declaration
  Feature: protect: 'yes' is not True or False
  features/accounts/__init__.py:13""",
    ),
    "an access that there is not": (
        (TEAM, CLASS, f'{CLASS} access="secret",'),
        """\
Invalid declaration
  FeatureGroup 'user_profile': access: 'secret' is not 'public' or 'private'
  features/accounts/__init__.py:8""",
    ),
    "an empty set": (
        (USERS, "loan_default =", 'FeatureSet("empty", version=1, features=[])\nloan_default ='),
        """\
Invalid declaration
  FeatureSet 'empty': features: the set is empty; list at least one feature
  features/lending/__init__.py:14""",
    ),
    "a set version listed twice": (
        (USERS, "evolve(version=2", "evolve(version=1"),
        """\
Name used twice
  Two set versions are named credit_risk@1; the other one is at features/lending/__init__.py:12.
  features/lending/__init__.py:13
  Give this one the next version: .evolve(version=...).""",
    ),
    "two features of one column": (
        (
            USERS,
            "loan_default =",
            f'{SET} features=[UserProfile.income, Affordability.monthly.alias("income")])\nloan =',
        ),
        """\
Column used twice
  other@1: user_profile.income and affordability.monthly would both be the column income.
  features/lending/__init__.py:14
  Rename one: .alias("affordability_monthly").""",
    ),
    "a feature in the place of a key": (
        (USERS, "loan_default =", f'{SET} features=[UserProfile.age.alias("user_id")])\nloan ='),
        """\
Column used twice
  other@1: user_profile.age would be the column user_id, which is a key.
  features/lending/__init__.py:14
  Rename one: .alias("user_profile_age").""",
    ),
    "an unknown feature in a set": (
        (USERS, "loan_default =", f'{SET} features=["user_profile.incom"])\nloan ='),
        """\
Unknown feature
  set other@1 uses "user_profile.incom", which no group declares.
  features/lending/__init__.py:14
  Did you mean "user_profile.income"?""",
    ),
    "two entities with unlike keys of one name": (
        (TEAM, "\n\nclass UserProfile", '\nother = Entity("other", keys={"user_id": str})\n\nclass UserProfile'),
        """\
Key with two types
  user.user_id is BIGINT, but other.user_id is VARCHAR; a spine cannot have both.
  features/accounts/__init__.py:4
  Give both the same type, or rename one.""",
    ),
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_a_wrong_declaration_is_refused(name: str, bank: Workspace, edit: Edit) -> None:
    """`plan` tells the one mistake whole, and no other."""
    (file, old, new), said = DECLARATIONS[name]
    edit(file, old, new)

    assert refused(bank, "plan") == said


def test_mistakes_of_all_stages_are_shown_together(bank: Workspace, edit: Edit) -> None:
    """Import errors, mistakes in one declaration and mistakes across declarations are reported together, by file and line."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income +"')
    edit(USERS, "evolve(version=2", "evolve(version=1")
    bank.write({"features/risk.py": "import no_such_module\n"})

    said = refused(bank, "plan")

    assert [line.strip() for line in said.splitlines() if line.startswith("  features/")] == [
        "features/accounts/__init__.py:13", "features/lending/__init__.py:13", "features/risk.py:1",
    ]  # fmt: skip
    assert said.endswith("\n\n3 problems found.")


def test_an_unknown_option_of_a_command_exits_with_1(bank: Workspace) -> None:
    """2 means that changes are pending, so usage errors have another code."""
    assert refused(bank, "plan", "--chek").endswith(
        "No such option '--chek'. (Did you mean one of: '--check', '--help'?)"
    )


# Settings

SETTINGS = {
    "an unknown setting": (
        '[project]\nname = "bank"\nowner = "me"\n',
        "Unknown setting\n  featdsl has no setting project.owner.\n  featproject.toml:3\n  Known: features, name.",
    ),
    "an unknown table": (
        '[project]\nname = "bank"\n\n[stor]\npath = "x"\n',
        'Unknown setting\n  featdsl has no setting stor.\n  featproject.toml:4\n  Did you mean "store"?',
    ),
    "a number for a path": (
        '[project]\nname = "bank"\n[store]\npath = 5\n',
        "Invalid setting\n  store.path: 5 is not a string.\n  featproject.toml:4",
    ),
    "a text for a number": (
        '[project]\nname = "bank"\n[engine]\nthreads = "two"\n',
        "Invalid setting\n  engine.threads: 'two' is not a whole number.\n  featproject.toml:4",
    ),
    "more threads than a machine has": (
        '[project]\nname = "bank"\n[engine]\nthreads = 100000\n',
        "Invalid setting\n  engine.threads: 100000 is not at most 1024.\n  featproject.toml:4",
    ),
    "memory without a number": (
        '[project]\nname = "bank"\n[engine]\nmemory_limit = "lots"\n',
        "Invalid setting\n  engine.memory_limit = 'lots': write a number and a unit, such as '4GB' or '512MiB'."
        "\n  featproject.toml:4",
    ),
    "no memory": (
        '[project]\nname = "bank"\n[engine]\nmemory_limit = "0 GB"\n',
        "Invalid setting\n  engine.memory_limit = '0 GB': write a number and a unit, such as '4GB' or '512MiB'."
        "\n  featproject.toml:4",
    ),
    "an S3 with its scheme": (
        '[project]\nname = "bank"\n[engine.s3]\nendpoint = "http://127.0.0.1:9000"\n',
        "Invalid setting\n  engine.s3.endpoint = 'http://127.0.0.1:9000': write the host and the port only, such as"
        " 127.0.0.1:9000; use_ssl = false means http.\n  featproject.toml:4",
    ),
    "a secret in the settings": (
        '[project]\nname = "bank"\n[engine.s3]\nsecret = "abc"\n',
        "Unknown setting\n  featdsl has no setting engine.s3.secret.\n  featproject.toml:4\n"
        "  Known: endpoint, region, url_style, use_ssl.",
    ),
    "a length of time that is none": (
        '[project]\nname = "bank"\n[store]\nlock_timeout = "soon"\n',
        "Invalid setting\n  store.lock_timeout: 'soon' is not a duration, such as '30 days' or '1 hour'."
        "\n  featproject.toml:4",
    ),
    "a name that is none": (
        '[project]\nname = "My Bank"\n',
        "Invalid setting\n  project.name: 'My Bank' is not a name: use lower-case letters, digits and"
        " underscores, such as 'my_bank'.\n  featproject.toml:2",
    ),
    "broken TOML": (
        '[project]\nname = "bank"\n[store\n',
        "Settings cannot be read\n"
        "  It is not valid TOML: Expected ']' at the end of a table declaration (at line 3, column 7).\n"
        "  featproject.toml:3",
    ),
    "no name": (
        "[project]\n",
        "Missing setting\n  project.name is required.\n  featproject.toml:1\n"
        '  Add to the table [project]: name = "my_project".',
    ),
    "nothing": (
        "",
        "Missing setting\n  project is required.\n  featproject.toml:1\n"
        '  Add to the table [project]: name = "my_project".',
    ),
    "a folder that is none": (
        '[project]\nname = "bank"\n\n[teams]\nrisk = "features/lendin"\n',
        'Unknown folder\n  Team risk owns the folder "features/lendin", which does not exist in this project.\n'
        '  featproject.toml:5\n  Did you mean "features/lending"?',
    ),
    "a policy that there is not": (
        '[project]\nname = "bank"\n[policy]\napprovals = "everyone"\n',
        "Invalid setting\n  policy.approvals: 'everyone' is not 'none' or 'affected-teams'.\n"
        "  featproject.toml:4",
    ),
    "an account that is none": (
        '[project]\nname = "bank"\n[teams]\nrisk = "features/lending"\n[codeowners]\nrisk = "risk team"\n',
        "Invalid setting\n  codeowners.risk.0: "
        "'risk team' is not an account; write @name, @organisation/team or an e-mail address.\n  featproject.toml:6",
    ),
    "an account of a team that is not there": (
        '[project]\nname = "bank"\n[teams]\nrisk = "features/lending"\n[codeowners]\nrisks = "@risk"\n',
        'Unknown team\n  [codeowners] names the team "risks", which is not in [teams].\n  featproject.toml:6\n'
        '  Did you mean "risk"?',
    ),
    "several": (
        "[project]\nname = 1\n[store]\npath = 2\n",
        "Invalid setting\n  project.name: 1 is not a string.\n  featproject.toml:2\n\n"
        "Invalid setting\n  store.path: 2 is not a string.\n  featproject.toml:4\n\n"
        "2 problems found.",
    ),
}  # fmt: skip


def test_too_little_memory_to_open_a_store_is_no_broken_store(applied: Workspace) -> None:
    """The message must not suggest to move it away."""
    applied.write({"featproject.toml": '[project]\nname = "bank"\n[engine]\nmemory_limit = "100KB"\n'})
    done = applied.run("plan")
    assert done.returncode == 1
    assert done.stderr.startswith("Out of memory\n")
    assert done.stderr.endswith(
        "does not open within the memory limit.\n  Raise memory_limit in [engine] of featproject.toml.\n"
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_a_wrong_setting_is_refused(name: str, bank: Workspace) -> None:
    """featproject.toml is checked whole, with lines."""
    text, said = SETTINGS[name]
    bank.write({TOML: text})

    assert refused(bank, "plan") == said


# Data


def test_duplicate_rows_are_named(bank: Workspace) -> None:
    """Two rows of one entity and time cannot both be its value."""
    twice = f"{ACCOUNTS} UNION ALL SELECT 3, TIMESTAMP '2026-01-04', DATE '1990-01-01', 1.0"
    bank.parquet("data/accounts.parquet", twice)

    assert refused(bank, "apply", "--yes") == (
        "Check failed\n"
        "  user_profile: 1 row breaks the rule: one row for each user_id and event_timestamp\n"
        "    user_id = 3, event_timestamp = 2026-01-04 00:00:00, rows = 2\n"
        "  features/accounts/__init__.py:8\n"
        "  Nothing was published. Remove the duplicates in a Source(sql=...), or say which row wins:"
        " Source(tie_break=...)."
    )


def test_rows_that_break_a_check_are_named(bank: Workspace, edit: Edit) -> None:
    """A failed check shows some rows and counts the others."""
    edit(TEAM, "BETWEEN 0 AND 120", "< 33")

    said = refused(bank, "apply", "--yes").splitlines()

    assert said[:3] == [
        "Check failed",
        "  user_profile.age: 20 rows break the rule: age < 33",
        "    user_id = 0, event_timestamp = 2026-01-01 00:00:00, age = 36",
    ]
    assert said[-3:] == [
        "    and 15 more",
        "  features/accounts/__init__.py:11",
        "  Nothing was published. Correct the data or the feature's SQL, or relax its expect=.",
    ]


def test_a_failed_check_leaves_what_was_published(bank: Workspace, edit: Edit) -> None:
    """Readers keep the last good state."""
    bank.apply()
    edit(TEAM, "BETWEEN 0 AND 120", "< 33")
    files = sorted((bank.root / ".featdsl" / "data").iterdir())

    assert bank.run("apply", "--yes").returncode == 1  # which is kept in the history of checks

    assert bank.published("SELECT count(*) FROM prod.user_profile") == [(20,)]
    assert sorted((bank.root / ".featdsl" / "data").iterdir()) == files


def test_a_value_that_cannot_be_computed_is_told(bank: Workspace, edit: Edit) -> None:
    """An error that only real rows reveal stops the apply."""
    edit(TEAM, 'Feature(float, sql="annual_income"', "Feature(int, sql=\"CAST('x' || user_id AS BIGINT)\"")

    said = refused(bank, "apply", "--yes").splitlines()

    assert said[0] == "Data cannot be computed"
    assert said[1].startswith("  group user_profile: Conversion Error: Could not convert string 'x")
    assert said[-2:] == [
        "  features/accounts/__init__.py:8",
        "  Nothing was published. Fix the data or the SQL, then apply again.",
    ]


def test_a_file_that_is_no_parquet_is_told(bank: Workspace) -> None:
    """The source and its line are named."""
    bank.write({"data/accounts.parquet": "user_id,income\n1,2\n"})

    assert refused(bank, "plan") == (
        "Source cannot be read\n"
        "  source accounts: No magic bytes found at end of file '/data/accounts.parquet'\n"
        "  features/accounts/__init__.py:5\n"
        "  Fix the data, or say how to read them: format=, options=, table=."
    )


# Spines


@pytest.fixture
def applied(bank: Workspace) -> Workspace:
    """The small project, applied."""
    bank.apply()
    return bank


SPINE = {"user_id": [1], "ts": [pd.Timestamp("2026-01-05")], "note": ["x"]}
SPINES: dict[str, tuple[dict[str, list[Any]], str | None, str]] = {
    "no key column": (
        {"uid": [1], "ts": SPINE["ts"]}, "ts",
        "Missing column\n  The spine has no column 'user_id', a key of the requested features.\n"
        '  Did you mean "uid"?',
    ),
    "no timestamp column": (
        SPINE, "tss",
        "Missing column\n  The spine has no column 'tss', its timestamp=.\n  Did you mean \"ts\"?",
    ),
    "no timestamp named": (
        SPINE, None,
        "Missing timestamp\n"
        "  The features change over time, so each row of the spine needs a time.\n"
        '  Name the column of times: timestamp="ts".',
    ),
    "a text for a timestamp": (
        SPINE, "note",
        "Wrong type of timestamp\n  The spine's timestamp 'note' is VARCHAR, not a DATE or TIMESTAMP.\n"
        "  Parse it to timestamps first.",
    ),
    "a text for a key": (
        {**SPINE, "user_id": ["one"]}, "ts",
        "Wrong type of key\n  The spine's column 'user_id' has the value 'one' in row 1; the key is BIGINT.\n"
        "  Make each value a BIGINT, or NULL.",
    ),
    "a column of a feature's name": (
        {**SPINE, "age": [1]}, "ts",
        "Column used twice\n  The spine already has a column 'age', which is also the name of a feature.\n"
        '  Leave it out of the spine, or give the feature another name: .alias("age_feature").',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPINES)
def test_a_spine_that_does_not_fit_is_refused(name: str, applied: Workspace) -> None:
    """Model code gets a RequestError with the reason and the fix."""
    columns, timestamp, said = SPINES[name]

    with pytest.raises(RequestError) as raised:
        applied.store.training_set("credit_risk@1", pd.DataFrame(columns), timestamp=timestamp)

    assert str(raised.value) == said


def test_a_spine_that_is_no_frame_is_refused(applied: Workspace) -> None:
    """The message lists the supported kinds."""
    with pytest.raises(RequestError) as raised:
        applied.store.training_set("credit_risk@1", 5, timestamp="ts")

    assert str(raised.value) == (
        "Not a frame\n  int is not a frame.\n"
        "  Give a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation, or a list of dicts."
    )


def test_an_unknown_feature_names_the_nearest(applied: Workspace) -> None:
    """Model code gets a FeatureNotFoundError, which is a LookupError."""
    with pytest.raises(FeatureNotFoundError) as raised:
        applied.store.get_features(["incom"], user_id=1)

    assert isinstance(raised.value, LookupError)
    assert str(raised.value) == (
        'Unknown feature\n  No feature "incom" has been applied.\n  Did you mean "user_profile.income"?'
    )


# Stores


def garbage(store: Path) -> None:
    """Write bytes that are no database."""
    store.write_bytes(b"This is no database. " * 1000)


def foreign(store: Path) -> None:
    """Write a database that featdsl did not make."""
    connection = duckdb.connect(str(store))
    connection.execute("CREATE TABLE mine (i INTEGER)")
    connection.close()


def newer(store: Path) -> None:
    """Write a store with a newer format number."""
    connection = duckdb.connect(str(store))
    connection.execute("CREATE SCHEMA registry")
    connection.execute("CREATE TABLE registry.meta AS SELECT 'format' AS key, '99' AS value")
    connection.close()


STORES: dict[str, tuple[Callable[[Path], None], str]] = {
    "garbage": (
        garbage,
        "Not a store\n"
        "  /.featdsl/store.duckdb is not a readable DuckDB file.\n"
        "  Move it away and apply again, or set another [store] path in featproject.toml.",
    ),
    "an empty file": (
        Path.touch,
        "Not a store\n"
        "  /.featdsl/store.duckdb is not a readable DuckDB file.\n"
        "  Move it away and apply again, or set another [store] path in featproject.toml.",
    ),
    "another database": (
        foreign,
        "Not a store\n  /.featdsl/store.duckdb is a DuckDB file, but not a featdsl store.\n"
        "  Move it away, or set another [store] path.",
    ),
    "a newer format": (
        newer,
        "Store of a newer format\n  /.featdsl/store.duckdb has format 99; this featdsl reads 3.\n"
        "  Install the featdsl version that wrote it, or a newer one.",
    ),
}


@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes")], ids=["plan", "apply"])
@pytest.mark.parametrize("name", STORES)
def test_a_file_that_is_no_store_is_refused(name: str, command: tuple[str, ...], bank: Workspace) -> None:
    """A foreign file at the store's path is not changed."""
    make, said = STORES[name]
    (bank.root / ".featdsl").mkdir()
    make(bank.root / ".featdsl" / "store.duckdb")

    assert refused(bank, *command) == said


@pytest.mark.parametrize("command", ["plan", "apply", "list", "doctor", "gc"])
def test_a_store_that_is_a_file_is_refused(bank: Workspace, command: str) -> None:
    """Every command that opens the store refuses it."""
    bank.write({".featdsl": "mine"})

    assert refused(bank, command) == (
        "Not a folder\n  The store must be a folder, but /.featdsl is a file.\n"
        "  Set another [store] path in featproject.toml."
    )


LOST = (
    "  Restore it from a backup, and leave data/ as it is. Without a backup, move both away: featdsl apply then"
    " recomputes everything, but history, earlier states and pinned old definitions are lost."
)
COPIED = "  Restore the newest intact copy: featdsl doctor --restore"


@pytest.mark.slow
@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes"), ("doctor", "--fix"), ("list",)], ids=" ".join)
@pytest.mark.parametrize("how", ["garbage", "cut", "gone"])
@pytest.mark.parametrize("copies", [True, False])
def test_a_store_whose_catalogue_is_lost_says_what_is_lost(
    applied: Workspace, edit: Edit, how: str, command: tuple[str, ...], *, copies: bool
) -> None:
    """Nothing is deleted: restoring a backup of the catalogue restores everything."""
    edit(TEAM, "annual_income", "annual_income * 2")
    applied.apply()
    folder = applied.root / ".featdsl"
    store = folder / "store.duckdb"
    if not copies:
        shutil.rmtree(folder / "history")
    files, backup = sorted((folder / "data").iterdir()), store.read_bytes()
    if store.exists():
        store.chmod(0o644)
    if how == "gone":
        store.unlink()
    else:
        store.write_bytes(b"no store" if how == "garbage" else backup[:20_000])

    said = refused(applied, *command)

    summary, what, fix = said.split("\n")
    assert fix == (COPIED if copies else LOST)
    if how == "gone":
        assert summary == "Store is incomplete"
        assert what == "  /.featdsl/store.duckdb is missing, but /.featdsl has files of states up to 2."
    else:
        assert (summary, what) == ("Store is damaged", "  /.featdsl/store.duckdb was altered after it was written.")
    store.write_bytes(backup)
    assert sorted((folder / "data").iterdir()) == files
    assert applied.run("doctor").stdout == "No problems found.\n"
    assert applied.store.get_features(["income"], user_id=3) == {"income": 38000.0}


def test_a_store_that_someone_has_open_is_told_so(applied: Workspace) -> None:
    """No message suggests to move away an intact store."""
    code = f"""
import duckdb, sys
connection = duckdb.connect({str(applied.root / ".featdsl" / "store.duckdb")!r})
print("open", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        said = refused(applied, "plan")

    assert said == (
        "Store cannot be opened\n  Another program has /.featdsl/store.duckdb open for writing.\n"
        "  Close it there. To read it, open it with: duckdb -readonly, or: featdsl sql"
    )


WITHOUT_OVERRIDE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "featdsl", *sys.argv[1:]])
"""
"""Drops CAP_DAC_OVERRIDE for good: file permissions then bind root too, as which the tests may run."""


def run_with_permissions(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run featdsl as a user whom file permissions bind."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_OVERRIDE, *arguments],
        cwd=workspace.root,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )


def test_a_folder_that_cannot_be_written_is_told(bank: Workspace) -> None:
    """The store's folder is missing and cannot be made."""
    bank.root.chmod(0o555)
    try:
        done = run_with_permissions(bank, "apply", "--yes")
    finally:
        bank.root.chmod(0o755)

    assert done.returncode == 1
    assert done.stderr.replace(str(bank.root), "").strip() == (
        "Store cannot be written\n  /.featdsl cannot be written: Permission denied.\n"
        "  Give this user write access, or set another [store] path in featproject.toml."
    )
    assert not (bank.root / ".featdsl").exists()


def test_a_store_that_cannot_be_written_is_still_read(applied: Workspace, edit: Edit) -> None:
    """Reading needs no write access; writing fails with a message."""
    edit(TEAM, "annual_income", "annual_income * 2")
    store = applied.root / ".featdsl" / "store.duckdb"
    before = store.read_bytes()
    (applied.root / ".featdsl").chmod(0o555)
    (applied.root / ".featdsl" / "lock").chmod(0o444)
    try:
        planned = run_with_permissions(applied, "plan", "--check")
        done = run_with_permissions(applied, "apply", "--yes")
    finally:
        (applied.root / ".featdsl").chmod(0o755)

    assert (planned.returncode, planned.stderr) == (2, "")
    assert done.returncode == 1
    assert done.stderr.replace(str(applied.root), "").strip() == (
        "Store cannot be written\n  /.featdsl cannot be written: Permission denied.\n"
        "  Give this user write access, or set another [store] path in featproject.toml."
        "\n  To share it with a group: chgrp -R GROUP /.featdsl && chmod -R g+rwXs /.featdsl"
    )
    assert store.read_bytes() == before


HOLD = """
import sys
from pathlib import Path
from featdsl.plan import planfile
from featdsl.stores.embedded.file_lock import exclusive
with exclusive(Path(".featdsl/lock"), timeout=1, waiting=print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_locked_store_is_waited_for_and_its_holder_named(bank: Workspace) -> None:
    """While another process writes, print that, wait for lock_timeout, then name the process and exit."""
    bank.write({TOML: '[project]\nname = "bank"\n\n[store]\nlock_timeout = "1 second"\n'})
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=bank.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = refused(bank, "apply", "--yes").splitlines()
        holder.communicate("")

    assert said[0].startswith("Waiting up to 1 second for ")
    assert said[1] == "Store is locked"
    assert said[2].endswith(" is writing to /.featdsl.")
    assert f"(process {holder.pid}, since " in said[0]
    assert f"(process {holder.pid}, since " in said[2]
    assert said[3] == "  Try again later, or raise lock_timeout in [store]."


def test_a_lock_of_a_process_that_died_holds_nobody_up(bank: Workspace) -> None:
    """The operating system releases the lock, whatever the lock file contains."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=bank.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()

    assert bank.run("apply", "--yes").returncode == 0


# Confirmation and plan files


def test_apply_asks_for_a_yes_where_nobody_can_answer(bank: Workspace) -> None:
    """Without a terminal, apply prints the plan and changes nothing."""
    assert refused(bank, "apply") == (
        "Not confirmed\n"
        "  Standard input is no terminal, so there is nobody to confirm.\n"
        "  Save the plan for review (featdsl plan --out plan.json), then: featdsl apply plan.json\n"
        "  Or apply without asking: featdsl apply --yes"
    )


FIX = "  Make it again: featdsl plan --out plan.json"
PLANS = {
    "an empty file": (
        "", f"Not a plan\n  plan.json: the whole file: it is not JSON.\n{FIX}",
    ),
    "a list": ("[]", f"Not a plan\n  plan.json: the whole file: [] is not an object.\n{FIX}"),
    "half of an object": ('{"format": 3}', f"Not a plan\n  plan.json: project: it is missing.\n{FIX}"),
    "a newer format": (
        '{"format": 99}',
        "Plan of a newer format\n  plan.json has format 99; this featdsl reads 3.\n"
        "  Use the featdsl that wrote it.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_a_file_that_is_no_plan_is_refused(name: str, bank: Workspace) -> None:
    """Apply checks the whole plan file before it changes anything."""
    text, said = PLANS[name]
    bank.write({"plan.json": text})

    assert refused(bank, "apply", "plan.json") == said


def test_a_missing_plan_file_is_refused(bank: Workspace) -> None:
    """The message has the command that makes one."""
    assert refused(bank, "apply", "plan.json") == (
        "Plan cannot be read\n  plan.json: No such file or directory.\n  Make a plan: featdsl plan --out plan.json"
    )


@pytest.fixture
def planned(bank: Workspace) -> Workspace:
    """The small project, with a saved plan."""
    assert bank.run("plan", "--out", "plan.json").returncode == 0
    return bank


def test_a_damaged_plan_is_refused(planned: Workspace) -> None:
    """A truncated plan file is refused."""
    path = planned.root / "plan.json"
    path.write_text(path.read_text(encoding="utf-8")[:-100], encoding="utf-8")

    said = refused(planned, "apply", "plan.json")

    assert said.startswith("Not a plan\n  plan.json: the whole file: it is not JSON.")
    assert said.endswith(FIX)


CHANGED = (
    f"Plan was changed\n  plan.json: it was changed after it was made, or is not whole: its digest does not fit.\n{FIX}"
)
EDITS: dict[str, Callable[[Any], object]] = {
    "a query": lambda plan: plan["steps"][1].update(sql="SELECT 1"),
    "a guard lifted": lambda plan: plan.update(blocks=[]),
    "the policy": lambda plan: plan.update(policy="affected-teams"),
    "a step left out": lambda plan: plan["steps"].pop(),
    "two steps in another order": lambda plan: plan["steps"].reverse(),
    "a number": lambda plan: plan["steps"][0]["source"]["origin"].update(line=999),
    "true for false": lambda plan: plan["steps"][1].update(timed=not plan["steps"][1]["timed"]),
    "something added": lambda plan: plan.update(note="reviewed"),
    "no digest": lambda plan: plan.pop("digest"),
    "a digest of something else": lambda plan: plan.update(digest="0" * 64),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_plan_that_was_edited_is_refused(name: str, planned: Workspace) -> None:
    """Apply refuses a plan in which any value was edited after the review."""
    path = planned.root / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    before = json.dumps(plan)
    EDITS[name](plan)
    if json.dumps(plan) == before:  # there was nothing to lift
        plan["blocks"] = [
            {"code": "used", "kind": "set", "address": "a@1", "owner": "risk", "what": "It is.", "fix": "Wait."}
        ]
    path.write_text(json.dumps(plan), encoding="utf-8")

    assert refused(planned, "apply", "plan.json") == CHANGED


def test_a_plan_whose_name_stands_twice_is_refused(planned: Workspace) -> None:
    """JSON readers disagree on which duplicate key counts, so the digest must cover the values that featdsl reads."""
    path = planned.root / "plan.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.rstrip().removesuffix("}") + ', "policy": "affected-teams"}', encoding="utf-8")

    assert refused(planned, "apply", "plan.json") == CHANGED


def test_a_plan_that_a_formatter_touched_is_applied(planned: Workspace) -> None:
    """The order of keys, white space, escapes and the spelling of whole numbers do not matter."""
    path = planned.root / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"), parse_int=float)
    plan["format"] = 3
    path.write_text(json.dumps(plan, sort_keys=True, ensure_ascii=True), encoding="utf-8")

    assert planned.run("apply", "plan.json").returncode == 0


def test_a_plan_of_format_2_is_applied(planned: Workspace) -> None:
    """Format 2 has `mend` instead of `fix`, and steps without a dialect."""
    path = planned.root / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan["format"] = 2
    checks = [step for step in plan["steps"] if step["step"] == "check_rows"]
    for step in checks:
        step["mend"] = step.pop("fix")
    for step in plan["steps"]:
        step.pop("dialect", None)
    plan["digest"] = planfile._digest(plan)
    path.write_text(json.dumps(plan), encoding="utf-8")

    assert checks
    assert planned.run("apply", "plan.json").returncode == 0


def test_a_plan_of_an_older_format_is_refused(planned: Workspace) -> None:
    """The format error comes before errors about missing fields."""
    planned.write({"plan.json": '{"format": 1, "project": "bank"}'})

    assert refused(planned, "apply", "plan.json") == (
        "Plan of an older format\n"
        "  plan.json was made by an older featdsl: it has format 1, and this one reads 2 and 3.\n"
        f"{FIX}"
    )


def test_a_plan_with_an_unknown_step_is_refused(planned: Workspace) -> None:
    """Apply refuses a step of an unknown kind."""
    path = planned.root / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8"))
    plan["steps"][0]["step"] = "drop_everything"
    path.write_text(json.dumps(plan), encoding="utf-8")

    said = refused(planned, "apply", "plan.json")

    assert said.startswith("Not a plan\n  plan.json: steps.0: the step 'drop_everything' is not known.")
    assert said.endswith(FIX)


def test_a_plan_of_another_project_is_refused(planned: Workspace, edit: Edit) -> None:
    """Each project applies its own plans."""
    edit(TOML, '"bank"', '"broker"')

    assert refused(planned, "apply", "plan.json") == (
        "Plan of another project\n  plan.json is a plan of the project bank; this project is broker.\n"
        "  Make a plan of this project: featdsl plan --out plan.json"
    )


def test_a_stale_plan_is_refused_with_4(planned: Workspace) -> None:
    """Someone applied since the plan was made."""
    planned.apply()

    assert refused(planned, "apply", "plan.json", exit_code=4) == (
        "Stale plan\n"
        "  The plan was made for state 0 of the store, which is now at 1: there was an apply since.\n"
        "  Plan again and review what has changed: featdsl plan --out plan.json"
    )
