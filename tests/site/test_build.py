"""`featdsl docs build`: what it writes, what it leaves as it is, and which folders it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from featdsl.errors import SiteFolderError
from featdsl.site import folder
from featdsl.site.build import write_site
from tests.conftest import ACCOUNTS, Workspace
from tests.site.documents import generated
from tests.site.reading import Page, broken_links, pages


def built(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    """Run the command; return its JSON."""
    done = workspace.run("docs", "build", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_site_has_a_page_for_each_definition(applied: Workspace) -> None:
    """And the pages are valid, link to each other and hold what is declared."""
    result = built(applied)
    site = applied.root / "site"
    read = pages(site)
    assert set(read) == {
        "index.html", "search.html", "lineage.html", "report.html", "drift.html",
        "features/affordability.monthly.html", "features/user_profile.age.html", "features/user_profile.income.html",
        "groups/affordability.html", "groups/user_profile.html",
        "sets/credit_risk@1.html", "sets/credit_risk@2.html", "models/loan_default.html",
        "sources/accounts.html", "entities/user.html", "teams/accounts.html", "teams/lending.html",
    }  # fmt: skip
    assert result["pages"] == len(read)
    assert {path: page.faults for path, page in read.items() if page.faults} == {}
    assert broken_links(site) == []
    age = read["features/user_profile.age.html"].text
    for said in ("Age in whole years.", "BIGINT", "from features.accounts import UserProfile", "age BETWEEN 0 AND 120",
                 "date_diff", "credit_risk@1", "loan_default", "accounts"):  # fmt: skip
        assert said in age


def test_the_command_tells_what_to_open(applied: Workspace) -> None:
    """As text, for people."""
    done = applied.run("docs", "build", "--out", "public")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith("Catalogue: 17 pages, ")
    assert done.stdout.splitlines()[1] == f"Open {Path('public/index.html')} in a browser."


def test_a_page_asks_for_nothing_from_elsewhere(applied: Workspace) -> None:
    """No page refers to another host, and its policy forbids it."""
    built(applied)
    for path, page in pages(applied.root / "site").items():
        outside = [link for link in page.links if link.startswith(("http:", "https:", "//"))]
        assert outside == [], path
        policies = [given["content"] for tag, given in page.tags if "http-equiv" in given]
        assert [policy.split(";")[0] for policy in policies] == ["default-src 'none'"], path
        assert not any(name in given for _, given in page.tags for name in ("style", "onclick")), path


def test_a_second_build_writes_nothing(applied: Workspace) -> None:
    """Every page and file is there already."""
    first, second = built(applied), built(applied)
    assert (first["written"] > first["pages"], second["written"], second["deleted"]) == (True, 0, 0)
    assert first["bytes"] == second["bytes"]


@pytest.mark.slow
def test_another_process_builds_the_same_site(bank: Workspace) -> None:
    """The order of a set of texts differs between processes; no page follows it, though features are alike to the last digit."""
    words = combinations(("spend", "visit", "loans", "cards", "chats", "calls"), 3)
    features = "".join(
        f'    value_{at} = Feature(float, sql="annual_income + {at}", description="{" ".join(each)} of an account.")\n'
        for at, each in enumerate(words)
    )
    header = "\n\nclass Alike(FeatureGroup, entity=user, source=accounts):\n"
    path = bank.root / "features" / "accounts" / "__init__.py"
    path.write_text(path.read_text() + header + features)
    bank.apply()
    written = []
    for seed in ("1", "2", "3", "4"):
        done = bank.spawn("docs", "build", "--format", "json", PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        written.append(json.loads(done.stdout)["written"])
    assert written[1:] == [0, 0, 0]


def test_a_change_writes_the_pages_that_show_it(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """And a page of what is gone is deleted, with its folder."""
    built(applied)
    site = applied.root / "site"
    before = {file: file.stat().st_mtime_ns for file in site.rglob("*.html")}
    edit("features/lending/__init__.py", "USD per month", "EUR per month")
    edit("features/lending/__init__.py", 'loan_default = Model("loan_default", features=credit_risk_v1)', "")
    applied.apply()
    result = built(applied)
    assert result["deleted"] == 1
    assert not (site / "models").exists()
    assert "EUR per month" in (site / "features/affordability.monthly.html").read_text()
    kept = {
        file.relative_to(site).as_posix()
        for file, at in before.items()
        if file.exists() and file.stat().st_mtime_ns == at
    }
    assert "sources/accounts.html" in kept
    assert "features/affordability.monthly.html" not in kept


def test_one_change_of_many_writes_few_files(tmp_path: Path) -> None:
    """A new description shows on its own page, in the lists that name it and in the search."""
    write_site(generated(60), tmp_path)
    document = generated(60)
    object.__setattr__(document.features[7], "description", "Something else.")
    result = write_site(document, tmp_path)
    name = document.features[7].address
    changed = [path for path, page in pages(tmp_path).items() if "Something else." in page.text]
    assert f"features/{name}.html" in changed
    assert result.written == len(changed) + 1
    assert result.written < 20


@pytest.mark.parametrize("other", ["notes.txt", "features/mine.html", ".git/config"])
def test_a_folder_with_other_files_is_refused(applied: Workspace, other: str) -> None:
    """Before and after a build, and nothing in it changes."""
    applied.write({f"out/{other}": "mine"})
    done = applied.run("docs", "build", "--out", "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "The folder has other files"
    assert other in done.stderr
    assert [file.name for file in (applied.root / "out").rglob("*") if file.is_file()] == [Path(other).name]
    built(applied)
    applied.write({f"site/{other}": "mine"})
    assert applied.run("docs", "build").returncode == 1
    assert (applied.root / "site" / other).read_text() == "mine"


def test_a_page_that_was_edited_is_not_overwritten(applied: Workspace) -> None:
    """No build wrote what is in it."""
    built(applied)
    page = applied.root / "site" / "index.html"
    page.write_text("mine")
    done = applied.run("docs", "build")
    assert done.returncode == 1
    assert "index.html (changed after the build)" in done.stderr
    assert page.read_text() == "mine"


def test_a_link_out_of_the_folder_is_refused(applied: Workspace) -> None:
    """A build writes and deletes inside its folder alone."""
    built(applied)
    elsewhere = applied.root / "elsewhere"
    elsewhere.mkdir()
    (applied.root / "site" / "teams" / "more").symlink_to(elsewhere)
    assert applied.run("docs", "build").returncode == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9, "files": {}, "unfinished": []}',
                                  '{"format": 1, "files": {"../../x": ["", ""]}, "unfinished": []}'])  # fmt: skip
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    """Another tool's site.json is another file."""
    (tmp_path / "site.json").write_text(text)
    with pytest.raises(SiteFolderError, match=r"site\.json is not the list of a site's files"):
        write_site(generated(2), tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """With a message of one problem."""
    (tmp_path / "site").write_text("")
    with pytest.raises(SiteFolderError, match="is not a folder"):
        write_site(generated(2), tmp_path / "site")


def test_a_build_goes_on_where_a_killed_one_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest says before the first page which files the build may write."""
    whole = tmp_path / "whole"
    write_site(generated(10), whole)
    written = 0
    write = folder.write_file

    def killed(path: Path, content: bytes) -> None:
        nonlocal written
        written += 1
        if written > 15:
            path.with_name(".unfinished-1").write_bytes(content[:10])
            raise KeyboardInterrupt
        write(path, content)

    site = tmp_path / "site"
    write_site(generated(4), site)
    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_file", killed)
        with pytest.raises(KeyboardInterrupt):
            write_site(generated(10), site)
    write_site(generated(10), site)
    read = {each.relative_to(site): each.read_bytes() for each in site.rglob("*") if each.is_file()}
    assert read == {each.relative_to(whole): each.read_bytes() for each in whole.rglob("*") if each.is_file()}


def test_a_store_without_an_apply_has_a_home_page_that_says_so(bank: Workspace) -> None:
    """With the command to run."""
    built(bank)
    home = Page((bank.root / "site" / "index.html").read_text())
    assert "Nothing has been applied yet." in home.text
    assert "featdsl apply" in home.text


def test_a_project_without_features_has_a_home_page_that_says_so(workspace: Workspace) -> None:
    """With the command that writes an example."""
    workspace.write({"featproject.toml": '[project]\nname = "empty"\n', "features/__init__.py": ""})
    workspace.write(
        {"features/a/__init__.py": 'from featdsl import Entity\nuser = Entity("user", keys={"user_id": int})\n'}
    )
    workspace.apply()
    built(workspace)
    home = Page((workspace.root / "site" / "index.html").read_text())
    assert "The project has no features." in home.text
    assert broken_links(workspace.root / "site") == []


def test_the_report_is_a_page(applied: Workspace, edit: Callable[[str, str, str], None]) -> None:
    """Who uses whose features, what nobody uses, and what lacks a description; the next build writes it again only if that changes."""
    edit("features/lending/__init__.py", ', description="Gross income, USD per month."', "")
    applied.apply()
    built(applied)
    page = Page((applied.root / "site" / "report.html").read_text(encoding="utf-8"))
    assert page.faults == []
    assert "lending accounts 2" in page.text
    assert "Without a description affordability.monthly feature lending" in page.text
    assert "../report.html" in Page((applied.root / "site" / "features/user_profile.age.html").read_text()).links
    assert built(applied)["written"] == 0


def test_the_drift_is_a_page(applied: Workspace) -> None:
    """Features whose values have moved since the run before come first, with the reason."""
    built(applied)
    drift = applied.root / "site" / "drift.html"
    assert "No feature has two runs to compare yet." in Page(drift.read_text(encoding="utf-8")).text
    applied.parquet("data/accounts.parquet", ACCOUNTS.replace("1000.0 * i AS", "NULL::DOUBLE AS"))
    assert applied.run("refresh", "--full").returncode == 0
    built(applied)
    page = Page(drift.read_text(encoding="utf-8"))
    assert page.faults == []
    told = json.loads(applied.run("drift", "--format", "json").stdout)
    moved = next(each for each in told["features"] if each["feature"] == "user_profile.income")
    assert moved["verdict"] == "drifted"
    assert moved["reasons"][0]["text"] in page.text
    assert "user_profile.income accounts" in page.text
    assert f"Compared {sum(each['verdict'] != 'not compared' for each in told['features'])}" in page.text


def test_the_page_of_a_lost_table_says_so(applied: Workspace) -> None:
    """And the others are built."""
    for file in (applied.root / ".featdsl" / "data").iterdir():
        file.chmod(0o644)
        file.unlink()
    built(applied)
    page = Page((applied.root / "site" / "features/user_profile.age.html").read_text())
    assert "Its table is lost." in page.text
    assert page.faults == []
