"""Tests of guards in the registry: protection, deprecation, pins and private groups."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from featdsl import Deprecated, DeprecatedWarning, PolicyError, pipeline
from featdsl.apply import events
from featdsl.apply.execute import apply
from featdsl.cli.main import main
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.kinds import Definition, address
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compilers
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.plan import planfile, planner
from featdsl.plan.document import Block
from featdsl.project.settings import load
from featdsl.query import deprecation_warnings
from featdsl.stores import open_store
from tests.conftest import BANK, Workspace
from tests.waiting import PATIENCE

TEAM = "features/accounts/__init__.py"
USERS = "features/lending/__init__.py"
Edit = Callable[[str, str, str], None]
TENURE = '    tenure = Feature(int, sql="1")\n'
SETS = """credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])
credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])
loan_default = Model("loan_default", features=credit_risk_v1)
"""


def featdsl(workspace: Workspace, *arguments: str, code: int = 0) -> str:
    """Return the output of a command run in this process; fail on another exit code."""
    done = CliRunner().invoke(main, ["-C", str(workspace.root), *arguments])
    assert done.exit_code == code, done.output
    return done.output


def registry(workspace: Workspace) -> Snapshot:
    """Return the applied snapshot."""
    return open_store(load(workspace.root)).read()


def blocks(workspace: Workspace) -> list[tuple[str, str, str]]:
    """Return the blocks of the plan, which must then exit with 3."""
    found = json.loads(featdsl(workspace, "plan", "--format", "json", code=3))["blocks"]
    return [(each["code"], f"{each['kind']} {each['address']}", each["what"]) for each in found]


def notices(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the plan's notices with their fixes."""
    found = json.loads(featdsl(workspace, "plan", "--format", "json"))["notices"]
    return [(each["what"], each["fix"]) for each in found]


def hand_over(workspace: Workspace, *names: str, project: str = "loans", owner: str = "mortgages") -> None:
    """Move applied definitions to another project of the store."""

    def moved(definition: Definition) -> Definition:
        return replace(definition, project=project, owner=owner)

    with open_store(load(workspace.root)).writing(print) as writer:
        for definition in writer.snapshot.catalog:
            if f"{definition.kind} {address(definition)}" in names:
                writer.record(moved(definition))
        serial = writer.snapshot.head.serial + 1
        entry = HistoryEntry(
            serial=serial, applied_at="2026-01-01T00:00:00+00:00", project=project, user="ann", commit="", summary="",
            changes=(), rows=0, seconds=0.0,
        )  # fmt: skip
        writer.publish(entry)


@pytest.fixture
def tenured(bank: Workspace, edit: Edit) -> Callable[[str], Workspace]:
    """The small project, applied with a feature `user_profile.tenure` of these options, then without its declaration."""

    def made(options: str) -> Workspace:
        edit(TEAM, "import Entity", "import Deprecated, Entity")
        bank.write({TEAM: (bank.root / TEAM).read_text() + TENURE.replace("sql=", f"{options}, sql=")})
        featdsl(bank, "apply", "--yes")
        bank.write({TEAM: BANK[TEAM]})
        return bank

    return made


# Protection


def test_a_protected_feature_is_not_removed(tenured: Callable[[str], Workspace]) -> None:
    """The guard is in the registry, so it outlives its declaration; apply refuses and changes nothing."""
    bank = tenured("protect=True")
    before = registry(bank)

    said = "feature user_profile.tenure is protected."
    assert blocks(bank) == [("protected", "feature user_profile.tenure", said)]
    assert featdsl(bank, "apply", "--yes", code=3).endswith(
        f"Protected against removal\n  {said}\n  Restore it. To remove it, first apply protect=False.\n"
    )
    assert registry(bank) == before


def test_a_blocked_plan_exits_with_3_whatever_is_asked_of_it(tenured: Callable[[str], Workspace]) -> None:
    """Also with --check and --out; a saved blocked plan is refused as well."""
    bank = tenured("protect=True")

    featdsl(bank, "plan", "--check", code=3)
    featdsl(bank, "plan", "--out", str(bank.root / "plan.json"), code=3)

    assert "Protected against removal" in featdsl(bank, "apply", str(bank.root / "plan.json"), code=3)


