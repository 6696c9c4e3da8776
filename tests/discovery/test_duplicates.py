"""Features that compute the same values are found, and those that only look alike are not."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from tests.cli.test_bad_input import Edit
from tests.conftest import Workspace
from tests.discovery.near_duplicates import DIFFERENT, HEAD, ROWS, SAME, Case

CASES = (*SAME, *DIFFERENT)
USER = '"""Entities."""\n\nfrom featdsl import Entity\n\nuser = Entity("user", keys={"user_id": int})\n'


def module(cases: Iterable[Case], side: str) -> str:
    """Return the module of one team: its group of every case."""
    bodies = [getattr(case, side).replace("CASE", case.name) for case in cases]
    return f"{HEAD}from features.entities import user\n\n" + "\n".join(bodies)


@pytest.fixture
def cases(workspace: Workspace) -> Workspace:
    """A project in which team one declares its group of each case."""
    for case in CASES:
        workspace.parquet(f"data/{case.name}.parquet", ROWS)
    workspace.parquet("data/rates.parquet", "SELECT 'A' AS kind, 1.1::DOUBLE AS rate")
    return workspace.write(
        {
            "featproject.toml": '[project]\nname = "cases"\n',
            "features/__init__.py": "",
            "features/entities/__init__.py": USER,
            "features/one/__init__.py": module(CASES, "one"),
        }
    )


def noticed(workspace: Workspace, *arguments: str) -> dict[str, tuple[str, str]]:
    """Return the duplicates that a plan notices: the message and the fix, by address."""
    done = workspace.run("plan", "--format", "json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["notices"]
    return {each["address"]: (each["what"], each["fix"]) for each in found if each["code"] == "duplicate"}


def test_a_plan_notices_every_near_duplicate_and_no_look_alike(cases: Workspace) -> None:
    """Twenty pairs are the same under other names and spellings, twenty differ in one part of their meaning."""
    assert (len(SAME), len(DIFFERENT)) == (20, 20)
    assert noticed(cases) == {}, "the groups of one team do not repeat each other"
    cases.apply()
    cases.write({"features/two/__init__.py": module(CASES, "two")})
    found = {address.partition(".")[0]: what for address, (what, _) in noticed(cases).items()}
    derived_inputs = {"derived_base_two"}
    assert found.keys() - derived_inputs == {f"{case.name}_two" for case in SAME}
    for case in SAME:
        assert f"looks like {case.name}_one." in found[f"{case.name}_two"], case.name


SHARED = """
from features.accounts import accounts, user


class Lending(FeatureGroup, entity=user, source=accounts):
    {0}
"""


def lending(body: str) -> dict[str, str]:
    """Return the module of a team that builds on the source of the accounts."""
    return {
        "features/loans/__init__.py": f"from featdsl import Deprecated, Feature, FeatureGroup\n{SHARED.format(body)}"
    }


INCOME = 'monthly_income = Feature(float, sql="annual_income", description="Income.")'


def test_the_text_of_a_plan_names_the_feature_its_team_and_what_is_the_same(applied: Workspace) -> None:
    """The notice stands in text and in Markdown, and blocks nothing."""
    applied.write(lending(INCOME))
    done = applied.run("plan")
    assert done.returncode == 0
    said = "lending.monthly_income looks like user_profile.income (accounts): the same columns and SQL."
    assert f"Notices\n  {said}\n    Use it instead: featdsl show user_profile.income\n" in done.stdout
    markdown = applied.run("plan", "--format", "markdown").stdout
    assert "looks like user\\_profile.income" in markdown or "looks like user_profile.income" in markdown
    assert applied.run("apply", "--yes").returncode == 0


def test_a_pair_is_noticed_once(applied: Workspace, edit: Edit) -> None:
    """A plan that leaves both as they are, or only describes one of them otherwise, says nothing more about them."""
    applied.write(lending(INCOME))
    applied.apply()
    assert noticed(applied) == {}
    edit("features/loans/__init__.py", "Income.", "Income of a year.")
    assert noticed(applied) == {}


def test_a_change_that_makes_two_features_alike_is_noticed(applied: Workspace, edit: Edit) -> None:
    """Also the feature of the older group is named if it becomes what another is."""
    applied.write(lending('monthly_income = Feature(float, sql="annual_income / 12")'))
    applied.apply()
    edit("features/loans/__init__.py", "annual_income / 12", "annual_income")
    assert [*noticed(applied)] == ["lending.monthly_income"]
    edit("features/accounts/__init__.py", 'sql="annual_income"', 'sql="annual_income * 2"')
    edit("features/loans/__init__.py", '"annual_income"', '"2 * annual_income"')
    assert [*noticed(applied)] == ["lending.monthly_income"], "sets use income, so it is the first"


def test_two_features_that_are_new_in_one_plan_are_noticed_once(bank: Workspace) -> None:
    """The one that sets use stays, and the other is told of it."""
    bank.write(lending(INCOME))
    said = "lending.monthly_income looks like user_profile.income (accounts): the same columns and SQL."
    assert noticed(bank) == {"lending.monthly_income": (said, "Both are new in this plan: keep one.")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("entity=user, source=accounts)", 'entity=user, source=accounts, access="private")'),
        ("tags={", 'deprecated=Deprecated(since="2026-01-01"), tags={'),
    ],
    ids=["private", "deprecated"],
)
def test_what_a_team_should_not_use_is_not_suggested(applied: Workspace, edit: Edit, old: str, new: str) -> None:
    """A private group of another team and a deprecated feature are no replacement."""
    for name in ("features/lending/__init__.py",):
        applied.write({name: ""})
    edit("features/accounts/__init__.py", "import Entity", "import Deprecated, Entity")
    edit("features/accounts/__init__.py", old, new)
    applied.apply()
    applied.write(lending(INCOME))
    assert noticed(applied) == {}


def test_many_features_of_two_groups_are_one_notice(applied: Workspace, edit: Edit) -> None:
    """A group that was copied is named as a whole."""
    names = [f"f{number}" for number in range(8)]
    one = "".join(f'    {name} = Feature(float, sql="annual_income + {number}")\n' for number, name in enumerate(names))
    two = "".join(
        f'    {name}_too = Feature(float, sql="{number} + annual_income")\n' for number, name in enumerate(names)
    )
    edit("features/accounts/__init__.py", "    income =", f"{one}    income =")
    applied.apply()
    applied.write(lending(two.strip()))
    listed = ", ".join(f"{name}_too = {name}" for name in names[:6])
    said = f"8 features of lending look like those of user_profile (accounts): {listed} and 2 more: the same columns and SQL."
    assert noticed(applied)["lending"][0] == said


def test_two_plans_of_the_same_code_say_the_same(cases: Workspace) -> None:
    """Notices are in the order of names."""
    cases.write({"features/two/__init__.py": module(CASES, "two")})
    assert [*noticed(cases)] == [*noticed(cases)]
    assert [*noticed(cases)] == sorted(noticed(cases))


TRANSFERS = """
from featdsl import Entity, Feature, FeatureGroup, Source

