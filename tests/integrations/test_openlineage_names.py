"""The names of datasets and of code in the events of OpenLineage."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from featdsl.integrations.openlineage.code_location import web_address
from featdsl.integrations.openlineage.datasets import Dataset, of_source, of_table, of_view
from featdsl.project.settings import load
from tests.conftest import Workspace
from tests.integrations.lineage_events import (
    facet,
    sent,
)


def test_the_code_of_a_group_in_a_repository(bank: Workspace) -> None:
    """The line in its commit, at the web address of the remote, without the token in it."""
    git = ["git", "-C", str(bank.root), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "remote", "add", "origin", "https://bot:t0ken@git.example.com/acme/bank.git"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    events = sent(bank, "apply", "--yes")

    assert events[1]["job"]["facets"]["sourceCodeLocation"] == facet(
        "SourceCodeLocationJobFacet",
        "1-1-0",
        type="git",
        url=f"https://git.example.com/acme/bank/blob/{commit}/features/accounts/__init__.py#L8",
        repoUrl="https://git.example.com/acme/bank",
        path="features/accounts/__init__.py",
        version=commit,
    )
    assert "t0ken" not in str(events)


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:acme/bank.git", "https://github.com/acme/bank"),
        ("ssh://git@git.example.com:2222/acme/bank.git", "https://git.example.com/acme/bank"),
        ("https://user:secret@git.example.com:8443/acme/bank", "https://git.example.com:8443/acme/bank"),
        ("/srv/git/bank.git", ""),
        ("../bank", ""),
        ("", ""),
    ],
)
def test_the_web_address_of_a_remote(remote: str, address: str) -> None:
    """Without user, password and port of SSH; none for a folder."""
    assert web_address(remote) == address


SOURCES = [
    ('path="data/a.csv"', Dataset("file", "{root}/data/a.csv")),
    ('path="/srv/a/*.parquet"', Dataset("file", "/srv/a/*.parquet")),
    ('path="s3://lake/a/b.parquet"', Dataset("s3://lake", "a/b.parquet")),
    ('path="https://example.com/a.csv"', Dataset("https://example.com", "a.csv")),
    ('database="shop.duckdb", table="orders"', Dataset("duckdb://{root}/shop.duckdb", "main.orders")),
    ('database="sqlite:shop.db", table="orders"', Dataset("sqlite://{root}/shop.db", "orders")),
    ('database="postgresql://ro@db.example.com/shop", table="sales.orders"',
     Dataset("postgres://db.example.com:5432", "shop.sales.orders")),
    ('database="env:WAREHOUSE", table="orders"', Dataset("postgres://wh:6432", "shop.public.orders")),
    ('path="lake/orders", format="delta"', Dataset("file", "{root}/lake/orders")),
    ('pushed=True, schema={"at": bool}', Dataset("featdsl://shop", "source.orders")),
    ('table="catalog.sales.orders"', Dataset("spark://spark.example.com:15002", "catalog.sales.orders")),
]  # fmt: skip


@pytest.mark.parametrize(("where", "dataset"), SOURCES, ids=[where for where, _ in SOURCES])
def test_sources_have_the_names_of_the_specification(
    where: str, dataset: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the lineage of whoever writes them joins on; never with a password."""
    monkeypatch.setenv("WAREHOUSE", "postgresql://ro:secret@wh:6432/shop")
    workspace.write(
        {
            "featproject.toml": '[project]\nname = "shop"\n[engine]\nurl = "sc://spark.example.com"\n',
            "features/__init__.py": "",
        }
    )
    project = load(workspace.root)
    source = declared(workspace, where)
    assert of_source(source, project) == (
        Dataset(dataset.namespace.format(root=workspace.root), dataset.name.format(root=workspace.root)),
    )


def declared(workspace: Workspace, where: str) -> Any:
    """Return the definition of a source."""
    from featdsl.catalog import build, loader

    module = f'from featdsl import Source\n\norders = Source("orders", {where}, timestamp="at")\n'
    workspace.write({"features/__init__.py": module})
    project = load(workspace.root)
    catalog = build.build(loader.load(project), project, build.BuildContext())
    return catalog.sources["orders"]


def test_the_datasets_of_a_team_store(workspace: Workspace) -> None:
    """In the database of its catalogue, without the user."""
    url = "ducklake:postgres:host=db.example.com port=6432 dbname=features user=ro"
    workspace.write(
        {"featproject.toml": f'[project]\nname = "shop"\n[store]\nurl = "{url}"\n', "features/__init__.py": ""}
    )
    project = load(workspace.root)
    namespace = "ducklake:postgres://db.example.com:6432/features"
    assert of_view("prod", "orders", project) == Dataset(namespace, "prod.orders")
    assert of_table("orders_12345678", project) == Dataset(namespace, "tables.orders_12345678")