def test_python_code_cannot_apply_a_blocked_plan(tenured: Callable[[str], Workspace]) -> None:
    """Apply itself refuses before its first step."""
    bank = tenured("protect=True")
    project, before = load(bank.root), registry(bank)
    store = open_store(project)

    with pytest.raises(PolicyError, match="user_profile.tenure is protected"):
        apply(pipeline.make_plan(project, store).plan, project, store, listen=events.ignore)

    assert registry(bank) == before


def test_protection_is_lifted_in_a_plan_of_its_own(tenured: Callable[[str], Workspace]) -> None:
    """protect=False is a metadata change; afterwards the declaration may be removed."""
    bank = tenured("protect=True")
    bank.write({TEAM: BANK[TEAM] + TENURE})

    said = featdsl(bank, "apply", "--yes")
    bank.write({TEAM: BANK[TEAM]})
    featdsl(bank, "apply", "--yes")

    assert "protect: on → off" in said
    assert "user_profile.tenure" not in registry(bank).catalog.features


def test_a_protected_group_keeps_its_features(bank: Workspace, edit: Edit) -> None:
    """Otherwise its features could be removed one by one."""
    edit(TEAM, "source=accounts):", "source=accounts, protect=True):")
    bank.write({TEAM: (bank.root / TEAM).read_text() + TENURE})
    featdsl(bank, "apply", "--yes")
    edit(TEAM, TENURE, "")

    said = "feature user_profile.tenure belongs to the group user_profile, which is protected."
    assert blocks(bank) == [("protected", "feature user_profile.tenure", said)]


def test_a_group_goes_neither_with_its_own_guard_nor_with_that_of_a_feature(bank: Workspace, edit: Edit) -> None:
    """Removing a group removes its features, each with its guard; the group's own guard is reported once."""
    edit(USERS, "inputs=[UserProfile.income]", "inputs=[UserProfile.income], protect=True")
    edit(USERS, "per month.", 'per month.", protect=True, tags="')
    edit(USERS, "\n\ncredit_risk_v1", '\n    yearly = Feature(float, sql="income")\n\ncredit_risk_v1')
    edit(USERS, "credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.monthly])\n", "")
    featdsl(bank, "apply", "--yes")
    text = (bank.root / USERS).read_text()
    bank.write({USERS: text[: text.index("class")] + text[text.index("credit_risk_v1") :]})

    assert blocks(bank) == [
        ("protected", "group affordability", "group affordability is protected."),
        ("protected", "feature affordability.monthly", "feature affordability.monthly is protected."),
    ]


def test_a_protected_set_version_is_not_removed(bank: Workspace, edit: Edit) -> None:
    """Each version of a set has its own protection."""
    edit(USERS, "version=2, ", "version=2, protect=True, ")
    featdsl(bank, "apply", "--yes")
    edit(USERS, SETS.splitlines()[1].replace("version=2, ", "version=2, protect=True, "), "")

    assert blocks(bank) == [("protected", "set credit_risk@2", "set credit_risk@2 is protected.")]
    assert not registry(bank).catalog.sets["credit_risk@1"].protect


# Deprecation

PROMISED = 'deprecated=Deprecated(since="2026-01-01", remove_after="2099-06-30")'


def test_what_is_deprecated_stays_until_its_day(tenured: Callable[[str], Workspace]) -> None:
    """The applied date counts, not the code."""
    bank = tenured(PROMISED)

    said = "feature user_profile.tenure may not be removed before 2099-06-30."
    assert blocks(bank) == [("deprecated", "feature user_profile.tenure", said)]
    assert "Removed too early" in featdsl(bank, "apply", "--yes", code=3)


def test_what_is_deprecated_goes_after_its_day(tenured: Callable[[str], Workspace]) -> None:
    """A past date, or none, does not block."""
    bank = tenured(PROMISED.replace("2099", "2026"))

    featdsl(bank, "apply", "--yes")

    assert "user_profile.tenure" not in registry(bank).catalog.features


