"""Load DuckDB's extensions from installed wheels or DuckDB's own folder; download them only if the project allows it."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal
from featdsl.errors import ExtensionError, Problem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

WHEELS = "1.5.5"
"""The version of DuckDB and of its extensions that the extra `team` pins."""

_NEEDS = {"iceberg": ("avro", "httpfs"), "delta": ("httpfs",)}
"""Extensions to load first: DuckDB itself would look for them only in its own folder."""


def load(connection: DuckDBPyConnection, name: str) -> None:
    """Load an extension and those that it needs, by the name of its file, such as `httpfs` or `postgres_scanner`.

    An installed wheel comes first, then DuckDB's own copy, which DuckDB downloads if the session may install extensions.
    Raises ExtensionError with the command that installs the extension.
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
    """Return the file of an installed wheel for this version of DuckDB, None if there is none."""
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
    """Return the version of DuckDB as in the paths of extensions: v1.5.5."""
    ((library_version,),) = connection.execute("SELECT library_version FROM pragma_version()").fetchall()
    return str(library_version)


def _missing(connection: DuckDBPyConnection, name: str) -> ExtensionError:
    duckdb_version, wheel = _version(connection)[1:], _wheel_name(name)
    what = f"The extension {name} of DuckDB {duckdb_version} is not installed."
    with suppress(PackageNotFoundError):
        if (installed := version(wheel)) != duckdb_version:
            what += f" The installed {wheel} {installed} is for another version of DuckDB."
    return ExtensionError(Problem("Missing extension", what, fix=_fix(name)))


def _refused(connection: DuckDBPyConnection, name: str, error: Exception) -> ExtensionError:
    what = f"DuckDB {_version(connection)[1:]} cannot load the extension {name}: {str(error).splitlines()[0]}"
    return ExtensionError(Problem("Missing extension", what, fix=_fix(name)))


def _fix(name: str) -> str:
    wheels = [f"{_wheel_name(each)}=={WHEELS}" for each in (*_NEEDS.get(name, ()), name)]
    pinned = " ".join([f"duckdb=={WHEELS}", *wheels])
    return "\n".join([
        "Install it with the matching version of DuckDB: pip install 'featdsl[team]'",
        f"Or, without a network, from a folder of wheels: pip install --no-index --find-links FOLDER {pinned}",
        "Or let DuckDB download it: set install_extensions = true under [engine] in featproject.toml.",
    ])  # fmt: skip


def _wheel_name(name: str) -> str:
    return f"duckdb-extension-{name.replace('_', '-')}"
