"""Tests of approvals: which teams a plan needs, and the CODEOWNERS file."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from featdsl import PolicyError, pipeline
from featdsl.apply import events
from featdsl.apply.execute import apply
from featdsl.project.settings import load
from featdsl.stores import open_store
from tests.conftest import BANK, Workspace
from tests.plan.test_guards import SETS, TEAM, USERS, Edit, featdsl, registry

POLICY = '\n[policy]\napprovals = "affected-teams"\n'
REACHED = "lending has not approved the changes to: feature affordability.monthly."


def approvals(workspace: Workspace) -> list[tuple[str, list[str]]]:
    """Return the teams that must approve the plan, with their affected definitions."""
    found = json.loads(featdsl(workspace, "plan", "--format", "json"))["approvals"]
    return [(each["team"], each["because"]) for each in found]


@pytest.fixture
def strict(bank: Workspace, edit: Edit) -> Workspace:
    """The small project, applied with a policy; then the accounts team corrects the income that lending derives from."""
    bank.write({"featproject.toml": BANK["featproject.toml"] + POLICY})
    featdsl(bank, "apply", "--yes")
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    return bank


# Who is asked


def test_a_change_asks_the_teams_whose_features_change(applied: Workspace, edit: Edit) -> None:
    """The owner need not approve, nor the owners of pinned set versions and their models."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')

    assert approvals(applied) == [("lending", ["feature affordability.monthly"])]


def test_a_source_asks_the_teams_whose_features_change(applied: Workspace, edit: Edit) -> None:
    """Teams further downstream must approve too."""
    edit(TEAM, 'timestamp="updated_at"', 'timestamp="updated_at", tie_break="birth_date"')

    assert approvals(applied) == [("lending", ["feature affordability.monthly"])]


def test_an_entity_asks_the_teams_that_describe_it(bank: Workspace, edit: Edit) -> None:
    """Retyped keys affect every team that uses the entity."""
    bank.write({"features/risk/__init__.py": """
from featdsl import Feature, FeatureGroup, Source
from features.accounts import user

class Score(FeatureGroup, entity=user, source=Source("scores", sql="SELECT 1::BIGINT AS user_id, 0.5 AS score")):
    score = Feature(float)
"""})  # fmt: skip
    featdsl(bank, "apply", "--yes")
    edit(TEAM, '{"user_id": int}', '{"user_id": "HUGEINT"}')

    assert approvals(bank) == [("lending", ["feature affordability.monthly"]), ("risk", ["feature score.score"])]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Gross income, USD per year.", "Gross income."),
        ("    age =", '    tenure = Feature(int, sql="1")\n    age ='),
        ("'year', birth_date", "'month', birth_date"),
        ("entity=user,", "entity=user, protect=True,"),
    ],
    ids=["metadata", "an addition", "what only pinned sets read", "protection"],
)
def test_what_changes_no_ones_values_asks_nobody(old: str, new: str, applied: Workspace, edit: Edit) -> None:
    """Pinned sets keep the old age, and nothing is derived from it."""
    edit(TEAM, old, new)

    assert approvals(applied) == []


def test_what_goes_along_asks_its_owner(applied: Workspace) -> None:
    """The accounts team removes everything it has, with what lending derived from it: no pin is left, so nothing blocks."""
    applied.write({TEAM: "", USERS: ""})

    because = ["feature affordability.monthly", "model loan_default", "set credit_risk@1", "set credit_risk@2"]
    assert approvals(applied) == [("lending", because)]


def test_what_a_team_removes_of_its_own_asks_nobody(applied: Workspace, edit: Edit) -> None:
    """Even in the same plan as a change that affects it."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    text = (applied.root / USERS).read_text()
    applied.write({USERS: text[: text.index("class")] + "\n".join([SETS.splitlines()[0], SETS.splitlines()[2], ""])})

    assert approvals(applied) == []


def test_to_take_a_thing_over_does_not_silence_its_owner(applied: Workspace, edit: Edit) -> None:
    """The registry knows the previous owner: moving ownership in the same plan does not avoid the approval."""
    teams = '\n[teams]\naccounts = ["features/accounts", "features/lending"]\n'
    applied.write({"featproject.toml": BANK["featproject.toml"] + teams})
    assert approvals(applied) == []

    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    assert approvals(applied) == [("lending", ["feature affordability.monthly"])]

    applied.write({TEAM: BANK[TEAM]})
    edit(USERS, "income / 12", "income / 13")
    assert approvals(applied) == [("lending", ["feature affordability.monthly"])]


# What the policy does


def test_without_a_policy_nobody_has_to_agree(applied: Workspace, edit: Edit) -> None:
    """The plan still lists the affected teams."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')

    assert "Touches lending (1 feature changes)." in featdsl(applied, "apply", "--yes")