@pytest.mark.parametrize(("today", "blocked"), [(date(2026, 6, 29), 1), (date(2026, 6, 30), 0), (date(2027, 1, 1), 0)])
def test_the_day_itself_is_free(today: date, blocked: int, bank: Workspace, edit: Edit) -> None:
    """A set version is guarded until the day before its remove_after date."""
    promise = 'deprecated=Deprecated(since=date(2026, 1, 1), remove_after="2026-06-30"), '
    edit(USERS, "version=2, ", f"version=2, {promise}")
    edit(USERS, "from featdsl import", "from datetime import date\nfrom featdsl import Deprecated,")
    featdsl(bank, "apply", "--yes")
    snapshot = registry(bank)
    without = Catalog.of(each for each in snapshot.catalog if address(each) != "credit_risk@2")

    plan = planner.build(
        planner.State(snapshot), without, planner.PlanRequest("bank", today=today), Compilers(COMPILER)
    )

    assert [each.code for each in plan.blocks] == ["deprecated"] * blocked


def test_a_deprecated_group_promises_for_its_features(bank: Workspace, edit: Edit) -> None:
    """A deprecated group's date also guards its features; removing the whole group is reported once."""
    edit(TEAM, "import Entity", "import Deprecated, Entity")
    edit(USERS, "from featdsl import", "from featdsl import Deprecated,")
    edit(TEAM, "source=accounts):", f"source=accounts, {PROMISED}):")
    edit(USERS, "inputs=[UserProfile.income]", f"inputs=[UserProfile.income], {PROMISED}")
    edit(USERS, SETS.splitlines()[1], "")
    bank.write({TEAM: (bank.root / TEAM).read_text() + TENURE})
    featdsl(bank, "apply", "--yes")
    edit(TEAM, TENURE, "")
    text = (bank.root / USERS).read_text()
    bank.write({USERS: text[: text.index("class")] + text[text.index("credit_risk_v1") :]})

    assert [(code, name) for code, name, _ in blocks(bank)] == [
        ("deprecated", "group affordability"),
        ("deprecated", "feature user_profile.tenure"),
    ]


def test_a_plan_tells_who_uses_what_becomes_deprecated(applied: Workspace, edit: Edit) -> None:
    """The notice names sets, features and models by team, and the replacement."""
    edit(TEAM, "import Entity", "import Deprecated, Entity")
    edit(TEAM, ', tags={"money"', ', deprecated=Deprecated(since="2026-01-01", use="user_profile.age"), tags={"money"')
    users = "set credit_risk@1, set credit_risk@2, feature affordability.monthly, model loan_default"
    said = (
        f"feature user_profile.income is deprecated since 2026-01-01. It is used by lending ({users}).",
        "Use user_profile.age instead.",
    )

    assert notices(applied) == [said]
    featdsl(applied, "apply", "--yes")
    assert notices(applied) == [said]
    assert "Nothing to do" in featdsl(applied, "plan", "--check")


def test_what_nobody_uses_is_told_once(applied: Workspace, edit: Edit) -> None:
    """Only the plan that deprecates it has a notice."""
    edit(USERS, "from featdsl import", "from featdsl import Deprecated,")
    edit(USERS, "version=2, ", 'version=2, deprecated=Deprecated(since="2026-01-01"), ')

    assert notices(applied) == [("set credit_risk@2 is deprecated since 2026-01-01. Nobody uses it.", "")]
    featdsl(applied, "apply", "--yes")
    assert notices(applied) == []


def test_a_set_and_a_group_tell_their_users(bank: Workspace, edit: Edit) -> None:
    """For a set version the models, for a group the users of any feature; objects name the replacement."""
    edit(USERS, "from featdsl import", "from featdsl import Deprecated,")
    edit(USERS, "inputs=[UserProfile.income]", 'inputs=[UserProfile.income], deprecated=Deprecated(since="2026-01-01", use=UserProfile)')  # fmt: skip
    edit(USERS, SETS, "")
    sets = SETS.splitlines()
    renamed = sets[0].replace("credit_risk", "better")
    sets[0] = sets[0].replace("version=1, ", 'version=1, deprecated=Deprecated(since="2026-01-01", use=better_v1), ')
    bank.write({USERS: (bank.root / USERS).read_text() + "\n".join([renamed, *sets, ""])})

    assert notices(bank) == [
        (
            "group affordability is deprecated since 2026-01-01. It is used by lending (set credit_risk@2).",
            "Use user_profile instead.",
        ),
        (
            "set credit_risk@1 is deprecated since 2026-01-01. It is used by lending (model loan_default).",
            "Use better@1 instead.",
        ),
    ]


