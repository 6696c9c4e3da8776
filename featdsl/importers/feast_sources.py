"""Turn the data sources of Feast into sources of featdsl."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote, urlencode

from featdsl.definitions import urls
from featdsl.definitions.names import escaped
from featdsl.importers.declarations import ImportedSource
from featdsl.importers.feast_findings import FeastFindings
from featdsl.importers.feast_objects import FeastRepository, FeastSource
from featdsl.importers.names import valid_name

_FILES = {
    "": "parquet",
    "ParquetFormat": "parquet",
    "DeltaFormat": "delta",
    "parquet": "parquet",
    "csv": "csv",
    "json": "json",
}
"""Formats of featdsl by those of file sources and of Spark's."""
_TABLES = {"": "", "DeltaFormat": "delta", "IcebergFormat": "iceberg"}
_ENDINGS = {"parquet": ".parquet", "csv": ".csv", "json": ".json"}
_WHOLE_TABLE = re.compile(r"\s*select\s+\*\s+from\s+([\w.\"]+)\s*;?\s*", re.IGNORECASE)
_CLUSTER_PARTS = 3
_FAR = "../../.."
"""A relative path that goes this far up is written as an absolute one."""


class NotCarriedOverError(Exception):
    """Says why an object of Feast has no counterpart in featdsl."""


@dataclass(frozen=True)
class CarriedSource:
    """A source with the one of Feast that it was made from."""

    source: ImportedSource
    of: FeastSource

    @property
    def on_spark(self) -> bool:
        """Whether only Spark can read it."""
        return "table" in self.source.options and "database" not in self.source.options


def carried(
    repository: FeastRepository, root: Path, findings: FeastFindings
) -> tuple[dict[str, CarriedSource], dict[str, str]]:
    """Return the sources that can be carried over, by Feast's names, and the reasons why others cannot."""
    sources: dict[str, CarriedSource] = {}
    reasons: dict[str, str] = {}
    taken: set[str] = set()
    for each in repository.sources:
        location = _LOCATIONS.get(each.kind)
        if location is None:
            reasons[each.name] = _unknown(each)
            continue
        try:
            options = {**location(each, repository, root), **_times(each)}
        except NotCarriedOverError as reason:
            reasons[each.name] = str(reason)
            continue
        name = valid_name(_short(each), taken=taken, prefix="source")
        taken.add(name)
        sources[each.name] = CarriedSource(
            ImportedSource(name=name, options=options, description=each.description), each
        )
        _note(each, sources[each.name], repository, findings)
    return sources, reasons


def _short(source: FeastSource) -> str:
    """Return the name of a source; of one that has only a path or a table, its last part."""
    if source.name == source.path:
        return PurePath(source.path).stem
    return source.name.rpartition(".")[2] if source.name == source.table else source.name


def _unknown(source: FeastSource) -> str:
    if source.batch:
        return ""
    return f"featdsl reads no {source.kind}: export its rows to Parquet files, and import them with a FileSource"


def _times(source: FeastSource) -> dict[str, object]:
    """Return the options for its times. Of rows with one timestamp, Feast takes the one that was created last."""
    timestamp = source.column(source.timestamp) if source.timestamp else _only_time(source)
    return {"timestamp": timestamp, **({"tie_break": source.column(source.created)} if source.created else {})}


def _only_time(source: FeastSource) -> str:
    """Return the only column with times, as Feast does if no timestamp is named."""
    times = [name for name, dtype in source.columns if dtype.startswith("timestamp")]
    if len(times) != 1:
        raise NotCarriedOverError("its timestamp_field is not set, and its columns do not tell it")
    return times[0]