def test_a_policy_stops_what_is_not_approved(strict: Workspace) -> None:
    """Apply exits with 3 before it asks for confirmation; the plan itself succeeds."""
    before = registry(strict)

    featdsl(strict, "plan")
    featdsl(strict, "plan", "--check", code=2)
    for arguments in (["apply", "--yes"], ["apply"], ["apply", "--yes", "--approved-by", "accounts"]):
        said = featdsl(strict, *arguments, code=3)
        assert said.endswith(
            f"Approval missing\n  {REACHED}\n"
            f"  Ask lending. Once they approve: featdsl -C {strict.root} {' '.join(arguments)} --approved-by lending\n"
        )

    assert registry(strict) == before


def test_a_branch_is_tried_before_anyone_agrees(strict: Workspace) -> None:
    """Other environments need no approval; applying to prod still does."""
    said = featdsl(strict, "apply", "--env", "pr_1", "--yes")

    assert "Touches lending (1 feature changes)." in said
    assert "36,000" in featdsl(strict, "diff", "prod", "pr_1")
    assert REACHED in featdsl(strict, "apply", "--yes", code=3)


def test_history_keeps_who_approved(strict: Workspace) -> None:
    """As text and as JSON; a team named twice is recorded once."""
    arguments = ["--approved-by", "lending", "--approved-by", "accounts", "--approved-by", "lending"]
    featdsl(strict, "apply", "--yes", *arguments)

    newest, oldest = json.loads(featdsl(strict, "history", "--format", "json"))
    assert (newest["approved_by"], oldest["approved_by"]) == (["accounts", "lending"], [])
    assert "1 changed, 1 recomputed; approved by accounts, lending" in strict.run("history", COLUMNS="200").stdout


def test_a_saved_plan_needs_the_same_approval(strict: Workspace) -> None:
    """A saved plan needs the approvals at apply time."""
    file = str(strict.root / "plan.json")
    featdsl(strict, "plan", "--out", file)

    assert REACHED in featdsl(strict, "apply", file, code=3)
    featdsl(strict, "apply", file, "--approved-by", "lending")


def test_python_code_needs_the_same_approval(strict: Workspace) -> None:
    """Apply itself refuses, not only the command line."""
    project = load(strict.root)
    store = open_store(project)
    plan = pipeline.make_plan(project, store).plan

    with pytest.raises(PolicyError, match="lending has not approved"):
        apply(plan, project, store, listen=events.ignore)

    assert apply(plan, project, store, listen=events.ignore, approved_by=["lending"]).serial == 2


def test_an_unknown_team_cannot_approve(strict: Workspace) -> None:
    """A misspelled team approves nothing; known teams are owners and those in the settings."""
    assert featdsl(strict, "apply", "--yes", "--approved-by", "lendin", code=3).endswith(
        'Unknown team\n  There is no team lendin to approve the plan.\n  Did you mean "lending"?\n\n'
        f"Approval missing\n  {REACHED}\n  Ask lending. Once they approve: featdsl -C {strict.root} apply --yes --approved-by lending\n\n"
        "2 problems found.\n"
    )
    said = featdsl(strict, "apply", "--yes", "--approved-by", "qqqqq", code=3)
    assert "The teams are: accounts, bank, lending." in said


def test_a_change_cannot_lift_the_policy_for_itself(strict: Workspace) -> None:
    """The applied policy holds until its removal is applied, which shows as a change."""
    strict.write({"featproject.toml": BANK["featproject.toml"]})

    said = featdsl(strict, "apply", "--yes", code=3)
    assert "  - policy bank  metadata\n" in said
    assert REACHED in said


def test_a_policy_that_was_lifted_is_gone(strict: Workspace, edit: Edit) -> None:
    """After an apply that removes the policy, changes need no approval."""
    edit(TEAM, 'sql="annual_income * 2"', 'sql="annual_income"')
    strict.write({"featproject.toml": BANK["featproject.toml"]})
    featdsl(strict, "apply", "--yes")
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')

    featdsl(strict, "apply", "--yes")

    assert registry(strict).catalog.policies == {}