@pytest.fixture
def outdated(bank: Workspace, edit: Edit) -> Workspace:
    """The small project, whose income is deprecated."""
    edit(TEAM, "import Entity", "import Deprecated, Entity")
    edit(TEAM, "class UserProfile(FeatureGroup", 'old = Deprecated(since="2026-01-01", remove_after="2099-06-30", use="user_profile.age")\n\n\nclass UserProfile(FeatureGroup')  # fmt: skip
    edit(TEAM, ', tags={"money"', ', deprecated=old, tags={"money"')
    featdsl(bank, "apply", "--yes")
    return bank


def test_the_catalogue_shows_what_is_deprecated(outdated: Workspace) -> None:
    """List, search and show mark it, as text and as JSON."""
    told = {"since": "2026-01-01", "remove_after": "2099-06-30", "use": "user_profile.age"}

    assert "  accounts  (deprecated, use user_profile." in featdsl(outdated, "list")
    assert "  accounts  (deprecated, use user_" in featdsl(outdated, "search", "income")
    assert "  deprecated   since 2026-01-01, may be removed from 2099-06-30; use user_profi" in featdsl(
        outdated, "show", "user_profile.income"
    )
    listed = json.loads(featdsl(outdated, "list", "--format", "json"))
    assert {each["address"]: each["deprecated"] for each in listed} == {
        "affordability.monthly": None, "user_profile.age": None, "user_profile.income": told
    }  # fmt: skip
    assert (
        json.loads(featdsl(outdated, "search", "income", "--limit", "1", "--format", "json"))[0]["deprecated"] == told
    )
    assert json.loads(featdsl(outdated, "show", "income", "--format", "json"))["deprecated"] == told


def test_the_catalogue_shows_protection_and_access(bank: Workspace, edit: Edit) -> None:
    """Of a group, and of the features that it protects."""
    edit(USERS, "inputs=[UserProfile.income]", 'inputs=[UserProfile.income], protect=True, access="private"')
    featdsl(bank, "apply", "--yes")

    assert "  access    private\n  protect   yes\n" in featdsl(bank, "show", "affordability")
    assert json.loads(featdsl(bank, "show", "monthly", "--format", "json"))["definition"]["protect"] is True
    assert "protect" not in featdsl(bank, "show", "user_profile")


PROGRAM = """
import sys
from featdsl import FeatureStore
store = FeatureStore(sys.argv[1])
for _ in range(2):
    store.get_features(["income", "age"], user_id=1)
store.training_set(["income"], "SELECT 1 AS user_id, TIMESTAMP '2026-02-01' AS ts", timestamp="ts")
store.training_set("credit_risk@1", "SELECT 1 AS user_id, TIMESTAMP '2026-02-01' AS ts", timestamp="ts")
"""


def test_reading_what_is_deprecated_warns_once_at_the_line_that_reads(outdated: Workspace, tmp_path: Path) -> None:
    """Python shows the warning by default."""
    program = tmp_path / "model.py"
    program.write_text(PROGRAM, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(program), str(outdated.root)], capture_output=True, text=True, check=True, timeout=PATIENCE
    )

    said = "user_profile.income is deprecated since 2026-01-01, may be removed from 2099-06-30; use user_profile.age"
    assert done.stderr.splitlines()[0] == f"{program}:6: DeprecatedWarning: {said}"
    assert done.stderr.count("DeprecatedWarning") == 1


