"""Rules for data: how much they matter, what is checked of whole groups, and what is kept of each check."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result
from pydantic import TypeAdapter

from featdsl import DeclarationError, Expect, MaxAge, Rows, Unique
from featdsl.cli.main import main
from featdsl.definitions.history import CheckResult
from featdsl.definitions.quality_rules import Expectation, Freshness, Uniqueness, Volume
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import Workspace

Edit = Callable[[str, str, str], None]
TEAM = "features/accounts/__init__.py"
HEAD = "class UserProfile(FeatureGroup, entity=user, source=accounts):"
AGE = 'expect="age BETWEEN 0 AND 120"'


@pytest.fixture
def ruled(bank: Workspace, edit: Edit) -> Callable[..., Workspace]:
    """Give the group of profiles options, and `age` what is expected of it."""

    def write(options: str = "", expect: str = AGE) -> Workspace:
        edit(TEAM, "from featdsl import Entity", "from featdsl import Expect, MaxAge, Rows, Unique, Entity")
        edit(TEAM, HEAD, HEAD.replace("accounts)", f"accounts, {options})"))
        edit(TEAM, AGE, expect)
        return bank

    return write


def run(workspace: Workspace, *arguments: str) -> Result:
    """Run featdsl within this process, which is quicker."""
    return CliRunner().invoke(main, ["-C", str(workspace.root), *arguments])


def last(workspace: Workspace, *arguments: str) -> dict[str, object]:
    """Run featdsl, and return its last line of JSON."""
    found: dict[str, object] = json.loads(run(workspace, *arguments, "--format", "json").stdout.splitlines()[-1])
    return found


def results(workspace: Workspace, *arguments: str) -> list[tuple[object, ...]]:
    """Return what is kept of checks, the newest first: during what, of what, the rule, the verdict, the state."""
    found = json.loads(run(workspace, "check", "--history", *arguments, "--format", "json").stdout)
    return [(each["during"], each["address"], each["rule"], each["verdict"], each["serial"]) for each in found]


# What is declared


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"expect": "v > 0"}, (Expectation(condition="v > 0"),)),
        ({"expect": ["v > 0", Expect("v < 9", severity="warn", name="small")]},
         (Expectation(condition="v > 0"), Expectation(condition="v < 9", severity="warn", name="small"))),
        ({"unique": "email"}, (Uniqueness(columns=("email",)),)),
        ({"unique": ["a", "b"]}, (Uniqueness(columns=("a", "b")),)),
        ({"unique": Unique("a", "b", severity="warn")}, (Uniqueness(columns=("a", "b"), severity="warn"),)),
        ({"unique": [Unique("a"), Unique("b", name="one_b")]}, (Uniqueness(columns=("a",)), Uniqueness(columns=("b",), name="one_b"))),
        ({"max_age": "2 days"}, (Freshness(seconds=172_800, severity="warn"),)),
        ({"max_age": MaxAge("1 hour", severity="error")}, (Freshness(seconds=3600, severity="error"),)),
        ({"rows": (1, None)}, (Volume(least=1, most=None),)),
        ({"rows": Rows(max=9, severity="warn")}, (Volume(least=None, most=9, severity="warn"),)),
    ],
)  # fmt: skip
def test_a_plain_value_is_short_for_an_object(written: dict[str, object], meant: tuple[object, ...]) -> None:
    """Errors stop an apply unless said otherwise; only age warns."""
    from featdsl import Feature
    from featdsl.declarations.feature_group import GroupDeclaration

    if "expect" in written:
        assert Feature(int, **written).expect == meant  # type: ignore[arg-type]
        return
    group = GroupDeclaration({"name": "g", "entity": None, "shared_by": "x", "features": {}, **written})
    assert (*group.unique, *group.max_age, *group.rows) == meant


def test_a_set_of_rules_has_an_order() -> None:
    """The same on each run, however its objects lie in memory."""
    from featdsl import Feature

    texts = [f"v < {number}" for number in range(10, 90)]
    assert [each.condition for each in Feature(int, expect={*texts}).expect] == texts
    objects: Any = {Expect(text) for text in reversed(texts)}
    assert [each.condition for each in Feature(int, expect=objects).expect] == texts


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Expect(" "), "Expect: condition: it is empty; write an SQL condition, such as 'age >= 0'"),
        (lambda: Expect("a", severity="fatal"), "Expect: severity: 'fatal' is not 'warn' or 'error'"),
        (lambda: Expect("a", name="No Name"), "Expect 'No Name': name: 'No Name' is not a name"),
        (Unique, "Unique: columns: name the columns, such as Unique('email')"),
        (lambda: Unique("a", "a"), "Unique: columns: 'a' is listed twice"),
        (lambda: MaxAge("1 month"), "MaxAge: age: '1 month' has no fixed length; write it in days"),
        (lambda: MaxAge("soon"), "MaxAge: age: 'soon' is not a duration"),
        (Rows, "Rows: give a minimum, a maximum, or both: (1, None)"),
        (lambda: Rows(3, 2), "Rows: the minimum 3 is greater than the maximum 2"),
        (lambda: Rows(-1), "Rows: min: -1 is not at least 0"),
        (lambda: Rows(min=True), "Rows: min: True is not a whole number"),
    ],
)
def test_what_does_not_fit_is_told_where_it_is_written(make: Callable[[], object], said: str) -> None:
    """With its own file and line."""
    with pytest.raises(DeclarationError) as told:
        make()
    (problem,) = told.value.problems
    assert problem.what.startswith(said)
    assert problem.where
    assert problem.where.file == __file__


@pytest.mark.parametrize(
    ("options", "expect", "said"),
    [
        ("unique=5", AGE, "Unique: columns.0: 5 is not a string"),
        ("max_age=5", AGE, "MaxAge: age: 5 is not a duration, such as '30 days' or timedelta(days=30)"),
        ("max_age='2 dys'", AGE, "MaxAge: age: '2 dys' is not a duration, such as '30 days' or '1 hour'"),
        ("rows=5", AGE, "FeatureGroup 'user_profile': rows: 5 is not a pair (minimum, maximum) of row counts; write (1, None) or Rows(min=1)"),
        ("rows=(9, 1)", AGE, "Rows: the minimum 9 is greater than the maximum 1"),
        ("unique='agee'", AGE, 'group user_profile has the check unique agee, but no column \'agee\'.\n  features/accounts/__init__.py:8\n  Did you mean "age"?'),
        ("unique=['age', 'user_id']", AGE, "group user_profile has the check unique age, user_id, which always passes: it contains the whole key of user."),
        ("unique=[Unique('age', name='x'), Unique('income', name='x')]", AGE, "unique: two rules have the name 'x'"),
        ("tags='a'", "expect=5", "Expect: condition: 5 is not a string"),
        ("tags='a'", "expect=Expect('age +')", "feature user_profile.age: "),
        ("tags='a'", "expect=Expect('agee > 0', severity='warn')", "expect of user_profile.age reads the column 'agee', which does not exist."),
    ],
)  # fmt: skip
def test_mistakes_are_told_by_plan(ruled: Callable[..., Workspace], options: str, expect: str, said: str) -> None:
    """One problem, with file and line, and exit code 1."""
    done = run(ruled(options, expect), "plan")
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("features/accounts/__init__.py:") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("max_age='1 day'", "group affordability has max_age=, but it is derived from features, so the age of its rows is unknown."),
    ],
)  # fmt: skip
def test_a_derived_group_has_no_age_of_its_own(bank: Workspace, edit: Edit, wrong: str, said: str) -> None:
    """Its inputs have."""
    edit("features/lending/__init__.py", "inputs=[UserProfile.income]", f"inputs=[UserProfile.income], {wrong}")
    assert said in run(bank, "plan").stderr


# What a plan and an apply make of it


def test_a_warning_stops_nothing_and_is_told(ruled: Callable[..., Workspace]) -> None:
    """By apply on both outputs, in the history of applies, and in that of checks."""
    bank = ruled(expect="expect=[Expect('age < 34', severity='warn', name='young'), 'age > 0']")
    done = run(bank, "apply", "--yes")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "Warning: user_profile.age: 15 rows break the rule: young: age < 34",
        *[f"  user_id = {u}, event_timestamp = 2026-01-{d:02} 00:00:00, age = {a}" for u, d, a in FIRST_OLD],
        "  and 10 more",
    ]
    assert re.search(r"^Built 2 tables, 40 rows, under 1 MB, .* s; 1 warning\.$", done.stdout, re.MULTILINE)
    assert bank.store.get_features(["age"], user_id=0) == {"age": 36}
    (entry,) = json.loads(run(bank, "history", "--format", "json").stdout)
    assert entry["summary"] == "10 created, 1 warning"
    assert sorted(results(bank)) == [
        ("apply", "user_profile.age", "age < 34", "warning", 1),
        ("apply", "user_profile.age", "age > 0", "ok", 1),
    ]


FIRST_OLD = [(0, d, 36) for d in (1, 5, 9, 13, 17)]
"""The ages of the account holders are 36, 35, 34 and 33."""


def test_a_warning_is_an_event(ruled: Callable[..., Workspace]) -> None:
    """With all that people are told, and counted by the last line."""
    bank = ruled("rows=Rows(max=3, severity='warn', name='few')")
    lines = [json.loads(line) for line in run(bank, "apply", "--yes", "--format", "json").stdout.splitlines()]
    (warned,) = [each for each in lines if each["event"] == "warned"]
    assert warned == {
        "event": "warned", "at": warned["at"], "address": "user_profile", "kind": "rows", "rule": "at most 3 rows",
        "name": "few", "broken": 1, "rows": 20, "examples": [{"rows": 20}],
    }  # fmt: skip
    assert lines[-1]["warnings"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("unique='age'", None),
        ("unique='income'", None),
        ("unique='flag'", "user_profile: 1 value breaks the rule: unique flag\n    flag = True, entities = 3\n"),
        ("unique=['flag', 'age']", None),
        ("unique=['flag', 'event_timestamp']", None),
        ("rows=(20, 20)", None),
        ("rows=(21, None)", "user_profile breaks the rule: at least 21 rows\n    rows = 20\n"),
        ("rows=(None, 19)", "user_profile breaks the rule: at most 19 rows\n    rows = 20\n"),
        ("max_age=MaxAge('36500 days', severity='error')", None),
        ("max_age=MaxAge('1 hour', severity='error')", "user_profile breaks the rule: newest row at most 1 hour old\n    newest = 2026-01-20 00:00:00\n"),
    ],
)  # fmt: skip
def test_rules_of_a_group(ruled: Callable[..., Workspace], edit: Edit, options: str, said: str | None) -> None:
    """Each is kept or broken by the rows as counted by hand: of four users three have the flag, each day has one row."""
    bank = ruled(options)
    edit(TEAM, "    income =", '    flag = Feature(bool, sql="user_id > 0")\n    income =')
    done = run(bank, "apply", "--yes")
    if said is None:
        assert done.exit_code == 0, done.stderr
    else:
        assert (done.exit_code, done.stderr.startswith(f"Check failed\n  {said}")) == (1, True), done.stderr
        assert "Nothing was published" in done.stderr
        assert "features/accounts/__init__.py:8\n" in done.stderr
        assert not (bank.root / ".featdsl" / "store.duckdb").exists()


def test_uniqueness_is_between_entities(workspace: Workspace) -> None:
    """A value that one entity keeps is its own; a NULL is nobody's; the same result as counted in Python."""
    held = [(1, "a"), (1, "a"), (2, None), (3, None), (3, "c"), (4, "c"), (4, "d"), (5, "b"), (1, "b")]
    listed = ", ".join(f"({u}, TIMESTAMP '2026-01-01' + INTERVAL ({n}) DAY, {e!r})" for n, (u, e) in enumerate(held))
    listed = listed.replace("None", "NULL")
    workspace.parquet("mails.parquet", f"SELECT * FROM (VALUES {listed}) t(person, ts, mail)").write({
        "featproject.toml": '[project]\nname = "shop"\n',
        "features/shop.py": """
from featdsl import Entity, Feature, FeatureGroup, Source, Unique

person = Entity("person", keys={"person": int})
mails = Source("mails", path="mails.parquet", timestamp="ts")


class Mails(FeatureGroup, entity=person, source=mails, unique=Unique("mail", severity="warn")):
    mail = Feature(str)
    n = Feature(int, sql="count(mail)", window="30 days")
""",
    })  # fmt: skip
    assert run(workspace, "apply", "--yes").exit_code == 0
    (found,) = json.loads(run(workspace, "check", "--format", "json").stdout)
    owners = {mail: {u for u, e in held if e == mail} for _, mail in held if mail}
    shared = [{"mail": mail, "entities": len(users)} for mail, users in sorted(owners.items()) if len(users) > 1]
    assert (found["broken"], sorted(found["examples"], key=lambda each: str(each["mail"]))) == (len(shared), shared)


