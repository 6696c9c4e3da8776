"""Content that is not meant well, or that is too much: it shows as text, and the build goes on."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from featdsl.definitions.statistics import Bin, ColumnStatistics, TopValue
from featdsl.discovery.catalogue_entries import CatalogueDocument
from featdsl.site.build import write_site
from featdsl.site.files import DataScript
from tests.site.documents import generated
from tests.site.reading import Page, broken_links, pages

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "end of a script": "</script><script>alert(1)</script>",
    "end of a title": "</title></pre></code></table><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" x=\'y\'',
    "entity": "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "Jinja": "{{ 7 * 7 }}{% for x in y %}{# c #}",
    "Markdown": "[click](javascript:alert(1)) **bold** `code` ![x](http://evil.example/x.png)",
    "CDATA": "<![CDATA[x]]> <!-- x --!> <?php ?>",
    "JavaScript lines": "a\u2028b\u2029c\\u003cscript\\u003e",
}


def changed(value: Any, text: str) -> Any:
    """Return data with a text in place of every text that users choose; addresses and kinds of words stay."""
    kept = {"kind", "address", "name", "group", "entity", "source", "feature_set", "features", "groups", "sets", "models", "sources",
            "uses", "readers", "similar", "derived", "inputs", "used_in", "versions", "status", "severity", "during",
            "held_by", "feature", "lineage", "owner", "at", "computed_at", "newest", "first_applied", "state_at", "dtype"}  # fmt: skip
    match value:
        case str():
            return text
        case tuple() | list():
            return type(value)(changed(each, text) for each in value)
        case dict():
            return {key: each if key in {"feature", "location"} else changed(each, text) for key, each in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = {field.name for field in dataclasses.fields(value)}
            texts = {name: changed(getattr(value, name), text) for name in names - kept}
            deep = {
                name: changed(getattr(value, name), text) for name in names & kept if _has_entries(getattr(value, name))
            }
            return replace(value, **texts, **deep)
        case _:
            return value


def _has_entries(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and dataclasses.is_dataclass(value[0])


def hostile(text: str) -> CatalogueDocument:
    """Return a catalogue whose texts are all this one."""
    document: CatalogueDocument = changed(generated(8), text)
    return document


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_shows_as_text(tmp_path: Path, text: str) -> None:
    """No text makes an element, an attribute or a link."""
    write_site(generated(8), tmp_path / "harmless")
    write_site(hostile(text), tmp_path / "hostile")
    harmless, read = pages(tmp_path / "harmless"), pages(tmp_path / "hostile")
    assert read.keys() == harmless.keys()
    for path, page in read.items():
        assert page.faults == [], path
        scripts = [given.get("src", "").partition("?")[0] for tag, given in page.tags if tag == "script"]
        assert scripts == [
            given.get("src", "").partition("?")[0] for tag, given in harmless[path].tags if tag == "script"
        ], path
        assert {tag for tag, _ in page.tags} <= {tag for each in harmless.values() for tag, _ in each.tags} | {"ul"}, (
            path
        )
        assert not any(name.startswith("on") for _, given in page.tags for name in given), path
        assert not any(link.lower().startswith(("javascript:", "http:", "data:")) for link in page.links), path
    shown = " ".join(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").split())
    feature = next(page for path, page in read.items() if path.startswith("features/"))
    assert feature.text.count(shown) > 10
    assert broken_links(tmp_path / "hostile") == []


@pytest.mark.parametrize("character", ["\u202e", "\u2066", "\x1b", "\x00", "\u200f", "\ufeff", "\ud800"])
def test_characters_that_act_show_as_their_codes(tmp_path: Path, character: str) -> None:
    """Bidi marks, control characters and halves of characters cannot turn what stands beside them."""
    write_site(hostile(f"safe{character}gpj.exe"), tmp_path)
    for file in tmp_path.rglob("*"):
        if file.suffix in {".html", ".js"} and "vendor" not in file.parts:
            assert character not in file.read_text(encoding="utf-8"), file
    feature = next(page for path, page in pages(tmp_path).items() if path.startswith("features/"))
    code = character.encode("unicode_escape", "surrogatepass").decode() if character != "\ud800" else "\\ud800"
    assert f"safe{code}gpj.exe" in feature.text


def test_the_search_index_is_one_statement_of_plain_data(tmp_path: Path) -> None:
    """Hostile text cannot end the script, and a JavaScript engine reads the same values as Python."""
    write_site(hostile("".join(HOSTILE.values())), tmp_path)
    text = (tmp_path / "data" / "search.js").read_text(encoding="ascii")
    assert "<" not in text
    value = json.loads(text.removeprefix("window.featdslSearch=").removesuffix(";\n"))
    assert any("alert(1)" in str(row) for row in value["rows"])
    node = which("node")
    if node:
        script = f"globalThis.window = globalThis; {text}; console.log(JSON.stringify(window.featdslSearch))"
        done = subprocess.run([node, "-"], input=script, capture_output=True, text=True, check=True, encoding="utf-8")
        assert json.loads(done.stdout) == value


def test_numbers_that_json_lacks_are_texts() -> None:
    """A script has no NaN."""
    script = DataScript(path="x.js", name="x", value=[math.nan, math.inf, -math.inf, 1.5])
    assert script.text == 'window.x=["nan","inf","-inf",1.5];\n'


BIG = "x" * 2_000_000
BLOB = "\\x00\\xFF" * 500_000


@pytest.mark.parametrize("text", [BIG, BLOB, "<" * 2_000_000, "'" * 500_000, "/*" * 500_000, "\n" * 100_000, " " * 100_000],
                         ids=["letters", "blob", "brackets", "quotes", "comments", "lines", "spaces"])  # fmt: skip
def test_what_is_too_long_is_cut(tmp_path: Path, text: str) -> None:
    """A page stays under 200 KB if one text of it is 2 MB long, and tells that there is more."""
    document = generated(2)
    entry = document.features[0]
    run = replace(
        entry.statistics[0],
        column=ColumnStatistics(dtype="VARCHAR", nulls=1, minimum=text, top=(TopValue(value=text, rows=5),)),
    )
    long = replace(entry, description=text, statistics=(run,))
    write_site(replace(document, features=(long, *document.features[1:])), tmp_path / "a")
    path = f"features/{entry.address}.html"
    assert (tmp_path / "a" / path).stat().st_size < 200_000
    coded = replace(entry, definition=entry.definition | {"sql": text})
    write_site(replace(document, features=(coded, *document.features[1:])), tmp_path / "b")
    assert (tmp_path / "b" / path).stat().st_size < 200_000
    assert "characters in all" in Page((tmp_path / "b" / path).read_text()).text


@pytest.mark.parametrize(
    "column",
    [
        ColumnStatistics(dtype="DOUBLE", nulls=0, not_finite=50, mean=math.nan, deviation=math.inf, minimum="nan", maximum="inf"),
        ColumnStatistics(dtype="DOUBLE", nulls=50, distinct=0),
        ColumnStatistics(dtype="DOUBLE", nulls=0, bins=(Bin(low=1.0, high=1.0, rows=50),)),
        ColumnStatistics(dtype="DOUBLE", nulls=0, bins=(Bin(low=-math.inf, high=math.nan, rows=50),)),
        ColumnStatistics(dtype="DOUBLE", nulls=0, bins=(Bin(low=-1.7e308, high=0.0, rows=25), Bin(low=0.0, high=1.7e308, rows=25))),
        ColumnStatistics(dtype="DOUBLE", nulls=0, bins=(Bin(low=0.0, high=5e-324, rows=50),)),
        ColumnStatistics(dtype="TIMESTAMP", nulls=0, bins=(Bin(low=-1e13, high=1e14, rows=50),)),
        ColumnStatistics(dtype="BLOB", nulls=0, top=(TopValue(value="\\x00\\xFF", rows=50),)),
        ColumnStatistics(dtype="VARCHAR", nulls=0, top=(TopValue(value="", rows=50),)),
        ColumnStatistics(dtype="VARCHAR", nulls=99, top=(TopValue(value="more rows than there are", rows=99),)),
        ColumnStatistics(dtype="DOUBLE", nulls=0, quantiles=("nan",) * 7),
        ColumnStatistics(dtype="DOUBLE", nulls=0, bins=tuple(Bin(low=at, high=at + 1, rows=1) for at in range(5000))),
    ],
    ids=["not finite", "all NULL", "one value", "bounds not finite", "whole range", "least range", "times out of range", "blob",
         "empty text", "too many rows", "quantiles not finite", "many bins"],
)  # fmt: skip
@pytest.mark.parametrize("rows", [0, 50])
def test_odd_statistics_have_a_page(tmp_path: Path, column: ColumnStatistics, rows: int) -> None:
    """With charts whose numbers are numbers."""
    document = generated(2)
    entry = document.features[0]
    runs = tuple(replace(run, column=replace(column, rows=rows), rows=rows) for run in entry.statistics[:3])
    write_site(replace(document, features=(replace(entry, statistics=runs), *document.features[1:])), tmp_path)
    path = tmp_path / f"features/{entry.address}.html"
    page = Page(path.read_text())
    assert page.faults == []
    assert path.stat().st_size < 100_000
    drawn = [
        value
        for tag, given in page.tags
        if tag in {"rect", "line", "circle", "polyline", "polygon"}
        for value in given.values()
    ]
    assert not any("nan" in value or "inf" in value for value in drawn)
    heights = [float(given["height"]) for tag, given in page.tags if tag == "rect"]
    assert all(height >= 0 for height in heights)
