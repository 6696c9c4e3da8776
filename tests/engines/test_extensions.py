"""What is said where an extension of DuckDB is missing."""

from __future__ import annotations

import tomllib
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest

from featdsl.engines.duckdb import extensions
from featdsl.errors import ExtensionError
from tests.conftest import Workspace
from tests.engines.test_sources import declare

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def session(folder: Path, *, may_install: bool = False) -> duckdb.DuckDBPyConnection:
    """Return a session with nothing installed, which would fetch from a folder that is empty."""
    return duckdb.connect(
        config={
            "autoinstall_known_extensions": may_install,
            "extension_directory": str(folder / "installed"),
            "custom_extension_repository": str(folder / "repository"),
        }
    )


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find no wheels, also where there are some."""
    monkeypatch.setattr(extensions, "find_spec", lambda _: None)


@pytest.mark.usefixtures("no_wheels")
def test_nothing_is_fetched_unasked(tmp_path: Path) -> None:
    """A missing extension is an error with every way to get it, and each line can be typed."""
    with pytest.raises(ExtensionError) as refused:
        extensions.load(session(tmp_path), "postgres_scanner")
    assert str(refused.value) == (
        "Missing extension\n"
        f"  The extension postgres_scanner of DuckDB {duckdb.__version__} is not installed.\n"
        "  Install it with the matching version of DuckDB: pip install 'featdsl[team]'\n"
        "  Or, without a network, from a folder of wheels: pip install --no-index --find-links FOLDER"
        " duckdb==1.5.5 duckdb-extension-postgres-scanner==1.5.5\n"
        "  Or let DuckDB download it: set install_extensions = true under [engine] in featproject.toml."
    )


@pytest.mark.usefixtures("no_wheels")
def test_what_an_extension_needs_is_named_too(tmp_path: Path) -> None:
    """Iceberg is of no use without the two that it builds on."""
    with pytest.raises(ExtensionError, match="The extension avro of DuckDB .* is not installed"):
        extensions.load(session(tmp_path), "iceberg")


@pytest.mark.usefixtures("no_wheels")
def test_allowed_to_install_it_tells_why_that_failed(tmp_path: Path) -> None:
    """What DuckDB says of the place that it fetches from is passed on."""
    with pytest.raises(ExtensionError, match=r"cannot load the extension httpfs: .*repository"):
        extensions.load(session(tmp_path, may_install=True), "httpfs")


def test_the_extra_pins_what_is_suggested() -> None:
    """The wheels of the extra `team` are those of one DuckDB, which the messages name."""
    extra = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["team"]
    assert {each.partition("==")[2] for each in extra if each.startswith("duckdb")} == {extensions.WHEELS}


FAR = {
    "postgres_scanner": 'table="public.shoes", database="env:WAREHOUSE_URL"',
    "sqlite_scanner": 'table="shoes", database="sqlite:shop.db"',
    "httpfs": 'path="s3://bucket/shoes.parquet"',
    "avro": 'path="lake", format="iceberg"',
    "delta": 'path="lake", format="delta"',
}


@pytest.mark.skipif(find_spec("duckdb_extension_httpfs") is not None, reason="the extensions are installed here")
@pytest.mark.parametrize("name", FAR)
def test_a_source_that_needs_an_extension(workspace: Workspace, name: str) -> None:
    """Plan tells what is missing and where it is needed; beside an export it plans on, and says what it did not check."""
    declare(workspace, 'shoes = Source("shoes", path="shoes.csv")').write({"shoes.csv": "user_id,size\n1,10\n"})
    workspace.apply()
    assert workspace.run("export", "out.json").returncode == 0
    declare(workspace, f'shoes = Source("shoes", {FAR[name]})')
    # DuckDB looks for its own extensions in the home folder; this one has none.
    here = {"HOME": str(workspace.root), "WAREHOUSE_URL": "postgresql://ann:geheim@127.0.0.1:1/shop"}
    done = workspace.run("plan", **here)
    assert done.returncode == 1
    first = "httpfs" if name == "delta" else name
    assert done.stderr.startswith(
        "Missing extension\n"
        f"  source shoes: The extension {first} of DuckDB {duckdb.__version__} is not installed.\n"
        "  features/shop.py:7\n"
        "  Install it with the matching version of DuckDB: pip install 'featdsl[team]'\n"
    )
    assert "geheim" not in done.stderr
    against = workspace.run("plan", "--against", "out.json", **here)
    assert against.returncode == 0, against.stderr
    assert "The columns of source shoes were not checked" in against.stdout
