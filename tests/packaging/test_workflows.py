"""The workflows call what exists, may do little, and test what the package says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.packaging.project_files import PROJECT, ROOT, classified, pythons, text

WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")
}
READ = {"contents": "read"}
ALLOWED = {
    "attest": {"id-token": "write", "attestations": "write"},
    "publish": {"id-token": "write"},
    "announce": {"contents": "write"},
}
"""The jobs that may do more than read the code, with all that they may do."""
_PINNED = re.compile(r"uses: (?P<action>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40}) # v\d+\.\d+\.\d+")


def jobs() -> dict[str, dict[str, Any]]:
    """Return the jobs of all workflows by workflow and name."""
    return {f"{workflow}: {name}": job for workflow, each in WORKFLOWS.items() for name, job in each["jobs"].items()}


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each step with its job."""
    for name, job in jobs().items():
        yield from ((name, step) for step in job.get("steps", ()))


def scripts() -> list[str]:
    """Return the commands that the steps run."""
    return [step["run"] for _, step in steps() if "run" in step]


def versions_on(systems: str) -> set[str]:
    """Return the versions of Python that jobs on a system install."""
    found: set[str] = set()
    for job in jobs().values():
        if str(job.get("runs-on", "")).startswith(systems):
            named = {
                step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})
            }
            found |= set(job.get("strategy", {}).get("matrix", {}).get("python", named))
    return found


def test_there_are_two_workflows() -> None:
    """One for each change, one for each release."""
    assert set(WORKFLOWS) == {"ci", "release"}


def test_every_target_that_is_called_exists() -> None:
    """`make` would stop a release with an unknown target."""
    called = {match for script in scripts() for match in re.findall(r"\bmake ([\w-]+)", script)}
    called |= {f"test-{end}" for end in WORKFLOWS["ci"]["jobs"]["ranges"]["strategy"]["matrix"]["end"]}
    assert called > {"test", "dist", "release-check", "test-lowest", "test-newest"}
    assert called <= set(re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE))


def test_every_script_that_is_called_exists() -> None:
    """Shell scripts, and modules of the tests."""
    files = {match for script in scripts() for match in re.findall(r"\bsh (\S+)", script)}
    modules = {match for script in scripts() for match in re.findall(r"python -m (tests\.\S+)", script)}
    assert files | modules == {".ci/run", "tests.packaging.release"}
    assert all((ROOT / name).is_file() for name in files)
    assert all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in modules)


def test_every_folder_of_tests_that_is_called_exists() -> None:
    """In the workflows, and in the portable part of the Makefile."""
    named = {match for script in scripts() for match in re.findall(r"\btests/\S+", script)}
    named |= set(
        re.findall(r"tests/\S+", re.findall(r"^PORTABLE := ((?:.*\\\n)*.*)", text("Makefile"), re.MULTILINE)[0])
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read(name: str) -> None:
    """What a job needs beyond that, it says itself."""
    assert WORKFLOWS[name]["permissions"] == READ


def test_only_the_jobs_that_publish_may_write() -> None:
    """Each has what it needs for its one task."""
    given = {name.split(": ")[1]: job["permissions"] for name, job in jobs().items() if "permissions" in job}
    assert given == ALLOWED


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_job_that_may_write_runs_no_code_of_the_project(name: str) -> None:
    """It has no checkout and installs nothing: it only passes on what another job built."""
    used = [step["uses"].split("@")[0] for step in jobs()[f"release: {name}"]["steps"] if "uses" in step]
    assert used[0] == "actions/download-artifact"
    assert "actions/checkout" not in used
    assert all("pip " not in step.get("run", "") for step in jobs()[f"release: {name}"]["steps"])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_by_commit(name: str) -> None:
    """A tag can be moved to other code; a commit cannot."""
    lines = [line.strip().removeprefix("- ") for line in text(f".github/workflows/{name}.yml").splitlines()]
    used = [line for line in lines if line.startswith("uses: ") and not line.startswith("uses: ./")]
    assert [line for line in used if not _PINNED.fullmatch(line)] == []


def test_an_action_has_one_commit() -> None:
    """All steps use the same release of an action."""
    both = "".join(text(f".github/workflows/{name}.yml") for name in WORKFLOWS)
    pins = {found["action"]: set[str]() for found in _PINNED.finditer(both)}
    for found in _PINNED.finditer(both):
        pins[found["action"]].add(found["commit"])
    assert {action: commits for action, commits in pins.items() if len(commits) > 1} == {}


def test_no_checkout_keeps_the_token() -> None:
    """Code of a pull request could read it."""
    checkouts = [step for _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_no_script_inserts_what_others_write() -> None:
    """A branch or a title inside `${{ }}` would become a command."""
    assert [script for script in scripts() if "${{" in script] == []


def test_no_workflow_knows_a_secret() -> None:
    """Publishing is trusted by where it runs."""
    assert all("secrets." not in text(f".github/workflows/{name}.yml") for name in WORKFLOWS)


def test_every_python_of_the_classifiers_is_tested() -> None:
    """On Linux each of them, and no other."""
    assert versions_on("ubuntu") == set(pythons())
    assert PROJECT["requires-python"] == f">={pythons()[0]}"


def test_every_system_of_the_classifiers_is_tested() -> None:
    """The oldest and the newest Python run on macOS too."""
    assert classified("Operating System") == {"POSIX :: Linux", "MacOS"}
    assert versions_on("macos") == {pythons()[0], pythons()[-1]}


def test_a_release_needs_all_tests_and_every_step_before() -> None:
    """Nothing is published that was not tested, built and attested."""
    needs = {name: job.get("needs") for name, job in WORKFLOWS["release"]["jobs"].items()}
    assert needs == {"ci": None, "build": "ci", "attest": "build", "publish": "attest", "announce": "publish"}
    assert WORKFLOWS["release"]["jobs"]["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert (ROOT / ".github/workflows/ci.yml").is_file()


def test_publishing_waits_for_a_maintainer() -> None:
    """The environment has the rule who must agree, and PyPI trusts this environment alone."""
    assert jobs()["release: publish"]["environment"]["name"] == "pypi"