def test_age_is_that_of_the_newest_row_by_now(workspace: Workspace) -> None:
    """Times to come do not count; in nanoseconds and of windows it is the same; without rows nothing is fresh."""
    workspace.write({
        "featproject.toml": '[project]\nname = "shop"\n',
        "features/shop.py": """
from featdsl import Entity, Feature, FeatureGroup, Source

k = Entity("k", keys={"k": int})
fine = Source("fine", path="fine.parquet", timestamp="ts")
plain = Source("plain", path="plain.parquet", timestamp="ts")
empty = Source("empty", path="empty.parquet", timestamp="ts")


class Fine(FeatureGroup, entity=k, source=fine, max_age="3 hours"):
    v = Feature(int)


class Plain(FeatureGroup, entity=k, source=plain, max_age="3 hours"):
    n = Feature(int, sql="count(v)", window="30 days")


class Late(FeatureGroup, entity=k, source=plain, max_age="1 hour"):
    v = Feature(int)


class Empty(FeatureGroup, entity=k, source=empty, max_age="1 hour"):
    v = Feature(int)
""",
    })  # fmt: skip
    now = datetime.now(UTC).replace(tzinfo=None)
    times = ", ".join(f"(1, TIMESTAMP '{now + timedelta(hours=hours)}', 1)" for hours in (-50, -2, 48))
    rows = f"SELECT k, ts::{{}} AS ts, v FROM (VALUES {times}) t(k, ts, v)"
    workspace.parquet("fine.parquet", rows.format("TIMESTAMP_NS")).parquet("plain.parquet", rows.format("TIMESTAMP"))
    workspace.parquet("empty.parquet", f"{rows.format('TIMESTAMP')} LIMIT 0")
    assert run(workspace, "apply", "--yes").exit_code == 0
    found = json.loads(run(workspace, "check", "--format", "json").stdout)
    assert {each["address"]: each["broken"] for each in found} == {"fine": 0, "plain": 0, "late": 1, "empty": 1}
    (late,) = [each["examples"][0]["newest"] for each in found if each["address"] == "late"]
    assert late == str(now + timedelta(hours=-2))