def test_a_policy_that_is_only_declared_counts_at_once(applied: Workspace, edit: Edit) -> None:
    """The stricter of the applied and the declared policy counts."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    applied.write({"featproject.toml": BANK["featproject.toml"] + POLICY})

    assert REACHED in featdsl(applied, "apply", "--yes", code=3)


# CODEOWNERS

TEAMS = '\n[teams]\nrisk = "features/lending"\naccounts = ["features/accounts/", "features"]\n'
BEGIN = "# featdsl: the lines down to the end mark are written by featdsl plan --codeowners\n"
END = "# featdsl: end\n"
OWNED = "/features/ @accounts\n/features/accounts/ @accounts\n/features/lending/ @risk\n"


@pytest.fixture
def owners(bank: Workspace) -> Callable[[str], str]:
    """Plan with these further settings, and return the CODEOWNERS file."""

    def planned(settings: str) -> str:
        bank.write({"featproject.toml": BANK["featproject.toml"] + settings})
        featdsl(bank, "plan", "--codeowners", str(bank.root / "CODEOWNERS"))
        return (bank.root / "CODEOWNERS").read_text(encoding="utf-8")

    return planned


def test_each_teams_folders_are_owned(owners: Callable[[str], str]) -> None:
    """Nested folders come later, because the last matching line counts."""
    assert owners(TEAMS) == BEGIN + OWNED + END
    assert owners(TEAMS) == BEGIN + OWNED + END


def test_teams_have_the_accounts_that_are_given(owners: Callable[[str], str]) -> None:
    """One or several owners; settings and macros have none unless declared."""
    given = """
[codeowners]
accounts = ["@acme/accounts", "ann@acme.example"]
"featproject.toml" = "@acme/platform"
"features/macros" = "@acme/sql"
"""
    assert owners(TEAMS + given) == (
        f"{BEGIN}/featproject.toml @acme/platform\n"
        "/features/ @acme/accounts ann@acme.example\n"
        "/features/accounts/ @acme/accounts ann@acme.example\n"
        "/features/lending/ @risk\n"
        f"/features/macros/ @acme/sql\n{END}"
    )


def test_other_lines_stay_where_they_are(bank: Workspace, owners: Callable[[str], str]) -> None:
    """Lines outside the marks stay, also after the teams change."""
    bank.write({"CODEOWNERS": "* @acme/all\n"})
    assert owners(TEAMS) == f"* @acme/all\n\n{BEGIN}{OWNED}{END}"

    path = bank.root / "CODEOWNERS"
    path.write_text(path.read_text() + "/docs/ @acme/docs\n")
    assert owners('\n[teams]\nrisk = "features/lending"\n') == (
        f"* @acme/all\n\n{BEGIN}/features/lending/ @risk\n{END}/docs/ @acme/docs\n"
    )


def test_patterns_start_at_the_repository(bank: Workspace) -> None:
    """A project may lie in a folder of a larger repository; spaces are escaped."""
    (bank.root / ".git").mkdir()
    inner = Workspace(bank.root / "ml models").write({**BANK, "featproject.toml": BANK["featproject.toml"] + TEAMS})
    (bank.root / "data").rename(inner.root / "data")

    featdsl(inner, "plan", "--codeowners", str(bank.root / "CODEOWNERS"))

    assert "/ml\\ models/features/lending/ @risk\n" in (bank.root / "CODEOWNERS").read_text()


def test_a_team_may_own_everything(owners: Callable[[str], str]) -> None:
    """The whole repository is a pattern of its own, and comes before what others own in it."""
    assert owners('\n[teams]\nplatform = "."\nrisk = "features/lending"\n') == (
        f"{BEGIN}* @platform\n/features/lending/ @risk\n{END}"
    )


MARKS = "File cannot be written\n  {file} must have one featdsl begin marker followed by one end marker, or neither."


@pytest.mark.parametrize(
    ("settings", "file", "text", "said"),
    [
        ("", "CODEOWNERS", "", "No teams\n  [teams] of featproject.toml is empty.\n  featproject.toml:1\n"),
        (TEAMS, "CODEOWNERS", BEGIN, MARKS),
        (TEAMS, "CODEOWNERS", END + BEGIN, MARKS),
        (TEAMS, "nowhere/CODEOWNERS", "", "File cannot be written\n  {file}: No such file or directory."),
    ],
    ids=["no teams", "half of the marks", "marks in the wrong order", "no folder"],
)
def test_what_cannot_be_written_is_told(settings: str, file: str, text: str, said: str, bank: Workspace) -> None:
    """And what was there stays."""
    path = bank.root / file
    bank.write({"featproject.toml": BANK["featproject.toml"] + settings, **({file: text} if text else {})})

    found = featdsl(bank, "plan", "--codeowners", str(path), code=1)

    assert said.format(file=path) in found
    assert (path.read_text() if path.exists() else "") == text


def test_a_file_that_is_no_text_is_left_alone(bank: Workspace) -> None:
    """Its lines could not be kept."""
    path = bank.root / "CODEOWNERS"
    bank.write({"featproject.toml": BANK["featproject.toml"] + TEAMS})
    path.write_bytes(b"\xff\xfe")

    assert "File cannot be read\n" in featdsl(bank, "plan", "--codeowners", str(path), code=1)
    assert path.read_bytes() == b"\xff\xfe"
