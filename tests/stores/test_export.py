"""Plans against an exported registry, without the store and without the data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from featdsl.cli.main import main
from featdsl.definitions.snapshot import Drift, Snapshot
from featdsl.project.settings import load
from featdsl.stores import export, open_store
from tests.conftest import Workspace

pytestmark = pytest.mark.slow

Edit = Callable[[str, str, str], None]
TEAM = "features/accounts/__init__.py"
SECRETS = {"WAREHOUSE_PASSWORD": "hunter2-in-the-environment"}


def featdsl(workspace: Workspace, *arguments: str, code: int = 0) -> str:
    """Run a command in this process and return its output; fail on another exit code."""
    done = CliRunner().invoke(main, ["-C", str(workspace.root), *arguments])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def exported(bank: Workspace) -> Workspace:
    """The small project, applied, with its registry exported beside it."""
    bank.apply()
    featdsl(bank, "export", str(bank.root / "registry.json"))
    return bank


@pytest.fixture
def fork(exported: Workspace, tmp_path: Path) -> Workspace:
    """A fork: the code and the export, but no store and no data."""
    there = Workspace(tmp_path / "fork")
    shutil.copytree(exported.root / "features", there.root / "features")
    for name in ("featproject.toml", "registry.json"):
        shutil.copy(exported.root / name, there.root / name)
    return there


def against(workspace: Workspace, *arguments: str, code: int = 0) -> str:
    """Return the plan against the export."""
    return featdsl(workspace, "plan", "--against", str(workspace.root / "registry.json"), *arguments, code=code)


def registry(workspace: Workspace) -> Snapshot:
    """Return the newest state of the project's store."""
    return open_store(load(workspace.root)).read()


def edit(workspace: Workspace, name: str, old: str, new: str) -> None:
    """Replace a text in a file; the text must occur."""
    path = workspace.root / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


# The file


