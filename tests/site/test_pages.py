"""What pages answer: of a feature at a glance, of the overview, of the search's index."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featdsl.discovery.catalogue_entries import CatalogueDocument, FeatureEntry
from featdsl.site.build import write_site
from featdsl.site.urls import page_path
from tests.site.documents import generated
from tests.site.reading import Page, broken_links, pages


def with_feature(document: CatalogueDocument, **fields: Any) -> tuple[CatalogueDocument, FeatureEntry]:
    """Return a catalogue with other fields of its first feature, and this feature."""
    entry = replace(document.features[0], **fields)
    return replace(document, features=(entry, *document.features[1:])), entry


def page_of(document: CatalogueDocument, entry: FeatureEntry, site: Path) -> Page:
    """Return the page of a feature, as a build writes it."""
    write_site(document, site)
    return Page((site / page_path("feature", entry.address)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of 120 features."""
    folder = tmp_path_factory.mktemp("site")
    write_site(generated(120), folder)
    return folder


def index_of(site: Path) -> list[dict[str, Any]]:
    """Return the rows of the search's index."""
    text = (site / "data" / "search.js").read_text(encoding="ascii")
    value = json.loads(text.removeprefix("window.featdslSearch=").removesuffix(";\n"))
    return [dict(zip(value["fields"], row, strict=True)) for row in value["rows"]]


def test_pages_are_valid_small_and_linked(site: Path) -> None:
    """Every page has one main heading, a title, a language and no broken link."""
    read = pages(site)
    assert len(read) == 120 + 6 + 1 + 1 + 10 + 1 + 8 + 3
    assert {path: page.faults for path, page in read.items() if page.faults} == {}
    assert broken_links(site) == []
    for path, page in read.items():
        assert (site / path).stat().st_size < 200_000, path
        assert [tag for tag, _ in page.tags].count("h1") == 1, path
        assert ("html", "en") in [(tag, given.get("lang")) for tag, given in page.tags], path


def test_a_feature_answers_at_a_glance(tmp_path: Path) -> None:
    """Owner and contact, type and unit, freshness, completeness, use, code, rules, history and what is like it."""
    document, entry = with_feature(generated(30), unit="EUR", dtype="DOUBLE")
    page = page_of(document, entry, tmp_path)
    for said in (entry.description, entry.owner, f"{entry.owner}@example.com", "DOUBLE EUR", entry.freshness.status, "NULL of",
                 entry.usage.import_line, entry.usage.training, entry.usage.serving, "avg(CASE WHEN value > 0 THEN value END)",
                 entry.similar[0], "change definition", "sql amount amount / 100", "by dana, commit 8f2a91c0d7e6, state 9", entry.rules[0].rule):  # fmt: skip
        assert said in page.text, said
    assert ("svg", "img") in [(tag, given.get("role")) for tag, given in page.tags]
    assert f"feature {entry.address}" in [
        given.get("data-lineage-around") or given.get("data-lineage") for _, given in page.tags
    ]
    assert [tag for tag, given in page.tags if "data-copy" in given] == ["button"] * 4


def test_a_feature_that_is_built_twice_says_so(tmp_path: Path) -> None:
    """With a link to the other, on the page and as a filter of the search."""
    document = generated(30)
    other = document.features[5]
    document, entry = with_feature(document, same=(other.address,))
    page = page_of(document, entry, tmp_path)
    assert f"It is built more than once. {other.address} ({other.owner}) computes the same values" in page.text
    assert [row["name"] for row in index_of(tmp_path) if "built more than once" in row["status"]] == [entry.address]


def test_a_deprecated_feature_names_its_replacement(site: Path) -> None:
    """With the day from which it may be removed."""
    entry = next(each for each in generated(120).features if each.deprecated)
    page = Page((site / page_path("feature", entry.address)).read_text())
    assert (
        "Deprecated since 2026-09-01. Its owner may remove it from 2027-01-01. Use balance_0.mean_balance_0d."
        in page.text
    )


def test_a_feature_without_figures_says_why(tmp_path: Path) -> None:
    """It was not measured, or it is computed when read."""
    document, entry = with_feature(generated(30), statistics=())
    assert "No statistics yet." in page_of(document, entry, tmp_path / "a").text
    read = replace(entry.freshness, status="computed when read")
    document, entry = with_feature(generated(30), statistics=(), freshness=read)
    assert "Its values are computed when they are read" in page_of(document, entry, tmp_path / "b").text
    document, entry = with_feature(generated(30), statistics=())
    run = generated(30).features[0].statistics[0]
    broken = replace(run, column=replace(run.column, bins=(), problem="The values cannot be compared."))
    document, entry = with_feature(generated(30), statistics=(broken,))
    assert "Some figures are missing: The values cannot be compared." in page_of(document, entry, tmp_path / "c").text


def test_the_overview_lists_what_matters(site: Path) -> None:
    """The most used first, and the number of stale features with a link to all of them."""
    page = Page((site / "index.html").read_text())
    document = generated(120)
    used = max(document.features, key=lambda each: len(each.used_in))
    assert page.text.index("Most used") < page.text.index(used.address)
    stale = sum(each.freshness.status == "stale" for each in document.features)
    assert f"Stale {stale}" in page.text
    assert "search.html#kind=feature&freshness=stale" in page.links
    assert all(f"{team.name}@example.com" in page.text for team in document.teams)


def test_the_index_has_all_definitions_with_what_filters_need(site: Path) -> None:
    """The search reads nothing else."""
    document, rows = generated(120), index_of(site)
    assert len(rows) == 120 + 6 + 1 + 1 + 10 + 1 + 8
    entry = next(each for each in document.features if each.used_in)
    row = next(row for row in rows if row["name"] == entry.address)
    assert row["path"] == page_path("feature", entry.address)
    assert (row["owner"], row["entity"], row["type"]) == (entry.owner, "user", entry.dtype)
    assert row["tags"] == list(entry.tags)
    assert row["freshness"] == entry.freshness.status
    assert row["sets"] == [use.feature_set for use in entry.used_in]
    assert "in use" in row["status"]
    assert "value" in row["words"].split()
    assert all((site / row["path"]).is_file() for row in rows)


def test_lists_of_any_length_have_a_limit(tmp_path: Path) -> None:
    """A page has so many rows, and a link to the search for all."""
    write_site(generated(210), tmp_path)
    page = Page((tmp_path / "entities" / "user.html").read_text())
    assert "The first 200 of 210. See all in the search." in page.text
    assert "../search.html#entity=user" in page.links


def test_a_reference_to_what_is_gone_is_no_link(tmp_path: Path) -> None:
    """A set may pin a feature that was removed."""
    document = generated(30)
    document, _ = with_feature(document, similar=("gone.feature",), source="gone_source")
    write_site(document, tmp_path)
    assert broken_links(tmp_path) == []
