"""The shape of the code: layers, the public names, what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import featdsl

PACKAGE = Path(featdsl.__file__).parent

LAYERS = {
    "words": {
        "address",
        "callables",
        "datafaults",
        "literals",
        "sourcecode",
        "checkedtext",
        "dtypes",
        "durations",
        "errors",
        "events",
        "extras",
        "inert",
        "instants",
        "exactly",
        "lossless",
        "names",
        "permissions",
        "printing",
        "reasons",
        "rules",
        "resources",
        "siblings",
        "sandbox",
        "sqlmistakes",
        "stopping",
        "typed",
        "timereading",
        "timeunits",
        "urls",
        "zones",
    },
    "what teams write": {
        "declaration",
        "entity",
        "source",
        "window",
        "feature",
        "pythonfeature",
        "group",
        "featureset",
        "deprecated",
    }
    | {"expect", "request", "shared"},
    "plain data": {"definitions", "snapshot"},
    "tools": {
        "syntax",
        "stability",
        "distributions",
        "fingerprints",
        "frames",
        "graph",
        "pointintime",
        "wide",
        "progress",
        "project",
        "scaffold",
        "selects",
        "sql",
    }
    | {
        "aggregates",
        "barenames",
        "expressions",
        "functions",
        "jsonlines",
        "macros",
        "memory",
        "modules",
        "requested",
        "shifts",
        "templates",
        "tracing",
        "windows",
    }
    | {"windows.family", "windows.frames", "windows.joins", "windows.tiles", "windows.totals"},
    "engine and storage": {
        "attach",
        "engine",
        "extensions",
        "fileschemas",
        "places",
        "stores",
        "stores.ahead",
        "stores.catalogue",
        "stores.damage",
        "stores.datafiles",
        "stores.differing",
        "stores.digests",
        "stores.ducklake",
        "stores.ducklake_extending",
        "stores.ducklake_lock",
        "stores.ducklake_session",
        "stores.ducklake_types",
        "stores.ducklake_upkeep",
        "stores.ducklake_writer",
        "stores.embedded",
        "stores.embedded_writer",
        "stores.journal",
        "stores.parts",
        "stores.lock",
        "stores.migration",
        "stores.recording",
        "stores.registry",
        "stores.secret",
        "stores.standins",
        "stores.views",
    },
    "from files to a plan": {
        "loader",
        "applied",
        "draft",
        "draft_functions",
        "draft_sources",
        "draft_features",
        "draft_inputs",
        "draft_rules",
        "catalog",
        "binding",
        "diff",
        "approving",
        "guards",
        "plan",
        "uses",
        "calls",
        "environments",
        "gc",
        "checkrows",
        "impact",
        "renames",
        "subset",
        "steps",
        "frozen",
        "setversions",
        "oldnames",
        "reviewed",
        "planner",
        "planfile",
        "codeowners",
        "export",
        "foreign",
        "pull",
        "apply",
        "building",
        "doctor",
        "listings",
        "newrows",
        "recipes",
        "refresh",
        "comparison",
        "preview",
    }
    | {
        "render",
        "render.differences",
        "render.fold",
        "render.phrases",
        "render.pullrequest",
        "render.reach",
        "render.shifts",
        "render.sizes",
        "render.terminal",
    }
    | {"pipeline"},
    "reading": {
        "clients",
        "deprecations",
        "filters",
        "selection",
        "spines",
        "strategies",
        "strategies.place",
        "strategies.values",
        "strategies.windows",
        "trainingset",
        "locks",
        "outdated",
        "past",
        "serving",
        "checks",
        "lineage",
        "discovery",
        "adhoc",
    }
    | {"featurestore"},
    "surfaces": {
        "tell",
        "cli",
        "cli_projects",
        "cli_shared",
        "cli_sql",
        "cli_state",
        "cli_store",
        "cli_upkeep",
        "__main__",
        "__init__",
    },
}
"""Each layer may import its own modules and those of the layers above it in this table, never below."""


def modules() -> dict[str, set[str]]:
    """Return each module of the package with those it imports anywhere, also in functions and for types only."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        inside = file.relative_to(PACKAGE)
        if inside.parts[0] != "template":
            name = ".".join(inside.with_suffix("").parts).removesuffix(".__init__")
            found[name] = imports(file)
    return found


def imports(file: Path) -> set[str]:
    """Return the modules of the package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "featdsl":
            inside = node.module.removeprefix("featdsl").removeprefix(".")
            for name in node.names:
                submodule = f"{inside}.{name.name}".removeprefix(".")
                found.add(submodule if not inside or _is_module(submodule) else inside)
    return found


def _is_module(name: str) -> bool:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py").exists()


def test_every_module_has_a_layer() -> None:
    """A new module is placed in the table on purpose."""
    assert {module for layer in LAYERS.values() for module in layer} == set(modules())


def test_imports_point_one_way() -> None:
    """No module imports from a layer below its own."""
    order = {module: number for number, layer in enumerate(LAYERS.values()) for module in layer}
    wrong = {
        f"{module} imports {other}"
        for module, others in modules().items()
        for other in others
        if order[other] > order[module]
    }
    assert wrong == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Within a layer, too, imports have no cycle."""
    assert list(TopologicalSorter(modules()).static_order())


def test_all_names_are_public_and_there() -> None:
    """`__all__` is exactly what the package offers."""
    assert sorted(featdsl.__all__) == featdsl.__all__
    assert all(getattr(featdsl, name) for name in featdsl.__all__)


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import featdsl", {"duckdb", "sqlglot", "networkx", "jinja2", "pandas", "polars", "pyarrow", "rich", "click"}),
        ("import featdsl.cli", {"duckdb", "sqlglot", "networkx", "jinja2", "pandas", "polars", "pyarrow", "rich"}),
        ("from featdsl import FeatureStore", {"sqlglot", "networkx", "jinja2", "pandas", "polars", "pyarrow", "rich"}),
    ],
)
def test_importing_loads_only_what_it_needs(code: str, never: set[str]) -> None:
    """Heavy libraries load when their work starts, not before."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert never.intersection(loaded) == set()


def test_help_loads_no_engine() -> None:
    """`featdsl --help` is as quick as click allows: it loads neither pydantic nor anything heavier."""
    script = "import sys, featdsl.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    never = {"pydantic", "duckdb", "sqlglot", "networkx", "jinja2", "pandas", "polars", "rich"}
    assert never.intersection(loaded) == set()