def test_a_deprecated_set_warns_in_training(bank: Workspace, edit: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning names the set, not its features."""
    monkeypatch.setattr(deprecation_warnings, "_warned", set())
    edit(USERS, "from featdsl import", "from featdsl import Deprecated,")
    edit(USERS, "version=2, ", 'version=2, deprecated=Deprecated(since="2026-01-01"), ')
    featdsl(bank, "apply", "--yes")

    with pytest.warns(DeprecatedWarning) as told:
        bank.store.training_set("credit_risk@2", "SELECT 1 AS user_id, now() AS ts", timestamp="ts")

    assert [str(each.message) for each in told] == ["credit_risk@2 is deprecated since 2026-01-01"]
    assert told[0].filename == __file__


def test_all_values_of_a_deprecated_feature_warn_as_well(outdated: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third way to read."""
    monkeypatch.setattr(deprecation_warnings, "_warned", set())

    with pytest.warns(DeprecatedWarning, match="user_profile.income is deprecated"):
        outdated.store.get_feature("income")


def test_what_is_not_deprecated_warns_of_nothing(outdated: Workspace) -> None:
    """Beside something that is."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert outdated.store.get_features(["age"], user_id=3) == {"age": 33}


def test_the_command_line_warns_in_its_own_words(outdated: Workspace) -> None:
    """`get` prints the value, and the warning on standard error."""
    done = outdated.run("get", "income", "--key", "user_id=3")

    assert (done.returncode, done.stdout) == (0, "income  19000.0\n")
    said = "user_profile.income is deprecated since 2026-01-01, may be removed from 2099-06-30; use user_profile.age"
    assert done.stderr == f"Warning: {said}\n"


def test_days_may_be_dates_or_texts() -> None:
    """Both come out as dates."""
    found = Deprecated(since="2026-01-01", remove_after=date(2026, 6, 30))

    assert (found.since, found.remove_after, found.use_address) == (date(2026, 1, 1), date(2026, 6, 30), "")


def test_a_policy_is_no_name_that_people_look_for(bank: Workspace) -> None:
    """The policy is in the registry, but search neither finds nor suggests it."""
    bank.write({"featproject.toml": BANK["featproject.toml"] + '\n[policy]\napprovals = "affected-teams"\n'})
    featdsl(bank, "apply", "--yes")

    assert featdsl(bank, "search", "bank") == "No match for: bank\n"
    assert featdsl(bank, "show", "bank", code=1) == (
        'Unknown name\n  Nothing called "bank" has been applied.\n  List all definitions: featdsl list\n'
    )


# What others use


def test_a_feature_that_another_teams_set_pins_is_not_removed(applied: Workspace, edit: Edit) -> None:
    """The sets belong to another project of the store, whose code this plan does not load."""
    hand_over(applied, "set credit_risk@1", "set credit_risk@2", "model loan_default")
    edit(USERS, SETS, "")
    edit(USERS, "UserProfile.income", "UserProfile.age")
    edit(USERS, "income / 12", "age / 12")
    text = (applied.root / TEAM).read_text()
    applied.write({TEAM: text[: text.index("    income")]})

    said = "feature user_profile.income is pinned by mortgages of project loans (set credit_risk@1 at features/lending/__init__.py:12, set credit_risk@2 at features/lending/__init__.py:13, model loan_default)."
    assert blocks(applied) == [("pinned", "feature user_profile.income", said)]
    assert "Still pinned" in featdsl(applied, "apply", "--yes", code=3)


def test_a_whole_group_is_not_removed_while_a_feature_of_it_is_pinned(applied: Workspace) -> None:
    """The guard holds for each removed feature."""
    hand_over(applied, "set credit_risk@2")
    text = (applied.root / USERS).read_text()
    applied.write({USERS: text[: text.index("class")] + "\n".join([SETS.splitlines()[0], SETS.splitlines()[2], ""])})

    said = "feature affordability.monthly is pinned by mortgages of project loans (set credit_risk@2 at features/lending/__init__.py:13)."
    assert blocks(applied) == [("pinned", "feature affordability.monthly", said)]


def test_a_pin_of_ones_own_team_in_another_project_counts_as_well(applied: Workspace) -> None:
    """Its code names the feature, and the next pull would lack it."""
    hand_over(applied, "set credit_risk@2", owner="lending")
    text = (applied.root / USERS).read_text()
    applied.write({USERS: text[: text.index("class")] + "\n".join([SETS.splitlines()[0], SETS.splitlines()[2], ""])})

    said = "feature affordability.monthly is pinned by lending of project loans (set credit_risk@2 at features/lending/__init__.py:13)."
    assert blocks(applied) == [("pinned", "feature affordability.monthly", said)]


def test_a_set_version_that_a_model_elsewhere_uses_is_not_removed(applied: Workspace, edit: Edit) -> None:
    """The owner does not matter: the model would name a removed set."""
    hand_over(applied, "model loan_default", owner="lending")
    edit(USERS, SETS, SETS.splitlines()[0].replace("version=1", "version=3") + "\n")

    said = "set credit_risk@1 is used by lending of project loans (model loan_default)."
    assert blocks(applied) == [("used", "set credit_risk@1", said)]


def test_a_feature_a_source_and_an_entity_that_others_build_on_are_not_removed(applied: Workspace) -> None:
    """A group of another project uses our feature, source and entity."""
    hand_over(applied, "group affordability", "feature affordability.monthly")
    applied.write({TEAM: "", USERS: ""})

    assert blocks(applied) == [
        ("used", "entity user", "entity user is used by mortgages of project loans (group affordability)."),
        ("used", "feature user_profile.income", "feature user_profile.income is used by mortgages of project loans (feature affordability.monthly)."),
    ]  # fmt: skip


def test_what_goes_together_with_its_users_is_free(applied: Workspace) -> None:
    """One plan removes the feature, the sets that pin it and the model."""
    applied.write({TEAM: "", USERS: ""})

    featdsl(applied, "apply", "--yes")

    assert list(registry(applied).catalog) == []


# Private groups


def test_a_private_group_is_used_by_its_own_team(bank: Workspace, edit: Edit) -> None:
    """A set and a derived group of the same folder."""
    edit(USERS, "inputs=[UserProfile.income]", 'inputs=[UserProfile.income], access="private"')

    featdsl(bank, "apply", "--yes")

    assert registry(bank).catalog.groups["affordability"].access == "private"


def test_access_is_metadata(bank: Workspace, edit: Edit) -> None:
    """Nothing is built when it changes."""
    featdsl(bank, "apply", "--yes")
    edit(USERS, "inputs=[UserProfile.income]", 'inputs=[UserProfile.income], access="private"')

    said = featdsl(bank, "plan")

    assert "access: public → private" in said
    assert "Steps: only the registry is updated." in said


def test_a_private_key_is_not_lent(bank: Workspace) -> None:
    """Using a feature only as a key counts as use."""
    bank.write({
        "features/branches/__init__.py": '''
from featdsl import Entity, Feature, FeatureGroup, Source
from features.accounts import user

branch = Entity("branch", keys={"branch_id": int})
branches = Source("branches", sql="SELECT 1 AS branch_id, 1 AS user_id, 7.0 AS size")


class Home(FeatureGroup, entity=user, source=branches, access="private"):
    branch_id = Feature(int)


class Branch(FeatureGroup, entity=branch, source=branches):
    size = Feature(float)
''',
        "features/risk/__init__.py": '''
from featdsl import Feature, FeatureGroup
from features.accounts import UserProfile, user
from features.branches import Branch, Home


class Nearby(FeatureGroup, entity=user, inputs=[UserProfile.age, Branch.size.alias(keys={"branch_id": Home.branch_id})]):
    room = Feature(float, sql="size + age")
''',
    })  # fmt: skip

    said = featdsl(bank, "plan", code=1)

    assert said == (
        "Private group\n"
        "  group nearby of risk uses home.branch_id, but the group home is private to branches.\n"
        "  features/risk/__init__.py:7\n"
        "  Ask branches to make it public, or to derive a public group from it.\n"
    )


def test_a_group_that_others_use_elsewhere_does_not_become_private(applied: Workspace, edit: Edit) -> None:
    """Users in other projects are found in the registry and named."""
    hand_over(applied, "set credit_risk@1", "model loan_default")
    edit(USERS, SETS, "")
    edit(USERS, "UserProfile.income", "UserProfile.age")
    edit(TEAM, "source=accounts):", 'source=accounts, access="private"):')
    applied.write({USERS: ""})

    assert featdsl(applied, "plan", code=1) == (
        "Private group in use\n"
        "  group user_profile is private to accounts, but it is used by mortgages of project loans (set credit_risk@1, model loan_default).\n"
        "  features/accounts/__init__.py:8\n"
        "  Keep it public until they no longer use it.\n"
    )


def test_a_block_is_equal_after_a_journey_as_json(tenured: Callable[[str], Workspace]) -> None:
    """A block is equal after it was written to a plan file and read again."""
    bank = tenured("protect=True")
    project = load(bank.root)
    plan = pipeline.make_plan(project, open_store(project)).plan

    assert planfile.from_json(planfile.to_json(plan), name="plan.json").blocks == (
        Block(
            code="protected",
            kind="feature",
            address="user_profile.tenure",
            owner="accounts",
            what="feature user_profile.tenure is protected.",
            fix="Restore it. To remove it, first apply protect=False.",
        ),
    )