def test_adding_a_rule_builds_nothing_and_checks_what_is_stored(
    applied: Workspace, ruled: Callable[..., Workspace]
) -> None:
    """The plan shows it; so does it when a warning becomes an error."""
    ruled("unique='age', rows=(1, 100)", "expect=Expect('age < 34', severity='warn')")
    said = run(applied, "plan").stdout
    assert "Steps: 3 checks to run." in said
    assert "age < 34 (warn): user_profile.age" in said
    assert "unique age: user_profile" in said
    assert run(applied, "apply", "--yes").exit_code == 0
    assert last(applied, "apply", "--yes")["steps"] == 0
    path = applied.root / TEAM
    path.write_text(path.read_text().replace("severity='warn'", "severity='error'"))
    said = run(applied, "plan").stdout
    assert "age < 34 (warn)" in said
    assert "Steps: 1 check to run." in said
    done = run(applied, "apply", "--yes")
    assert (done.exit_code, done.stderr.startswith("Check failed\n  user_profile.age: 15 rows break")) == (1, True)


def test_a_renamed_column_is_still_unique(applied: Workspace, ruled: Callable[..., Workspace], edit: Edit) -> None:
    """The rule goes with the rename: nothing else is planned."""
    ruled("unique='age'")
    assert run(applied, "apply", "--yes").exit_code == 0
    edit(TEAM, "unique='age'", "unique='years'")
    edit(TEAM, "    age = Feature(int,", '    years = Feature(int, renamed_from="age",')
    edit(TEAM, 'expect="age BETWEEN', 'expect="years BETWEEN')
    edit("features/lending/__init__.py", "UserProfile.age", "UserProfile.years")
    said = run(applied, "plan").stdout
    assert "check" not in said, said
    assert run(applied, "apply", "--yes").exit_code == 0
    assert run(applied, "check").stdout.splitlines()[-2:] == [
        "ok      user_profile (accounts): unique years", "2 checks, 0 broken.",
    ]  # fmt: skip