def _of_files(source: FeastSource, repository: FeastRepository, root: Path) -> dict[str, object]:
    form = _TABLES.get(source.table_format) or _FILES.get(source.format, "")
    if not form or source.table_format not in _TABLES:
        raise NotCarriedOverError(f"featdsl reads no files of format {source.table_format or source.format}")
    path = _path(source.path, Path(repository.repository), root)
    if form in {"delta", "iceberg"}:
        return {"path": path, "format": form}
    if _is_folder(source.path, Path(repository.repository)):
        return {"path": f"{path.rstrip('/')}/**/*{_ENDINGS[form]}"}
    return {"path": path, **({} if path.endswith(_ENDINGS[form]) else {"format": form})}


def _path(path: str, repository: Path, root: Path) -> str:
    """Return a path as seen from the project. Feast sees it from the repository, and knows no globs."""
    scheme = urls.scheme(path)
    if scheme and scheme != "file":
        if scheme not in urls.READ:
            raise NotCarriedOverError(f"featdsl reads local files, s3:// and https://, and no {scheme}://")
        return escaped(path)
    local = Path(path.removeprefix("file://"))
    if local.is_absolute():
        return escaped(local.as_posix())
    absolute = (repository / local).resolve()
    relative = Path(os.path.relpath(absolute, root.resolve())).as_posix()
    return escaped(absolute.as_posix() if relative.startswith(_FAR) else relative)


def _is_folder(path: str, repository: Path) -> bool:
    if urls.scheme(path):
        return not PurePath(path).suffix
    place = repository / path
    return place.is_dir() or (not place.exists() and not place.suffix)


def _of_postgres(source: FeastSource, repository: FeastRepository, root: Path) -> dict[str, object]:
    del root
    store = repository.offline_store
    if not store.get("database"):
        raise NotCarriedOverError(
            "the offline store in feature_store.yaml is not PostgreSQL, so its database is unknown"
        )
    table = _table(source).replace('"', "")
    schema = store.get("db_schema") or "public"
    return {"table": table if "." in table else f"{schema}.{table}", "database": _url(store)}


def _table(source: FeastSource) -> str:
    """Return the table of a source, also if it is named by a query that only selects its rows."""
    if source.table:
        return source.table
    if match := _WHOLE_TABLE.fullmatch(source.query):
        return match[1]
    raise NotCarriedOverError(
        "its rows come from a query: write it in DuckDB's SQL as Source(sql=...), or make it a view"
    )


def _url(store: Mapping[str, str]) -> str:
    """Return the URL of the offline store's database, without its password."""
    account = f"{quote(store['user'], safe='')}@" if store.get("user") else ""
    port = f":{store['port']}" if store.get("port") else ""
    query = f"?{urlencode({'sslmode': store['sslmode']})}" if store.get("sslmode") else ""
    return f"postgresql://{account}{store.get('host', '')}{port}/{quote(store['database'])}{query}"


def _of_spark(source: FeastSource, repository: FeastRepository, root: Path) -> dict[str, object]:
    if source.path:
        return _of_files(source, repository, root)
    parts = _table(source).replace("`", "").split(".")
    missing = ["spark_catalog", "default"][: max(0, _CLUSTER_PARTS - len(parts))]
    return {"table": ".".join([*missing, *parts])}


_LOCATIONS: Mapping[str, Callable[[FeastSource, FeastRepository, Path], dict[str, object]]] = {
    "FileSource": _of_files,
    "PostgreSQLSource": _of_postgres,
    "SparkSource": _of_spark,
}


def _note(source: FeastSource, made: CarriedSource, repository: FeastRepository, findings: FeastFindings) -> None:
    """Add what the options of a source cannot say."""
    name = made.source.name
    if source.problem:
        findings.note(
            name, f"its columns could not be read, so its types are those that Feast declares: {source.problem}"
        )
    if source.endpoint:
        host = source.endpoint.partition("://")[2] or source.endpoint
        findings.note(name, f'its server goes into featproject.toml: [engine.s3] endpoint = "{host}"')
    if "database" in made.source.options and repository.offline_store.get("password"):
        findings.note(name, "the password stays out of the declarations: set PGPASSWORD")
    if made.on_spark:
        findings.note(name, "Spark reads it: name its server in featproject.toml: [engine] url")
