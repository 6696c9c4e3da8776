"""Print a Feast repository as JSON. Runs in a Python that has Feast, which may be another one than featdsl's.

So this file imports only the standard library and Feast: `python feast_reader.py REPOSITORY`. What the repository itself
prints goes to the standard error.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

_COLUMNS_OF = {"FileSource", "PostgreSQLSource"}
"""Sources whose columns are looked up. Others would start a cluster or need an account."""
_SETTINGS = ("type", "host", "port", "database", "db_schema", "user", "path", "sslmode")
"""Settings of the offline store that say where it is. Its password stays where it is."""
_DUMMY = "__dummy"


def main(folder: str) -> None:
    """Write the JSON to the standard output."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    repository = Path(folder).resolve()
    os.chdir(repository)
    sys.path[0] = str(repository)  # instead of the folder of this file, whose feast.py is not Feast
    sys.dont_write_bytecode = True
    try:
        result = _read(repository)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
        result = {"error": _error(error, repository)}
    with answer:
        json.dump(result, answer)


def _read(repository: Path) -> dict[str, Any]:
    import feast
    from feast.repo_operations import parse_repo

    settings = _settings(repository)
    config = _config(repository)
    contents = parse_repo(repository)
    places = _places(repository)
    views = [*contents.feature_views, *contents.stream_feature_views]
    found = {
        "entities": contents.entities, "sources": contents.data_sources, "views": views,
        "on_demand": contents.on_demand_feature_views, "services": contents.feature_services,
        "others": [*getattr(contents, "label_views", ()), *getattr(contents, "permissions", ())],
    }  # fmt: skip
    shown = {
        "entities": _entity, "sources": lambda each: _source(each, config), "views": _view,
        "on_demand": _on_demand, "services": _service, "others": _other,
    }  # fmt: skip
    listed = {
        part: sorted(
            ({**_common(each, places), **shown[part](each)} for each in objects if each.name != _DUMMY), key=_order
        )
        for part, objects in found.items()
    }
    return {
        "feast": feast.__version__,
        "project": str(settings.get("project", "")),
        "repository": str(repository),
        "offline_store": _offline_store(settings.get("offline_store")),
        **listed,
    }


def _common(each: Any, places: dict[tuple[str, str], tuple[str, int]]) -> dict[str, Any]:
    """Return what every object of Feast has."""
    kind = type(each).__name__
    file, line = places.get((kind, each.name)) or places.get(("", each.name)) or ("", 0)
    return {
        "name": each.name, "kind": kind, "description": getattr(each, "description", "") or "",
        "owner": getattr(each, "owner", "") or "", "tags": dict(getattr(each, "tags", None) or {}), "file": file, "line": line,
    }  # fmt: skip


def _order(each: dict[str, Any]) -> tuple[str, int]:
    return each["file"], each["line"]


def _entity(entity: Any) -> dict[str, Any]:
    value_type = entity.value_type
    known = getattr(value_type, "name", "UNKNOWN") != "UNKNOWN"
    return {"key": entity.join_key, "dtype": _type_of(value_type) if known else ""}


def _type_of(value_type: Any) -> str:
    from feast.types import from_value_type

    return str(from_value_type(value_type))


def _source(source: Any, config: Any) -> dict[str, Any]:
    batch = getattr(source, "batch_source", None)
    columns, problem = _columns(source, config)
    return {
        "timestamp": getattr(source, "timestamp_field", "") or "",
        "created": getattr(source, "created_timestamp_column", "") or "",
        "mapping": dict(getattr(source, "field_mapping", None) or {}),
        "batch": batch.name if batch is not None else "",
        "columns": columns,
        "problem": problem,
        **_location(source),
    }


def _location(source: Any) -> dict[str, str]:
    """Return where the rows of a source are. Every kind of source keeps it in options of its own."""
    options = [source, *(value for name, value in vars(source).items() if name.endswith("_options"))]

    def option(*names: str) -> str:
        values = [getattr(each, name, None) for each in options for name in names]
        return next((str(value) for value in values if isinstance(value, str) and value), "")

    form = getattr(source, "file_format", None)
    table_form = getattr(source, "table_format", None)
    return {
        "path": option("path", "uri"),
        "table": option("table", "_table"),
        "query": option("query", "_query"),
        "format": form if isinstance(form, str) else type(form).__name__ if form is not None else "",
        "table_format": type(table_form).__name__ if table_form is not None else "",
        "endpoint": option("s3_endpoint_override"),
    }


def _columns(source: Any, config: Any) -> tuple[list[list[str]], str]:
    """Return the columns of a source with their types, or why they cannot be read."""
    is_parquet = (
        type(source).__name__ == "SparkSource" and getattr(source, "file_format", "") == "parquet" and source.path
    )
    if type(source).__name__ not in _COLUMNS_OF and not is_parquet:
        return [], ""
    try:
        found = _of_parquet(source.path) if is_parquet else source.get_table_column_names_and_types(config)
        return [[str(name), str(dtype)] for name, dtype in found], ""
    except Exception as error:  # noqa: BLE001 - each store raises its own
        return [], _last_line(error)


def _of_parquet(path: str) -> list[tuple[str, Any]]:
    """Return the columns of Parquet files without Spark."""
    import pyarrow.parquet as pq

    schema = pq.ParquetDataset(path).schema
    return list(zip(schema.names, schema.types, strict=True))