def test_a_rule_that_fails_on_the_data_is_told(applied: Workspace, ruled: Callable[..., Workspace], edit: Edit) -> None:
    """By an apply, which publishes nothing, and by a check of what is stored: in our words, with file and line."""
    rule = "(CASE WHEN age < 34 THEN 'x' ELSE '1' END)::INT > 0"
    ruled(expect=f'expect=Expect("{rule}", severity="warn")')
    said = run(applied, "apply", "--yes")
    first = "Check cannot be computed\n  user_profile.age, the rule " + rule
    assert (said.exit_code, said.stderr.startswith(first), f"{TEAM}:11" in said.stderr) == (1, True, True), said.stderr
    edit(TEAM, "age < 34", "age < 0")
    assert run(applied, "apply", "--yes").exit_code == 0
    stored = next((applied.root / ".featdsl" / "data").glob("*.duckdb"))
    with duckdb.connect(str(stored), read_only=True) as connection:
        (name,) = connection.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'user%'").fetchone()
    applied.forge(stored, f"UPDATE {name} SET age = -7 WHERE user_id = 1")
    said = run(applied, "check")
    assert (said.exit_code, said.stderr.splitlines()[0]) == (1, "Check cannot be computed")


# What a check run makes of it


def test_a_check_run_exits_by_severity(ruled: Callable[..., Workspace]) -> None:
    """0 for warnings, unless they count; what is broken, how much, and examples."""
    bank = ruled("max_age='2 days', rows=(1, None)", "expect=Expect('age < 36', severity='warn', name='young')")
    assert run(bank, "apply", "--yes").exit_code == 0
    done = run(bank, "check")
    assert done.stdout.splitlines() == [
        "warn    user_profile.age (accounts): young: age < 36  5 of 20 rows",
        *[f"          user_id = 0, event_timestamp = 2026-01-{d:02} 00:00:00, age = 36" for d in (1, 5, 9, 13, 17)],
        "warn    user_profile (accounts): newest row at most 2 days old",
        "          newest = 2026-01-20 00:00:00",
        "ok      user_profile (accounts): at least 1 row",
        "3 checks, 0 broken, 2 warnings.",
    ]
    assert (done.exit_code, run(bank, "check", "--strict").exit_code) == (0, 1)


