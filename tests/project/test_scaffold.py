"""`featdsl init` starts a working project."""

from __future__ import annotations

from datetime import UTC, date, datetime

from tests.conftest import Workspace


def test_a_new_project_plans_and_applies_at_once(workspace: Workspace) -> None:
    """The template needs no edit."""
    assert workspace.run("init", "shop").returncode == 0
    shop = Workspace(workspace.root / "shop")
    assert shop.run("plan", "--check").returncode == 2
    shop.apply()
    assert shop.run("plan", "--check").returncode == 0
    assert shop.store.get_features("credit_risk@1", user_id=1) == {
        "age": 35,
        "income": 50000,
        "monthly_income": 50000 / 12,
    }


def test_the_age_is_in_whole_years(workspace: Workspace) -> None:
    """Age counts the birthdays up to the time of the row."""
    workspace.run("init")
    file = workspace.root / "data" / "accounts.csv"
    people = [(10 + number, date(1990, 3, 1 + number), datetime(2026, 3, 15, 9, tzinfo=UTC)) for number in range(28)]
    file.write_text(
        "user_id,birth_date,annual_income,updated_at\n"
        + "".join(f"{i},{b},1,{t:%Y-%m-%d %H:%M}\n" for i, b, t in people)
    )
    workspace.apply()

    found = workspace.store.get_features("age", rows=[{"user_id": each} for each, _, _ in people])

    by_hand = [t.year - b.year - ((t.month, t.day) < (b.month, b.day)) for _, b, t in people]
    assert [each["age"] for each in found] == by_hand
    assert {*by_hand} == {35, 36}


def test_the_folder_gives_the_project_its_name(workspace: Workspace) -> None:
    """Letters that a project name cannot have are replaced."""
    workspace.run("init", "Loan-Desk")
    assert 'name = "loan_desk"' in (workspace.root / "Loan-Desk" / "featproject.toml").read_text()


def test_it_starts_in_the_current_folder_too(workspace: Workspace) -> None:
    """Without a folder, `featdsl init` uses the current one."""
    done = workspace.run("init")
    assert done.returncode == 0
    assert done.stdout.endswith("Next: featdsl plan\n")
    assert workspace.run("plan", "--check").returncode == 2


def test_it_overwrites_nothing(workspace: Workspace) -> None:
    """If one file exists, nothing is written."""
    workspace.write({"features/__init__.py": "mine"})
    done = workspace.run("init")
    assert done.returncode == 1
    assert done.stderr == (
        "Project cannot be started\n  features/__init__.py already exists.\n  Name a new folder: featdsl init my_project\n"
    )
    assert (workspace.root / "features" / "__init__.py").read_text() == "mine"
    assert not (workspace.root / "featproject.toml").exists()
