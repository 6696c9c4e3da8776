"""Name the datasets of a project as OpenLineage does, so that the lineage of other tools joins on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from featdsl.definitions import urls
from featdsl.definitions.sources import SourceDefinition

if TYPE_CHECKING:
    from featdsl.project.settings import Project
    from featdsl.project.store_url import Place

_POSTGRES_PORT = "5432"
_SPARK_PORT = "15002"


@dataclass(frozen=True, order=True)
class Dataset:
    """The namespace of a data source, and the name of a dataset in it."""

    namespace: str
    name: str


def of_source(source: SourceDefinition, project: Project) -> tuple[Dataset, ...]:
    """Return the datasets of a source that reads data itself: one for each path.

    Rows from memory, from a function and pushed rows have no name elsewhere: their namespace is the project's own.
    """
    match source.format:
        case "parquet" | "csv" | "json" | "iceberg" | "delta":
            return tuple(_file(path, project) for path in source.location)
        case "table":
            return (_table(*source.location, project=project),)
        case "cluster":
            return (Dataset(_spark(project), source.location[0]),)
        case _:
            return (Dataset(f"featdsl://{project.name}", f"source.{source.name}"),)


def of_table(name: str, project: Project) -> Dataset:
    """Return a stored table."""
    return Dataset(_store(project), f"tables.{name}")


def of_view(environment: str, group: str, project: Project) -> Dataset:
    """Return the view of a group in an environment."""
    return Dataset(_store(project), f"{environment}.{group}")


def _file(path: str, project: Project) -> Dataset:
    if not urls.scheme(path):
        return Dataset("file", (project.root / path).as_posix())
    parts = urlsplit(path)
    host = parts.hostname or ""
    return Dataset(f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}", parts.path.lstrip("/"))


def _table(database: str, table: str, *, project: Project) -> Dataset:
    variable = urls.variable(database)
    database = os.environ.get(variable, database) if variable else database
    if server := urls.server(database):
        known = dict(server.parameters)
        name = table if "." in table else f"public.{table}"
        return Dataset(_postgres(known), f"{known.get('dbname') or known.get('user', '')}.{name}")
    if file := urls.sqlite(database):
        return Dataset(f"sqlite://{(project.root / file).as_posix()}", table)
    if urls.variable(database):  # its variable is not set here
        return Dataset(database, table)
    return Dataset(f"duckdb://{(project.root / database).as_posix()}", table if "." in table else f"main.{table}")


def _postgres(parameters: dict[str, str]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or "localhost"
    return f"postgres://{host}:{parameters.get('port') or _POSTGRES_PORT}"


def _spark(project: Project) -> str:
    url = project.engine_url or "local"
    if url == "local":
        return "spark://local"
    host, _, port = urlsplit(url).netloc.partition(":")
    return f"spark://{host}:{port or _SPARK_PORT}"


def _store(project: Project) -> str:
    place = project.place
    return _lake(place) if place else f"duckdb://{(project.store / 'store.duckdb').as_posix()}"


def _lake(place: Place) -> str:
    """Return the namespace of a team store: the database of its catalogue."""
    known = dict(place.options)
    return f"ducklake:{_postgres(known)}/{known.get('dbname') or known.get('user', '')}"