@pytest.mark.parametrize(
    ("name", "checked"),
    [
        ("user_profile.age", ["user_profile.age"]),
        ("age", ["user_profile.age"]),
        ("user_profile", ["user_profile.age", "user_profile"]),
        ("accounts", ["user_profile.age", "user_profile"]),
        ("credit_risk@1", ["user_profile.age", "user_profile"]),
        ("loan_default", ["user_profile.age", "user_profile"]),
        ("lending", ["affordability.monthly"]),
        ("affordability", ["affordability.monthly"]),
    ],
)  # fmt: skip
def test_some_checks_are_selected(ruled: Callable[..., Workspace], edit: Edit, name: str, checked: list[str]) -> None:
    """By feature, group, team, set or model."""
    bank = ruled("rows=(1, None)")
    edit("features/lending/__init__.py", 'sql="income / 12"', 'sql="income / 12", expect="monthly >= 0"')
    assert run(bank, "apply", "--yes").exit_code == 0
    found = json.loads(run(bank, "check", "--select", name, "--no-record", "--format", "json").stdout)
    assert [each["address"] for each in found] == checked


def test_an_unknown_selection_is_refused(applied: Workspace) -> None:
    """With the nearest name."""
    done = run(applied, "check", "--select", "user_profil")
    assert (done.exit_code, 'Did you mean "user_profile"?' in done.stderr) == (1, True)
    done = run(applied, "check", "--select", "user")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (1, "Nothing to check")


