"""Extensions of DuckDB, loaded into a session from wheels or from what DuckDB installed itself; fetched only where that is allowed."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.errors import ExtensionError, Problem
from featdsl.names import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WHEELS = "1.5.5"
"""The DuckDB that the extra `team` pins, with the wheels of its extensions."""

_NEEDS = {"iceberg": ("avro", "httpfs"), "delta": ("httpfs",)}
"""What must be loaded before, where DuckDB would look for it in its own folder."""


def load(connection: DuckDBPyConnection, name: str) -> None:
    """Load an extension by the name of its file, such as `httpfs` or `postgres_scanner`, with those that it needs.

    An installed wheel is taken first, then DuckDB's own copy, which is fetched where the session was allowed to install.
    Raises ExtensionError with the line that installs what is missing.
    """
    if _is_loaded(connection, name):
        return
    for needed in _NEEDS.get(name, ()):
        load(connection, needed)
    import duckdb

    try:
        wheel = _wheel(connection, name)
        connection.execute(f"LOAD {literal(str(wheel)) if wheel else name}")
    except duckdb.Error as error:
        if wheel:
            raise _refused(connection, name, error) from None
        _install(connection, name)


def _is_loaded(connection: DuckDBPyConnection, name: str) -> bool:
    query = "SELECT count(*) FROM duckdb_extensions() WHERE loaded AND extension_name = ?"
    return connection.execute(query, [name]).fetchall() != [(0,)]


def _wheel(connection: DuckDBPyConnection, name: str) -> Path | None:
    """Return the file of an installed wheel that belongs to this DuckDB."""
    spec = find_spec(f"duckdb_extension_{name}")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "extensions" / _version(connection) / f"{name}.duckdb_extension"
        if file.is_file():
            return file.resolve()
    return None


def _install(connection: DuckDBPyConnection, name: str) -> None:
    import duckdb

    if connection.execute("SELECT current_setting('autoinstall_known_extensions')").fetchall() != [(True,)]:
        raise _missing(connection, name)
    try:
        connection.install_extension(name)
        connection.load_extension(name)
    except duckdb.Error as error:
        raise _refused(connection, name, error) from None


def _version(connection: DuckDBPyConnection) -> str:
    """Return the version of DuckDB as its extensions write it: v1.5.5."""
    ((found,),) = connection.execute("SELECT library_version FROM pragma_version()").fetchall()
    return str(found)


def _missing(connection: DuckDBPyConnection, name: str) -> ExtensionError:
    here = _version(connection)[1:]
    what = f"DuckDB {here} has no extension {name} here."
    with suppress(PackageNotFoundError):
        if (found := version(_wheel_name(name))) != here:
            what += f" The installed {_wheel_name(name)} {found} is for another DuckDB."
    return ExtensionError(Problem("Missing extension", what, mend=_mend(name)))


def _refused(connection: DuckDBPyConnection, name: str, error: Exception) -> ExtensionError:
    what = f"DuckDB {_version(connection)[1:]} cannot load its extension {name}: {str(error).splitlines()[0]}"
    return ExtensionError(Problem("Missing extension", what, mend=_mend(name)))


def _mend(name: str) -> str:
    wheels = [f"{_wheel_name(each)}=={WHEELS}" for each in (*_NEEDS.get(name, ()), name)]
    pinned = " ".join([f"duckdb=={WHEELS}", *wheels])
    return "\n".join([
        "Install it, with the DuckDB that it belongs to: pip install 'featdsl[team]'",
        f"Or from a folder of wheels, without a network: pip install --no-index --find-links FOLDER {pinned}",
        "Or let DuckDB fetch its own: write install_extensions = true in [engine] of featproject.toml.",
    ])  # fmt: skip


def _wheel_name(name: str) -> str:
    return f"duckdb-extension-{name.replace('_', '-')}"
