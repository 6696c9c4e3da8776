"""The shape of the code: packages, the public names, what an import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import featdsl

PACKAGE = Path(featdsl.__file__).parent

PACKAGES = {
    "errors": set[str](),
    "definitions": {"errors"},
    "declarations": {"errors", "definitions"},
    "project": {"errors", "definitions", "declarations"},
    "sql": {"errors", "definitions", "project"},
    "engines": {"errors", "definitions", "declarations", "project", "sql"},
    "stores": {"errors", "definitions", "project", "engines"},
    "query": {"errors", "definitions", "declarations", "project", "engines"},
    "online": {"errors", "definitions", "project", "engines", "query"},
    "served": {"errors", "definitions", "project", "engines", "query"},
    "catalog": {"errors", "definitions", "declarations", "project", "sql", "engines"},
    "plan": {"errors", "definitions", "project", "sql", "engines", "stores"},
    "apply": {"errors", "definitions", "project", "engines", "stores", "query", "plan"},
    "push": {"errors", "definitions", "engines", "stores", "apply"},
    "discovery": {"errors", "definitions", "sql", "engines", "stores", "query", "plan"},
    "pipeline": {
        "errors",
        "definitions",
        "declarations",
        "project",
        "sql",
        "engines",
        "stores",
        "catalog",
        "plan",
        "apply",
    },
}
"""Each package with the packages that it may import. A package that is not listed stands at the edge: see EDGE."""
EDGE = (
    "trying",
    "testing",
    "render",
    "notebook",
    "states",
    "publishing",
    "serving",
    "documents",
    "registry_calls",
    "featurestore",
    "__init__",
    "shared",
    "site",
    "server",
    "integrations",
    "ci",
    "importers",
    "assistants",
    "cli",
    "__main__",
)
"""These may import every package above, and the ones before them in this order."""
APART = {
    "engines.lookups": "engines.duckdb",
    "engines.request_columns": "engines.duckdb",
    "stores.embedded": "stores.ducklake",
    "stores.ducklake": "stores.embedded",
}
"""Parts of a package that may not import another part of it."""


@cache
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
                found.add(submodule if _is_module(submodule) else inside or "__init__")
    return found


def _is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.joinpath("__init__.py").exists()


def package(module: str) -> str:
    """Return the package, or the module beside the packages, that a module is in."""
    return module.partition(".")[0]


def may_import() -> dict[str, set[str]]:
    """Return each package with the packages that it may import."""
    edge = {name: {*PACKAGES, *EDGE[:place]} for place, name in enumerate(EDGE)}
    return {**PACKAGES, **edge}


def test_every_module_is_in_a_package_of_the_table() -> None:
    """A new package is placed in the table on purpose."""
    assert {package(module) for module in modules()} == set(may_import())


def test_imports_point_one_way() -> None:
    """No module imports from a package that its own may not know."""
    allowed = may_import()
    wrong = {
        f"{module} imports {other}"
        for module, others in modules().items()
        for other in others
        if package(other) != package(module) and package(other) not in allowed[package(module)]
    }
    assert wrong == set()


def test_the_table_allows_no_more_than_is_needed() -> None:
    """An arrow that no import needs any more leaves the table."""
    used: dict[str, set[str]] = {}
    for module, others in modules().items():
        used.setdefault(package(module), set()).update(
            package(other) for other in others if package(other) != package(module)
        )
    assert {name: used[name] for name in PACKAGES} == PACKAGES


def test_parts_of_a_package_keep_apart() -> None:
    """What is the same for every engine knows no engine, and one store does not know the other."""
    wrong = {
        f"{module} imports {other}"
        for part, hidden in APART.items()
        for module, others in modules().items()
        for other in others
        if f"{module}.".startswith(f"{part}.") and f"{other}.".startswith(f"{hidden}.")
    }
    assert wrong == set()


def test_who_names_an_engine() -> None:
    """Only the modules that choose an engine: all others reach it by the protocols of featdsl.engines."""
    choosing = {"pipeline", "states", "trying", "publishing", "featurestore", "notebook", "stores", "engines"}
    named = {
        module
        for module, others in modules().items()
        if package(module) not in choosing and any(f"{other}.".startswith("engines.duckdb.") for other in others)
    }
    assert named == set()


def test_the_packages_are_read_from_bottom_to_top() -> None:
    """The table is in the order of the pipeline: a package imports only packages that stand before it."""
    order = list(PACKAGES)
    assert all(order.index(other) < order.index(name) for name, others in PACKAGES.items() for other in others)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Within a package, too, imports have no cycle."""
    assert list(TopologicalSorter(modules()).static_order())


def test_a_public_class_has_a_name_of_its_own() -> None:
    """One name means one thing in the whole package."""
    found: dict[str, list[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(file.relative_to(PACKAGE)))
    assert {name: files for name, files in found.items() if len(files) > 1} == {}


def test_all_names_are_public_and_there() -> None:
    """`__all__` is exactly what the package offers."""
    assert sorted(featdsl.__all__) == featdsl.__all__
    assert all(getattr(featdsl, name) for name in featdsl.__all__)


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import featdsl", {"duckdb", "sqlglot", "networkx", "jinja2", "pandas", "polars", "pyarrow", "rich", "click"}),
        ("import featdsl.cli.main", {"duckdb", "sqlglot", "networkx", "jinja2", "pandas", "polars", "pyarrow", "rich"}),
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
    script = "import sys, featdsl.cli.main as c\ntry: c.main(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    never = {"pydantic", "duckdb", "sqlglot", "networkx", "jinja2", "pandas", "polars", "rich"}
    assert never.intersection(loaded) == set()