pair = Entity("pair", keys={{"sender": int, "receiver": int}})
sent_{0} = Source("sent_{0}", path="data/sent.parquet")


class {1}(FeatureGroup, entity=pair, source=sent_{0}, keys={{"sender": "{2}", "receiver": "{3}"}}):
    paid_{0} = Feature(float, sql="amount")
"""


@pytest.mark.parametrize(("columns", "noticed_"), [(("payer", "payee"), True), (("payee", "payer"), False)])
def test_the_roles_of_several_keys_count(columns: tuple[str, str], noticed_: bool, workspace: Workspace) -> None:  # noqa: FBT001
    """What somebody has paid another is not what the other has paid."""
    workspace.parquet(
        "data/sent.parquet", "SELECT i AS payer, i + 1 AS payee, 1.5::DOUBLE AS amount FROM range(3) t(i)"
    )
    first = TRANSFERS.format("one", "One", "payer", "payee")
    second = TRANSFERS.format("two", "Two", *columns).replace(
        "pair = Entity", "from features.one import pair\n# Entity"
    )
    files = {
        "featproject.toml": '[project]\nname = "pay"\n',
        "features/__init__.py": "",
        "features/one/__init__.py": first,
    }
    workspace.write(files).apply()
    workspace.write({"features/two/__init__.py": second})
    assert ([*noticed(workspace)] == ["two.paid_two"]) == noticed_
    assert bool(noticed(workspace)) == noticed_


def test_deeply_nested_sql_does_not_stop_a_plan(applied: Workspace) -> None:
    """Steps that are each within the parser's limit may be too deep together: then they equal only themselves."""
    steps = ['deep_0 = Source("deep_0", sql="SELECT user_id, updated_at, annual_income AS v0 FROM {{ accounts }}")']
    for number in range(1, 12):
        nested = f"v{number - 1}{' + (1' * 60}{')' * 60}"
        query = f"SELECT user_id, updated_at, {nested} AS v{number} FROM {{{{ deep_{number - 1} }}}}"
        steps.append(f'deep_{number} = Source("deep_{number}", sql="{query}", timestamp="updated_at")')
    groups = [
        f"class {name}(FeatureGroup, entity=user, source=deep_11):\n    {feature} = Feature(float, sql='v11')"
        for name, feature in (("Deep", "deepest"), ("Deeper", "deepest_too"))
    ]
    code = "from featdsl import Feature, FeatureGroup, Source\nfrom features.accounts import accounts, user\n\n"
    applied.write({"features/deep/__init__.py": code + "\n".join([*steps, *groups]) + "\n"})
    assert [*noticed(applied)] == ["deeper.deepest_too"]
