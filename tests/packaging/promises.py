"""What featdsl promises to keep, read from the code: one line each, so that a removal is a line that is gone.

`python -m tests.packaging.promises` records the promises of this commit in promises.txt, which a release publishes.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

import featdsl
from featdsl.cli.main import main
from featdsl.definitions import json_format
from featdsl.errors import FeatdslError
from featdsl.plan import document
from featdsl.project.settings import Settings
from featdsl.query import lockfile
from featdsl.stores import export, registry
from tests.packaging.project_files import PROJECT, text

RECORD = Path(__file__).parent / "promises.txt"

NAMES = {
    "featdsl": tuple(featdsl.__all__),
    "featdsl.testing": ("project", "table", "FeatureProject", "Given"),
    "featdsl.integrations.mlflow": ("check_served", "load_model", "log_training", "read_lock"),
    "featdsl.online": ("Lookup", "OnlineStore", "Publication", "Publisher", "Records"),
    "featdsl.online.options": (
        "OnlineOptions",
        "already_committed",
        "busy",
        "unreachable",
        "unusable",
        "without_password",
    ),
    "featdsl.online.memory": ("InMemoryOnlineStore",),
}
"""The public names of each public module."""

OF_PEERS = {
    "featdsl.integrations.airflow.FeatdslOperator": "__init__",
    "featdsl.integrations.dagster.feature_assets": "feature_assets",
}
"""Public names that need a whole product to be imported, with the function that takes their parameters: it is read as text."""

MEMBERS = {
    "featdsl.Feature": ("alias",),
    "featdsl.FeatureSet": ("evolve",),
    "featdsl.Source": ("push",),
    "featdsl.FeatureGroup": ("__init_subclass__",),
    "featdsl.FeatureStore": (
        "aget_features", "catalog", "check", "check_history", "definitions", "describe", "drift", "features", "flush_log",
        "get_feature", "get_features", "lineage", "plan", "push", "register_feature", "report", "search", "serve", "served",
        "training_set", "try_features", "unserved", "update_feature",
    ),
    "featdsl.testing.FeatureProject": ("given", "with_variables", "close"),
    "featdsl.testing.Given": ("value", "values"),
    "featdsl.online.OnlineStore": ("newest", "read", "aread", "publishing", "close"),
    "featdsl.online.Publisher": ("newest", "get", "keys", "put", "delete", "clear", "commit"),
}  # fmt: skip
"""The public members of public classes; whatever else they have is internal."""

MADE_BY_FEATDSL = {"FeatureAlias", "FeatureGroup", "FeatureProject", "Given", "OnlineStore", "Publisher"}
"""Classes that no user makes by a call, beside the exceptions."""

FORMATS = {
    "store": registry.FORMAT,
    "plan file": document.FORMAT,
    "lock file": lockfile.FORMAT,
    "export": export.FORMAT,
    "JSON of commands": json_format.FORMAT,
}


def current() -> list[str]:
    """Return the promises of the code, sorted."""
    return sorted({*_names(), *_of_peers(), *_members(), *_commands(main, "featdsl"), *_settings(Settings), *_rest()})


def recorded() -> list[str]:
    """Return the promises of the last release, or of the coming first one."""
    return RECORD.read_text(encoding="utf-8").splitlines()


def _names() -> Iterator[str]:
    for module, names in NAMES.items():
        for name in names:
            found, path = getattr(import_module(module), name), f"{module}.{name}"
            yield path
            if isinstance(found, type) and issubclass(found, Warning | FeatdslError):
                yield from (f"{path} is a {each.__name__}" for each in found.__mro__[1:-2])
            elif name not in MADE_BY_FEATDSL:
                yield from _parameters(found, path)


def _of_peers() -> Iterator[str]:
    for path, function in OF_PEERS.items():
        tree = ast.parse(text(f"{path.rpartition('.')[0].replace('.', '/')}.py"))
        (made,) = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == function)
        places = [each.arg for each in made.args.args if each.arg != "self"]
        required = len(places) - len(made.args.defaults)
        yield path
        yield from (_line(path, name, str(i + 1), optional=i >= required) for i, name in enumerate(places))
        for name, default in zip(made.args.kwonlyargs, made.args.kw_defaults, strict=True):
            yield _line(path, name.arg, "keyword", optional=default is not None)


def _members() -> Iterator[str]:
    for owner, members in MEMBERS.items():
        module, _, name = owner.rpartition(".")
        for member in members:
            path = f"{owner}.{member}"
            yield path
            found = inspect.getattr_static(getattr(import_module(module), name), member)
            if callable(found := getattr(found, "__func__", found)):
                yield from _parameters(found, path)


def _parameters(function: Any, path: str) -> Iterator[str]:
    """Yield a line for each parameter: its place or that it goes by keyword, and whether it may be left out."""
    named = [
        each for each in inspect.signature(function).parameters.values() if each.name not in {"self", "cls", "unknown"}
    ]
    for place, each in enumerate(named, start=1):
        how = "keyword" if each.kind is each.KEYWORD_ONLY else str(place)
        optional = each.default is not each.empty or each.kind in {each.VAR_KEYWORD, each.VAR_POSITIONAL}
        yield _line(path, each.name, how, optional=optional)


def _line(path: str, parameter: str, how: str, *, optional: bool) -> str:
    return f"{path}({parameter}) {how}{' optional' if optional else ''}"


def _commands(command: click.Command, path: str) -> Iterator[str]:
    yield path
    for each in command.params:
        if isinstance(each, click.Argument):
            yield f"{path} {each.name.upper() if each.name else ''}" + ("" if each.required else " optional")
        else:
            yield from (f"{path} {name}" for name in (*each.opts, *each.secondary_opts))
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(inner, f"{path} {name}")


def _settings(table: type[BaseModel], path: str = "setting ") -> Iterator[str]:
    for name, field in table.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _settings(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}"


def _rest() -> Iterator[str]:
    yield from (f"extra {name}" for name in PROJECT["optional-dependencies"] if not name.startswith("dev"))
    yield from (f"format {name} {number}" for name, number in FORMATS.items())
    failures = (
        each for each in vars(featdsl.errors).values() if isinstance(each, type) and issubclass(each, FeatdslError)
    )
    yield from (f"exit code {each.exit_code} of {each.__name__}" for each in failures)
    yield from (f"entry point {group}" for group in ("featdsl.online_stores", *PROJECT["entry-points"]))


if __name__ == "__main__":
    RECORD.write_text("\n".join(current()) + "\n", encoding="utf-8")