def test_an_export_gives_the_whole_registry_back(exported: Workspace, edit: Edit) -> None:
    """Definitions, older pinned versions and tables; equal states give equal bytes."""
    edit(TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    exported.apply()
    snapshot = registry(exported)
    assert len([key for key in snapshot.versions if key[0] == "user_profile.income"]) == 2

    text = export.to_json(snapshot, Drift(frozenset({"b", "a"}), frozenset({"prod.v"})))

    found = export.from_json(text, name="registry.json")
    assert found.snapshot == snapshot
    assert found.drift == Drift(frozenset({"a", "b"}), frozenset({"prod.v"}))
    assert export.to_json(found.snapshot, found.drift) == text


def test_an_export_holds_every_project_and_the_names_of_views(exported: Workspace) -> None:
    """`featdsl export` writes the same text in another process."""
    done = exported.run("export", "again.json", PYTHONHASHSEED="3")

    assert (done.returncode, done.stdout) == (0, "Wrote state 1 of the store to again.json.\n")
    assert (exported.root / "again.json").read_bytes() == (exported.root / "registry.json").read_bytes()
    plain = json.loads((exported.root / "again.json").read_text(encoding="utf-8"))
    assert (plain["format"], plain["head"]["serial"]) == (1, 1)
    assert sorted(plain["views"]) == [
        "affordability", "affordability_now", "credit_risk_v1", "credit_risk_v2", "user_profile",
    ]  # fmt: skip
    assert {each["project"] for each in plain["definitions"]} == {"bank"}
    assert len(plain["definitions"]) == len(list(registry(exported).catalog))


def test_an_empty_store_can_be_exported(bank: Workspace) -> None:
    """A plan against it shows everything as new."""
    featdsl(bank, "export", str(bank.root / "registry.json"))

    assert against(bank) == featdsl(bank, "plan")


def test_no_secret_and_no_data_reach_an_export(bank: Workspace) -> None:
    """Neither environment variables, nor settings that name them, nor the project's path, nor any value."""
    done = bank.run("apply", "--yes", **SECRETS)
    assert done.returncode == 0
    done = bank.run("export", "registry.json", **SECRETS)
    assert done.returncode == 0

    text = (bank.root / "registry.json").read_text(encoding="utf-8")
    for unwanted in ("hunter2", "env:", "WAREHOUSE", str(bank.root), "19000"):
        assert unwanted not in text


# Plans


def test_without_store_and_data_a_plan_has_the_same_bytes(exported: Workspace, fork: Workspace) -> None:
    """As text, Markdown and JSON, for a change over unchanged sources; nothing is written."""
    for each in (exported, fork):
        edit(each, TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
        edit(each, "features/lending/__init__.py", "monthly = Feature", 'weekly = Feature(float, sql="income / 52")\n    monthly = Feature')  # fmt: skip
    before = [path for path in sorted(fork.root.rglob("*")) if "__pycache__" not in path.parts]

    for arguments in ([], ["--sql"], ["--format", "markdown"], ["--format", "json"]):
        assert against(fork, *arguments) == featdsl(exported, "plan", *arguments)

    assert against(fork, "--check", code=2) == featdsl(exported, "plan", "--check", code=2)
    assert [path for path in sorted(fork.root.rglob("*")) if "__pycache__" not in path.parts] == before


def test_nothing_is_pending_for_the_code_that_was_applied(fork: Workspace) -> None:
    """In a real process, without access to the data."""
    done = fork.run("plan", "--against", "registry.json", "--check")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing to do" in done.stdout
    assert not (fork.root / ".featdsl").exists()


def test_an_unreadable_store_is_not_opened(exported: Workspace) -> None:
    """The plan against the export works even if the store is damaged."""
    (exported.root / ".featdsl" / "store.duckdb").write_bytes(b"no store")

    assert "Nothing to do" in against(exported, "--check")
    assert featdsl(exported, "plan", code=1)


def test_the_drift_of_the_store_is_in_the_plan(exported: Workspace) -> None:
    """Drift is determined at export time."""
    for file in (exported.root / ".featdsl" / "data").iterdir():
        file.unlink()
    featdsl(exported, "export", str(exported.root / "registry.json"))

    assert against(exported, "--check", code=2) == featdsl(exported, "plan", "--check", code=2)


def test_a_mistake_over_an_unread_source_is_found(fork: Workspace) -> None:
    """The export has the columns and types of each source."""
    edit(fork, TEAM, 'sql="annual_income"', 'sql="anual_income"')

    said = against(fork, code=1)

    assert "feature user_profile.income reads the column 'anual_income', which does not exist." in said
    assert 'Did you mean "annual_income"?' in said


def test_a_plan_against_an_export_can_be_saved_and_applied(exported: Workspace, fork: Workspace) -> None:
    """If the store is still at that state; otherwise the plan is stale."""
    for each in (exported, fork):
        edit(each, TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    assert "Saved as" in against(fork, "--out", str(fork.root / "plan.json"))

    featdsl(exported, "apply", str(fork.root / "plan.json"))

    assert exported.store.get_features(["income"], user_id=3) == {"income": 38000.0}
    assert "Stale plan" in featdsl(exported, "apply", str(fork.root / "plan.json"), code=4)


def test_a_plan_of_another_store_is_refused(exported: Workspace, fork: Workspace) -> None:
    """The fork's code, applied to its own store, which never had the state of the export."""
    edit(fork, TEAM, 'sql="annual_income"', 'sql="annual_income * 2"')
    against(fork, "--out", str(fork.root / "plan.json"))
    shutil.copytree(exported.root / "data", fork.root / "data")
    for _ in range(2):
        fork.apply()
        edit(fork, TEAM, "* 2", "* 2 + 0")

    said = featdsl(fork, "apply", str(fork.root / "plan.json"), code=4)

    assert said.endswith(
        "Stale plan\n  The plan was made for state 1 of another store.\n"
        f"  Plan again, for this store: featdsl -C {fork.root} plan --out {fork.root / 'plan.json'}\n"
    )


# Unchecked sources

NEW_SOURCE = """

late = Source("late", path="data/late.parquet", timestamp="paid_at")
doubled = Source("doubled", sql="SELECT user_id, paid_at, 2 * amount AS twice FROM {{ late }}", timestamp="paid_at")


class Payments(FeatureGroup, entity=user, source=late):
    paid = Feature(float, sql="amount", expect="paid > 0")
    paid_30d = Feature(float, sql="sum(amount)", window="30 days")


class Doubled(FeatureGroup, entity=user, source=doubled):
    twice = Feature(float)
"""


@pytest.fixture
def late(fork: Workspace) -> Workspace:
    """A fork that declares sources which were never applied and whose files it does not have."""
    path = fork.root / TEAM
    path.write_text(path.read_text(encoding="utf-8") + NEW_SOURCE, encoding="utf-8")
    return fork


def test_an_unreachable_new_source_is_reported_in_the_plan(late: Workspace) -> None:
    """Everything else is bound; every format lists what is unchecked."""
    plan = json.loads(against(late, "--format", "json"))

    assert [each["what"] for each in plan["notices"]] == [
        "The columns of source doubled were not checked, so nothing that doubled reads of it: source late was not.",
        "The columns of source late were not checked, so nothing that payments reads of it: "
        "no file matches data/late.parquet.",
    ]
    assert {each["code"] for each in plan["notices"]} == {"not checked"}
    for arguments in ([], ["--format", "markdown"]):
        said = " ".join(against(late, *arguments).split())
        assert "The columns of source late were not checked, so nothing that payments reads of it" in said
        assert "payments" in said
    against(late, "--check", code=2)


def test_a_mistake_elsewhere_is_still_found(late: Workspace) -> None:
    """An unreachable source does not hide mistakes elsewhere."""
    edit(late, TEAM, 'sql="annual_income"', 'sql="anual_income"')
    edit(late, TEAM, 'expect="paid > 0"', 'expect="paid > 0", tags=3')

    said = against(late, code=1)

    assert "tags" in said
    edit(late, TEAM, ", tags=3", "")
    assert "reads the column 'anual_income', which does not exist." in against(late, code=1)


def test_a_plan_that_was_not_checked_cannot_be_applied(late: Workspace, exported: Workspace) -> None:
    """It can be read and saved; someone with access to the data must plan again."""
    shutil.copy(late.root / TEAM, exported.root / TEAM)
    against(late, "--out", str(late.root / "plan.json"))

    said = featdsl(exported, "apply", str(late.root / "plan.json"), code=1)

    assert "Plan was not checked\n  The columns of source doubled were not checked" in said
    assert f"Plan again where they can be read: featdsl -C {exported.root} plan --out {late.root / 'plan.json'}" in said
    assert "payments" not in registry(exported).catalog.groups


def test_a_new_source_within_reach_is_read(late: Workspace) -> None:
    """A fork that has the data gets it checked completely."""
    late.parquet("data/late.parquet", "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS paid_at, 'x' AS amount")

    said = against(late, code=1)

    assert "feature payments.paid is declared DOUBLE, but its SQL gives VARCHAR." in said


def test_a_source_that_is_there_and_damaged_is_refused(late: Workspace) -> None:
    """Only unreachable sources are skipped."""
    late.write({"data/late.parquet": "no parquet at all, whatever its name says"})

    assert "Source cannot be read\n  source late: " in against(late, code=1)


def test_a_source_that_moves_is_not_checked(fork: Workspace) -> None:
    """It is a different source now, so its old columns say nothing."""
    edit(fork, TEAM, 'path="data/accounts.parquet"', 'path="data/elsewhere/*.parquet"')

    said = " ".join(against(fork).split())

    assert "The columns of source accounts were not checked, so nothing that user_profile reads of it" in said
    assert "location: data/accounts.parquet → data/elsewhere/*.parquet" in said


def test_a_database_out_of_reach_is_told(fork: Workspace) -> None:
    """The same holds for a table of a database."""
    edit(fork, TEAM, 'path="data/accounts.parquet"', 'table="main.accounts", database="warehouse.duckdb"')

    assert "The columns of source accounts were not checked" in against(fork)


def test_rows_in_memory_need_the_store_to_be_saved(fork: Workspace) -> None:
    """A plan can use them, but cannot be saved for others."""
    fork.write({
        "features/memory.py": """
from featdsl import Feature, FeatureGroup, Source
from features.accounts import user

few = Source("few", frame=[{"user_id": 1, "n": 1}])


class Few(FeatureGroup, entity=user, source=few):
    n = Feature(int)
"""
    })  # fmt: skip

    assert "group few" in against(fork)
    said = against(fork, "--out", str(fork.root / "plan.json"), code=1)
    assert "Plan cannot be saved\n  The plan builds from source few, whose rows are in memory" in said
    assert not (fork.root / "plan.json").exists()


# Invalid exports

FIX = "Export it again, with access to the store: featdsl export registry.json\n"


def changed(**changes: Any) -> Callable[[str], str]:
    """Return an edit that changes values of a JSON text and leaves its digest."""
    return lambda text: json.dumps({**json.loads(text), **changes})


def signed(**changes: Any) -> Callable[[str], str]:
    """Return an edit that changes values of a JSON text and updates its digest."""

    def change(text: str) -> str:
        plain = {**json.loads(text), **changes}
        body = {name: value for name, value in plain.items() if name not in {"format", "digest"}}
        return json.dumps({"format": 1, "digest": export._digest(body), **body})

    return change


BROKEN: dict[str, tuple[Callable[[str], str], str]] = {
    "cut off": (lambda text: text[:-100], "Not an export\n  {file} is not JSON: "),
    "empty": (lambda text: text[:0], "Not an export\n  {file} is not JSON: "),
    "a list": (lambda text: f"[{text}]", "Not an export\n  {file} lacks the format and digest of a registry export."),
    "another JSON": (lambda text: text.replace('"digest"', '"project"'), "Not an export\n  {file} lacks the format and digest"),
    "a format that is no number": (changed(format="one"), "Not an export\n  {file} lacks the format and digest"),
    "a newer format": (changed(format=99), "Export of a newer format\n  {file} has format 99; this featdsl reads up to 1.\n  Use the featdsl version that wrote it.\n"),
    "an edited head": (changed(head={"lineage": "x", "serial": 7}), "Export was edited\n  {file} was edited or truncated: its content does not match its digest.\n  " + FIX),
    "a view too few": (changed(views=[]), "Export was edited\n  {file} was edited or truncated"),
    "no head, signed": (signed(head=None), "Not an export\n  {file}: head: "),
    "a strange definition, signed": (signed(definitions=[{"kind": "spaceship"}]), "Not an export\n  {file}: definitions.0: "),
    "too deep": (lambda text: text[:0] + "[" * 100_000, "Not an export\n  {file} is not JSON: "),
    "a nan": (lambda text: text.replace('"serial": 1', '"serial": NaN'), "Export was edited\n  {file}"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_an_invalid_export_is_refused(name: str, fork: Workspace) -> None:
    """The error names the file, the reason and the export command; no traceback."""
    change, said = BROKEN[name]
    path = fork.root / "registry.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    found = against(fork, code=1)

    assert found.startswith(said.format(file=path))
    assert "Traceback" not in found


def test_files_that_cannot_be_read_are_refused(fork: Workspace) -> None:
    """In a real process; no store is created."""
    (fork.root / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("missing.json", "No such file or directory"), ("binary.json", "not a UTF-8 text file")):
        done = fork.run("plan", "--against", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f"Export cannot be read\n  {name}: {reason}.\n  Export the registry where the store can be opened: featdsl export {name}\n"
        )
    assert not (fork.root / ".featdsl").exists()


def test_a_plan_is_no_export(exported: Workspace) -> None:
    """And an export is not a plan."""
    featdsl(exported, "plan", "--out", str(exported.root / "plan.json"))

    assert "Not an export" in featdsl(exported, "plan", "--against", str(exported.root / "plan.json"), code=1)
    assert "Not a plan" in featdsl(exported, "apply", str(exported.root / "registry.json"), code=1)


def test_an_export_that_cannot_be_written_is_told(exported: Workspace, tmp_path: Path) -> None:
    """The folder does not exist."""
    said = featdsl(exported, "export", str(tmp_path / "nowhere" / "registry.json"), code=1)

    assert said.startswith("File cannot be written\n")