def _view(view: Any) -> dict[str, Any]:
    batch, stream = getattr(view, "batch_source", None), getattr(view, "stream_source", None)
    computed = [
        name for name in ("udf", "aggregations", "source_views", "feature_transformation") if getattr(view, name, None)
    ]
    return {
        "entities": [name for name in view.entities if name != _DUMMY],
        "keys": [_field(field) for field in view.entity_columns or ()],
        "features": [_field(field) for field in view.features],
        "ttl": view.ttl.total_seconds() if view.ttl else 0,
        "source": batch.name if batch is not None else "",
        "stream": type(stream).__name__ if stream is not None else "",
        "computed": computed,
        "online": bool(view.online),
        "version": getattr(view, "version", "latest") or "latest",
    }


def _field(field: Any) -> dict[str, Any]:
    return {
        "name": field.name, "dtype": str(field.dtype), "description": getattr(field, "description", "") or "",
        "tags": {name: text for name, text in (getattr(field, "tags", None) or {}).items() if not name.startswith("feast:")},
    }  # fmt: skip


def _on_demand(view: Any) -> dict[str, Any]:
    requests = view.source_request_sources.values()
    function = getattr(getattr(view, "feature_transformation", None), "udf", None) or getattr(view, "udf", None)
    return {
        "sources": [_projection(each) for each in view.source_feature_view_projections.values()],
        "request": [_field(field) for each in requests for field in each.schema],
        "features": [_field(field) for field in view.features],
        "mode": str(getattr(view.mode, "value", view.mode)),
        "singleton": bool(getattr(view, "singleton", False)),
        "computed": ["aggregations"] if getattr(view, "aggregations", None) else [],
        **_function(function),
    }


def _function(function: Any) -> dict[str, Any]:
    """Return the source of the function of an on-demand view, and where it starts."""
    try:
        lines, first = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or ""
    except (OSError, TypeError):
        return {"code": "", "code_file": "", "code_line": 0}
    return {"code": "".join(lines), "code_file": _relative(file), "code_line": first}


def _projection(projection: Any) -> dict[str, Any]:
    return {
        "view": projection.name,
        "alias": projection.name_alias or "",
        "features": [field.name for field in projection.features] or list(projection.desired_features),
        "keys": dict(projection.join_key_map or {}),
        "version": str(getattr(projection, "version_tag", None) or ""),
    }


def _service(service: Any) -> dict[str, Any]:
    return {
        "projections": [_projection(each) for each in service.feature_view_projections],
        "references": list(getattr(service, "_pending_feature_refs", ())),
    }


def _other(each: Any) -> dict[str, Any]:
    del each
    return {}


def _settings(repository: Path) -> dict[str, Any]:
    """Return feature_store.yaml, with the variables of the environment that it names."""
    import yaml

    settings = yaml.safe_load(os.path.expandvars((repository / "feature_store.yaml").read_text(encoding="utf-8")))
    return settings if isinstance(settings, dict) else {}


def _config(repository: Path) -> Any:
    """Return Feast's own settings, without the stores if one of them is not installed: no declaration needs them."""
    from feast.repo_config import RepoConfig, load_repo_config

    try:
        return load_repo_config(repository, repository / "feature_store.yaml")
    except Exception:  # noqa: BLE001 - each store checks its own settings
        plain = RepoConfig(
            project="plain", registry="registry.db", provider="local", entity_key_serialization_version=3
        )
        plain.repo_path = repository
        return plain


def _offline_store(given: Any) -> dict[str, Any]:
    store = given if isinstance(given, dict) else {"type": given}
    settings = {name: str(store[name]) for name in _SETTINGS if store.get(name) not in (None, "")}
    return {**settings, "password": "yes" if store.get("password") else ""}


def _places(repository: Path) -> dict[tuple[str, str], tuple[str, int]]:
    """Return the file and line of each object, by its class and name, and of each decorated function."""
    from feast.repo_operations import get_repo_files

    places: dict[tuple[str, str], tuple[str, int]] = {}
    for file in get_repo_files(repository):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                places.setdefault(("", node.name), (_relative(str(file)), node.lineno))
            if isinstance(node, ast.Call):
                kind = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                for name in [each.value for each in node.keywords if each.arg == "name"]:
                    if isinstance(name, ast.Constant):
                        places.setdefault((kind, str(name.value)), (_relative(str(file)), node.lineno))
    return places


def _relative(file: str) -> str:
    path = Path(file).resolve()
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else str(path)


def _error(error: BaseException, repository: Path) -> dict[str, Any]:
    """Return the last line of the repository's own code that was running, and the last line of the exception."""
    if isinstance(error, SyntaxError) and error.filename:
        return {"file": _relative(error.filename), "line": error.lineno or 0, "text": _last_line(error)}
    if mark := getattr(error, "problem_mark", None):  # of YAML
        return {
            "file": "feature_store.yaml",
            "line": mark.line + 1,
            "text": getattr(error, "problem", "") or _last_line(error),
        }
    frames = [each for each in traceback.extract_tb(error.__traceback__) if _is_own(each.filename, repository)]
    own = frames[-1] if frames else None
    return {"file": _relative(own.filename) if own else "", "line": own.lineno if own else 0, "text": _last_line(error)}


def _is_own(file: str, repository: Path) -> bool:
    path = Path(file).resolve()
    return path.is_relative_to(repository) and "site-packages" not in path.parts


def _last_line(error: BaseException) -> str:
    """Return the exception with its message, of which only the first line is of use."""
    return traceback.format_exception_only(type(error), error)[-1].strip().splitlines()[0]


if __name__ == "__main__":
    main(sys.argv[1])