def test_a_check_run_is_kept_and_changes_no_state(applied: Workspace) -> None:
    """A plan that was made before still holds; `--no-record` keeps nothing."""
    assert results(applied) == [("apply", "user_profile.age", "age BETWEEN 0 AND 120", "ok", 1)]
    run(applied, "check", "--no-record")
    assert len(results(applied)) == 1
    path = applied.root / TEAM
    path.write_text(path.read_text().replace("Gross income", "Income"))
    run(applied, "plan", "--out", "plan.json")
    run(applied, "check")
    assert results(applied)[0] == ("check", "user_profile.age", "age BETWEEN 0 AND 120", "ok", 1)
    assert run(applied, "apply", "plan.json").exit_code == 0
    assert applied.store.get_features(["age"], user_id=0) == {"age": 36}


def test_history_is_shown_to_people(applied: Workspace) -> None:
    """The newest first; of one thing, or of everything; of nothing too."""
    run(applied, "check")
    said = run(applied, "check", "--history", "user_profile.age").stdout.splitlines()
    assert said[0].split() == ["checked", "at", "verdict", "state", "during", "by", "name", "rule"]
    assert [line.split()[3] for line in said[1:]] == ["check", "apply"]
    assert run(applied, "check", "--history", "affordability").stdout == "No check results have been saved yet.\n"
    assert len(run(applied, "check", "--history", "--limit", "1").stdout.splitlines()) == 2


def test_a_failed_apply_is_kept_in_history(applied: Workspace, ruled: Callable[..., Workspace]) -> None:
    """What failed, and the state that stayed; nothing is published."""
    ruled(expect="expect='age < 30'")
    assert run(applied, "apply", "--yes").exit_code == 1
    assert results(applied)[0] == ("apply", "user_profile.age", "age < 30", "failed", 1)
    assert applied.store.features()
    assert len(json.loads(run(applied, "history", "--format", "json").stdout)) == 1


def test_show_tells_the_last_results(ruled: Callable[..., Workspace]) -> None:
    """Of a feature its own, of a group those of its features too."""
    bank = ruled("unique='age'", "expect=Expect('age < 36', severity='warn')")
    assert run(bank, "apply", "--yes").exit_code == 0
    run(bank, "check")
    feature = run(bank, "show", "user_profile.age").stdout
    assert re.search(r"^  expect +age < 36 \(warn\)$", feature, re.MULTILINE)
    assert re.search(r"^  checks +\S+ warning  5 of 20 rows: age < 36 \(warn\)$", feature, re.MULTILINE)
    group = json.loads(run(bank, "show", "user_profile", "--format", "json").stdout)
    assert [(each["address"], each["rule"], each["during"]) for each in group["checks"]] == [
        ("user_profile", "unique age", "check"), ("user_profile.age", "age < 36", "check"),
    ]  # fmt: skip


def test_recording_waits_for_a_writer_and_reports_first(applied: Workspace) -> None:
    """The lock is taken for the moment of recording alone: what was found is printed in any case."""
    path = applied.root / "featproject.toml"
    path.write_text(f'{path.read_text()}\n[store]\nlock_timeout = "1 second"\n')
    with open_store(load(applied.root)).writing(pytest.fail):
        done = run(applied, "check")
    assert (done.exit_code, done.stdout) == (
        1, "ok      user_profile.age (accounts): age BETWEEN 0 AND 120\n1 check, 0 broken.\n",
    )  # fmt: skip
    assert "Store is locked" in done.stderr
    with open_store(load(applied.root)).writing(pytest.fail):
        assert run(applied, "check", "--no-record").exit_code == 0


# What is kept, for how long, and in what stores


OLD = CheckResult(
    address="user_profile.age", kind="expect", rule="age > 0", severity="error", broken=0, rows=20,
    checked_at="2020-01-01T00:00:00.000+00:00", serial=1, by="ann", during="check",
)  # fmt: skip


def keep(workspace: Workspace, *found: CheckResult) -> None:
    """Keep results as a run of checks does."""
    with open_store(load(workspace.root)).writing(pytest.fail) as writer:
        writer.checked(found)
        writer.keep_checks()


def test_results_are_kept_as_long_as_history(applied: Workspace) -> None:
    """What is older goes when something new is kept."""
    young = replace(OLD, checked_at=(datetime.now(UTC) - timedelta(days=29)).isoformat(timespec="milliseconds"))
    older = replace(OLD, checked_at=(datetime.now(UTC) - timedelta(days=31)).isoformat(timespec="milliseconds"))
    keep(applied, older, young)
    assert [each.checked_at for each in applied.store.check_history()][1:] == [young.checked_at, older.checked_at]
    run(applied, "check")
    assert [each.checked_at for each in applied.store.check_history()][2:] == [young.checked_at]


def test_upkeep_lets_go_of_old_results(applied: Workspace, edit: Edit) -> None:
    """As of all that is old; the results of an environment go with it."""
    keep(applied, OLD)
    assert run(applied, "apply", "--env", "pr_1", "--yes").exit_code == 0
    edit(TEAM, "BETWEEN 0 AND 120", "< 121")
    assert run(applied, "apply", "--env", "pr_1", "--yes").exit_code == 0
    assert results(applied, "--env", "pr_1") == [("apply", "user_profile.age", "age < 121", "ok", 3)]
    assert run(applied, "env", "drop", "pr_1").exit_code == 0
    rows = applied.published("SELECT environment, count(*) FROM registry.checks GROUP BY ALL")
    assert rows == [("prod", 1)]


def test_conditions_that_are_kept_as_texts_are_read(applied: Workspace) -> None:
    """As stores and exports of before have them: nothing is to do, and checks are kept from now on."""
    with duckdb.connect(str(applied.root / ".featdsl" / "store.duckdb")) as connection:
        connection.execute("DELETE FROM registry.checks")
        connection.execute(
            "UPDATE registry.documents SET body = regexp_replace(body, "
            """'"expect":\\[\\{"kind":"expect","condition":("[^"]*")[^}]*\\}\\]', '"expect":[\\1]')"""
        )
        (text,) = connection.execute(
            "SELECT body->>'expect' FROM registry.documents WHERE address = 'user_profile.age'"
        ).fetchone()
    assert json.loads(text) == ["age BETWEEN 0 AND 120"]
    done = run(applied, "plan", "--check")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        0,
        "Nothing to do: the store matches the code.",
    )
    assert results(applied) == []
    assert run(applied, "check").exit_code == 0
    assert len(results(applied)) == 1


def test_rules_survive_as_plain_data() -> None:
    """To JSON and back they are equal."""
    rules = (Uniqueness(columns=("a",), name="x"), Freshness(seconds=60), Volume(least=1, most=None, severity="warn"))
    adapter = TypeAdapter(tuple[Uniqueness | Freshness | Volume, ...])
    assert adapter.validate_json(adapter.dump_json(rules)) == rules
    assert TypeAdapter(list[Expectation]).validate_python(["a > 0"]) == [Expectation(condition="a > 0")]
    assert [str(rule) for rule in rules] == [
        "x: unique a",
        "newest row at most 1 minute old (warn)",
        "at least 1 row (warn)",
    ]


def test_infinite_times_are_shown_as_such(bank: Workspace) -> None:
    """The first and the last times of Python are times like others."""
    times = ["'infinity'", "'-infinity'", "'9999-12-31 00:00:00'", "'0001-01-01 00:00:00'", "'2026-01-01 00:00:00'"]
    rows = " UNION ALL ".join(
        f"SELECT {i} AS user_id, TIMESTAMP {time} AS updated_at, DATE '1990-01-01' AS birth_date, 1.0 AS annual_income"
        for i, time in enumerate(times)
    )
    others = rows.replace("1.0 AS", "2.0 AS")  # rows that are the same are one row
    bank.parquet("data/accounts.parquet", f"{rows} UNION ALL {others}")

    said = run(bank, "apply", "--yes").stderr

    shown = set(re.findall(r"user_id = (\d), event_timestamp = (.*?)(?:, .*)?$", said, flags=re.MULTILINE))
    assert shown == {(str(i), time.strip("'")) for i, time in enumerate(times)}


def test_a_rule_may_have_braces(bank: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """As DuckDB's structs have."""
    edit(
        "features/accounts/__init__.py", 'sql="annual_income"', """sql="annual_income", expect="{'a': income}.a > 0" """
    )
    said = run(bank, "apply", "--yes")
    assert said.exit_code == 1
    assert "Check failed" in said.stderr
    assert "{'a': income}.a > 0" in said.stderr
