"""Import a features package afresh, and collect every declaration and every mistake."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featdsl import DeclarationError, Feature
from featdsl.catalog import loader
from featdsl.errors import Problem
from featdsl.project import settings
from tests.conftest import BANK, Workspace

ACCOUNTS = "features/accounts/__init__.py"
LENDING = "features/lending/__init__.py"
Edit = Callable[[str, str, str], None]


@pytest.fixture
def declared(workspace: Workspace) -> Workspace:
    """The small project; loading it needs no data."""
    return workspace.write(BANK)


def mistakes(workspace: Workspace) -> list[str]:
    """Return the mistakes that loading finds."""
    loaded = loader.load(settings.load(workspace.root))
    return [str(problem.seen_from(workspace.root)) for problem in loaded.problems]


def addresses(workspace: Workspace) -> list[str]:
    """Return the addresses that loading finds, in import order."""
    loaded = loader.load(settings.load(workspace.root))
    assert loaded.problems == ()
    return [f"{each.kind} {each.address}" for each in loaded.declarations]


# Declarations


def test_every_declaration_is_found(declared: Workspace) -> None:
    """Modules are imported by name, regardless of which module imports which."""
    assert addresses(declared) == [
        "entity user", "source accounts", "feature user_profile.age", "feature user_profile.income",
        "group user_profile", "feature affordability.monthly", "group affordability", "set credit_risk@1",
        "set credit_risk@2", "model loan_default",
    ]  # fmt: skip


def test_places_are_the_lines_of_the_files(declared: Workspace) -> None:
    """Each declaration has its file and line."""
    loaded = loader.load(settings.load(declared.root))

    assert [str(each.origin.relative_to(declared.root)) for each in loaded.declarations] == [
        f"{ACCOUNTS}:4", f"{ACCOUNTS}:5", f"{ACCOUNTS}:11", f"{ACCOUNTS}:13", f"{ACCOUNTS}:8", f"{LENDING}:9",
        f"{LENDING}:6", f"{LENDING}:12", f"{LENDING}:13", f"{LENDING}:14",
    ]  # fmt: skip


def test_modules_in_nested_folders_are_found(declared: Workspace) -> None:
    """A team may have its own folders and files, with or without __init__.py."""
    declared.write(
        {
            "features/risk/cards/limits.py": "from featdsl import Entity\ncard = Entity('card', keys={'card': str})\n",
            "features/risk/terms.py": "from featdsl import Entity\nterm = Entity('term', keys={'term': str})\n",
        }
    )

    assert addresses(declared)[-2:] == ["entity card", "entity term"]


WINE = "from featdsl import Entity\nwine = Entity('wine', keys={'wine': str})\n"
RULE = "a module name has only letters, digits and underscores, and does not start with a digit"


@pytest.mark.parametrize(
    ("path", "renamed"),
    [
        ("accounts/my-mod.py", "accounts/my_mod.py"),
        ("accounts/model.v2.py", "accounts/model_v2.py"),
        ("accounts/two words.py", "accounts/two_words.py"),
        ("2024.py", "v2024.py"),
        ("risk/über 18.py", "risk/_ber_18.py"),
    ],
)
def test_a_file_that_python_cannot_import_is_named(path: str, renamed: str, declared: Workspace) -> None:
    """The suggested command turns it into a module."""
    declared.write({f"features/{path}": WINE})

    (problem,) = mistakes(declared)

    assert problem == (
        f"File cannot be imported\n  Python cannot import features/{path}: {RULE}.\n  features/{path}:1\n"
        f'  Rename it: mv "features/{path}" features/{renamed}\n  Or move it out of features/.'
    )
    subprocess.run(shlex.split(problem.splitlines()[3].removeprefix("  Rename it: ")), cwd=declared.root, check=True)
    assert "entity wine" in addresses(declared)


@pytest.mark.parametrize(("folder", "renamed"), [("credit-risk", "credit_risk"), ("2024", "v2024"), ("a.b", "a_b")])
def test_a_folder_that_python_cannot_import_is_named_once(folder: str, renamed: str, declared: Workspace) -> None:
    """Once for all files in it and in its subfolders."""
    below = [f"features/{folder}/{name}" for name in ("__init__.py", "cards/limits.py", "wine.py")]
    declared.write({below[0]: "", below[1]: "", below[2]: WINE})

    (problem,) = mistakes(declared)

    assert problem == (
        f"Folder cannot be imported\n  Python cannot import features/{folder}/ or anything in it: {RULE}.\n"
        f'  {below[2]}:1\n  Rename it: mv "features/{folder}" features/{renamed}\n  Or move it out of features/.'
    )
    subprocess.run(shlex.split(problem.splitlines()[3].removeprefix("  Rename it: ")), cwd=declared.root, check=True)
    assert "entity wine" in addresses(declared)


def test_a_taken_name_is_not_suggested(declared: Workspace) -> None:
    """The command would overwrite another module."""
    declared.write({"features/my-mod.py": WINE, "features/my_mod.py": ""})

    (problem,) = mistakes(declared)

    assert problem.splitlines()[-1] == "  Rename it, or move it out of features/."


def test_hidden_and_empty_files_are_skipped(declared: Workspace) -> None:
    """Editor backups, compiled files, and files without declarations."""
    declared.write(
        {
            "features/.ipynb_checkpoints/my-mod.py": "1/0", "features/accounts/.hidden-file.py": "1/0",
            "features/__pycache__/x-y.py": "1/0", "features/credit-risk/__init__.py": "\n", "features/notes-2024.md": "#",
        }
    )  # fmt: skip

    assert len(addresses(declared)) == 10


def test_links_to_folders_are_followed(declared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also links inside linked folders; the link decides team, macros and origin."""
    elsewhere = Workspace(tmp_path_factory.mktemp("elsewhere"))
    elsewhere.write({"__init__.py": WINE, "macros/tax.sql": "{% macro net(x) %}{{ x }} * 0.8{% endmacro %}"})
    (declared.root / "features" / "risk").symlink_to(elsewhere.root)

    loaded = loader.load(settings.load(declared.root))

    assert loaded.problems == ()
    wine = loaded.declarations[-1]
    assert (wine.address, str(wine.origin.relative_to(declared.root))) == ("wine", "features/risk/__init__.py:2")
    assert list(loaded.macro_files) == ["features/risk/macros/tax.sql"]


def test_links_in_a_circle_and_within_the_package_are_followed_once(
    declared: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A folder with two names is loaded under its own."""
    elsewhere = Workspace(tmp_path_factory.mktemp("elsewhere")).write({"wine/__init__.py": WINE})
    (elsewhere.root / "wine" / "again").symlink_to(elsewhere.root)
    (declared.root / "features" / "risk").symlink_to(elsewhere.root)
    (declared.root / "features" / "also").symlink_to(declared.root / "features" / "accounts")
    (declared.root / "features" / "lending" / "up").symlink_to(declared.root / "features")

    assert len(addresses(declared)) == 11


@pytest.mark.parametrize("name", ["risk", "risk.py"])
def test_a_link_that_leads_nowhere_is_named(name: str, declared: Workspace) -> None:
    """Its declarations would otherwise be missing silently."""
    (declared.root / "features" / name).symlink_to("../elsewhere")

    assert mistakes(declared) == [
        f"Broken link\n  {name} links to ../elsewhere, which does not exist.\n  features/{name}:1\n"
        "  Fix the link or delete it."
    ]


@pytest.mark.parametrize(("other", "imported"), [("__init__.py", "features/risk/"), ("cards.py", "features/risk.py")])
def test_a_file_and_a_folder_of_one_name_are_named(other: str, imported: str, declared: Workspace) -> None:
    """Python imports only one of them."""
    declared.write({"features/risk.py": WINE, f"features/risk/{other}": WINE.replace("wine", "beer")})

    assert mistakes(declared) == [
        "Two modules have the same name\n"
        f"  features/risk.py and features/risk/ have the same module name, and Python imports only {imported}.\n"
        "  features/risk.py:1\n  Rename one of them, or merge them."
    ]


def test_a_package_that_python_cannot_import_is_named(declared: Workspace, edit: Edit) -> None:
    """Otherwise the whole package would be skipped silently."""
    edit("featproject.toml", 'name = "bank"', 'name = "bank"\nfeatures = "my-features"')
    (declared.root / "features").rename(declared.root / "my-features")

    with pytest.raises(DeclarationError, match="my-features.* names a folder that Python cannot import"):
        loader.load(settings.load(declared.root))


def test_relative_imports_work(declared: Workspace, edit: Edit) -> None:
    """A features package is a normal package."""
    edit(LENDING, "from features.accounts import", "from ..accounts import")

    assert len(addresses(declared)) == 10


def test_the_package_may_have_another_name(declared: Workspace, edit: Edit) -> None:
    """`features` in [project] names the folder."""
    edit("featproject.toml", 'name = "bank"', 'name = "bank"\nfeatures = "signals"')
    edit(LENDING, "from features.accounts", "from signals.accounts")
    (declared.root / "features").rename(declared.root / "signals")

    assert len(addresses(declared)) == 10


# Fresh imports


def test_an_edit_within_the_same_second_is_seen(declared: Workspace, edit: Edit) -> None:
    """Neither loaded modules nor bytecode files keep an old text alive, even with equal size and time."""
    path = declared.root / ACCOUNTS
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert "feature user_profile.age" in addresses(declared)
    edit(ACCOUNTS, " age = Feature(", " era = Feature(")
    edit(LENDING, "UserProfile.age", "UserProfile.era")
    os.utime(path, (1_700_000_000, 1_700_000_000))

    assert "feature user_profile.era" in addresses(declared)


@pytest.fixture
def imported(declared: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """The small project, with its package imported by the running program."""
    earlier = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "features"}
    monkeypatch.syspath_prepend(declared.root)
    importlib.import_module("features.lending")
    yield declared
    for name in [name for name in sys.modules if name.partition(".")[0] == "features"]:
        del sys.modules[name]
    sys.modules.update(earlier)


def test_modules_that_the_program_imported_stay(imported: Workspace) -> None:
    """Loading neither replaces nor changes the running program's modules."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "features"}
    age = before["features.accounts"].UserProfile.age

    loader.load(settings.load(imported.root))

    after = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "features"}
    assert after == before
    assert sys.modules["features.accounts"].UserProfile.age is age


def test_loading_declares_anew(imported: Workspace) -> None:
    """Loading returns declarations of its own import, not the program's."""
    loaded = loader.load(settings.load(imported.root))

    ages = [each for each in loaded.declarations if isinstance(each, Feature) and each.name == "age"]
    assert len(ages) == 1
    assert ages[0] is not sys.modules["features.accounts"].UserProfile.age


def test_loading_leaves_the_path_as_it_was(declared: Workspace) -> None:
    """Loading restores sys.path, even after a mistake."""
    declared.write({ACCOUNTS: "1/0"})
    path, finders = list(sys.path), list(sys.meta_path)

    loader.load(settings.load(declared.root))

    assert (sys.path, sys.meta_path) == (path, finders)
    assert "features.accounts" not in sys.modules


@pytest.fixture
def bytecode(declared: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bytecode file of a loaded module of the small project."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    loader.load(settings.load(declared.root))
    return Path(importlib.util.cache_from_source(declared.root / ACCOUNTS))


def test_bytecode_is_kept_by_the_hash_of_its_text(declared: Workspace, bytecode: Path) -> None:
    """Python itself validates it by hash, regardless of file times."""
    text = (declared.root / ACCOUNTS).read_bytes()
    assert bytecode.read_bytes()[4:16] == (0b11).to_bytes(4, "little") + importlib.util.source_hash(text)


def test_bytecode_of_the_text_is_not_compiled_again(
    declared: Workspace, bytecode: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling every module would dominate the loading time."""
    compiled: list[str] = []
    compiling = importlib.machinery.SourceFileLoader.source_to_code

    def counted(*given: Any) -> Any:
        compiled.append(given[2])
        return compiling(*given)

    monkeypatch.setattr(importlib.machinery.SourceFileLoader, "source_to_code", counted)
    assert len(addresses(declared)) == 10
    assert compiled == []

    bytecode.write_bytes(bytecode.read_bytes()[:40])
    assert len(addresses(declared)) == 10
    assert compiled == [str(declared.root / ACCOUNTS)]


def test_bytecode_of_another_place_is_compiled_again(declared: Workspace, bytecode: Path, tmp_path: Path) -> None:
    """In a copied folder, mistakes are reported at their new path."""
    copy = shutil.copytree(declared.root, tmp_path / "copy")
    assert bytecode.is_file()

    loaded = loader.load(settings.load(copy))

    assert {Path(each.origin.file).is_relative_to(copy) for each in loaded.declarations} == {True}


def test_no_bytecode_is_written_where_python_writes_none(declared: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYTHONDONTWRITEBYTECODE also applies to plans."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.load(settings.load(declared.root))

    assert list(declared.root.rglob("*.pyc")) == []


# Mistakes


def test_mistakes_of_several_modules_are_shown_together(declared: Workspace, edit: Edit) -> None:
    """All mistakes are shown at once."""
    edit(ACCOUNTS, "expect=", "expects=")
    edit(ACCOUNTS, 'sql="annual_income"', "sqll='x'")
    edit(LENDING, 'FeatureSet("credit_risk", version=1', 'FeatureSet("credit_risk", version=0')
    declared.write({"features/risk/__init__.py": "def broken(:\n    pass\n", "features/wine.py": "1 / 0\n"})

    assert mistakes(declared) == [
        (
            "Syntax error\n"
            "  invalid syntax: def broken(:\n"
            "  features/risk/__init__.py:1\n"
            "  Python cannot parse this line; fix it or the line before."
        ),
        (
            "Module cannot be imported\n"
            "  ZeroDivisionError: division by zero\n"
            "  features/wine.py:1\n"
            "  A module of declarations must not raise on import; fix this line or the code it calls."
        ),
        (
            "Unknown option\n"
            "  Feature has no option 'expects'.\n"
            "  features/accounts/__init__.py:11\n"
            '  Did you mean "expect"?'
        ),
        "Unknown option\n  Feature has no option 'sqll'.\n  features/accounts/__init__.py:13\n  Did you mean \"sql\"?",
        (
            "Invalid declaration\n"
            "  FeatureSet 'credit_risk': version: 0 is not at least 1\n"
            "  features/lending/__init__.py:12"
        ),
    ]


NO_RAISE = "\n  A module of declarations must not raise on import; fix this line or the code it calls."
RAISED = {
    "an exception": ("\n\nraise KeyError('rate')\n", "KeyError: 'rate'", 3, NO_RAISE),
    "an exception without words": ("raise ValueError\n", "ValueError", 1, NO_RAISE),
    "an exception in what it calls": (
        "def rate():\n    return 1 / 0\n\nrate()\n", "ZeroDivisionError: division by zero", 2, NO_RAISE,
    ),
    "an exception in a library": (
        "import json\njson.loads('{')\n",
        "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)", 2, NO_RAISE,
    ),
    "an exit": (
        "import sys\nsys.exit(3)\n", "SystemExit: 3", 2,
        '\n  A module of declarations must not exit. Put scripts below: if __name__ == "__main__".',
    ),
    "an unknown module": (
        "import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'", 1,
        "\n  Correct the name, or install the package in this environment.",
    ),
    "an unknown name of a module": (
        "from features.accounts import UserProfil\n",
        "ImportError: cannot import name 'UserProfil' from 'features.accounts'", 1,
        '\n  Did you mean "UserProfile"?',
    ),
    "an unknown feature": (
        "from features.accounts import UserProfile\nUserProfile.incom\n",
        "AttributeError: type object 'UserProfile' has no attribute 'incom'", 2,
        '\n  Did you mean "income"?',
    ),
}  # fmt: skip


MISCALLED = {
    "Entity('e')": "Missing option\n  Entity needs keys=.",
    "Entity('e', {'id': int})": "Option without its name\n  Entity takes its options by name only.",
    "Source()": "Missing option\n  Source needs name=.",
    "Expect('a > 1', severty='warn')": "Unknown option\n  Expect has no option 'severty'.",
    "MaxAge(days=3)": "Unknown option\n  MaxAge has no option 'days'.",
    "Deprecated()": "Missing option\n  Deprecated needs since=.",
    "FeatureSet('s')": "Missing option\n  FeatureSet needs version= and features=.",
    "Model('m')": "Missing option\n  Model needs features=.",
    "FeatureSet('s', version=1, features=['a.b']).evolve()": "Missing option\n  FeatureSet.evolve needs version=.",
    "class G(FeatureGroup): pass": "Missing option\n  FeatureGroup needs entity=.",
    "Feature()": "Missing option\n  Feature needs dtype=.",
}


@pytest.mark.parametrize("call", MISCALLED)
def test_a_wrong_call_gives_a_readable_error(call: str, declared: Workspace) -> None:
    """Python's message would name methods that users never write."""
    declared.write({"features/risk.py": f"from featdsl import *\n{call}\n"})

    (problem,) = mistakes(declared)

    assert problem.startswith(f"{MISCALLED[call]}\n  features/risk.py:2")


@pytest.mark.parametrize("name", RAISED)
def test_an_error_in_a_module_is_reported_with_its_line(name: str, declared: Workspace) -> None:
    """The innermost line of the package in the traceback."""
    code, error, line, fix = RAISED[name]
    declared.write({"features/risk.py": code})

    assert mistakes(declared) == [f"Module cannot be imported\n  {error}\n  features/risk.py:{line}{fix}"]


def test_an_unknown_generated_feature_is_reported_with_its_line(declared: Workspace) -> None:
    """An error of featdsl keeps its message."""
    declared.write({"features/risk.py": "from features.accounts import UserProfile\nUserProfile['incom']\n"})

    assert mistakes(declared) == [
        (
            "Unknown feature\n  Group user_profile has no feature 'incom'.\n  features/risk.py:2\n"
            '  Did you mean "income"?'
        )
    ]


def test_bytes_that_are_no_text_are_a_syntax_error(declared: Workspace) -> None:
    """A file in another encoding is named."""
    (declared.root / "features" / "risk.py").write_bytes(b"name = '\xff'\n")

    (only,) = mistakes(declared)

    assert "features/risk.py:1" in only
    assert "Traceback" not in only


@pytest.mark.parametrize("broken", ["accounts", "lending"])
def test_a_module_that_imports_a_broken_one_is_not_blamed(broken: str, declared: Workspace) -> None:
    """Whichever module is imported first, the mistake is reported once and alone."""
    other = {"accounts": "lending", "lending": "accounts"}[broken]
    start = "from featdsl import Entity\nuser = Entity('user', keys={'user_id': int})\n"
    declared.write(
        {
            f"features/{broken}/__init__.py": start + "1 / 0\n",
            f"features/{other}/__init__.py": f"from features.{broken} import user\n",
            "features/wine.py": f"import features.{other}\n",
        }
    )

    assert mistakes(declared) == [
        (
            "Module cannot be imported\n"
            "  ZeroDivisionError: division by zero\n"
            f"  features/{broken}/__init__.py:3\n"
            "  A module of declarations must not raise on import; fix this line or the code it calls."
        )
    ]


@pytest.mark.parametrize("broken", ["accounts", "lending"])
def test_a_broken_module_declares_nothing_twice(broken: str, declared: Workspace) -> None:
    """A failed module is not run again for its importers."""
    other = {"accounts": "lending", "lending": "accounts"}[broken]
    start = "from featdsl import Entity\nuser = Entity('user', keys={'user_id': int})\n"
    declared.write(
        {
            f"features/{broken}/__init__.py": start + "1 / 0\n",
            f"features/{other}/__init__.py": f"from features.{broken} import user\n",
        }
    )

    loaded = loader.load(settings.load(declared.root))

    assert [each.address for each in loaded.declarations] == ["user"]


def test_a_set_that_evolves_from_a_mistaken_one_is_not_blamed(declared: Workspace, edit: Edit) -> None:
    """Only the original mistake is reported."""
    edit(LENDING, "features=[UserProfile.age, UserProfile.income]", "features=UserProfile.age")

    assert mistakes(declared) == [
        (
            "Invalid declaration\n"
            "  FeatureSet 'credit_risk': features: <Feature user_profile.age> is one feature; write a list: [...]\n"
            "  features/lending/__init__.py:12"
        )
    ]


def test_a_project_without_a_features_folder_says_so(workspace: Workspace) -> None:
    """The message names the folder and the command to start a project."""
    workspace.write({"featproject.toml": '[project]\nname = "bank"\n'})

    with pytest.raises(DeclarationError) as raised:
        loader.load(settings.load(workspace.root))

    assert raised.value.problems == (
        Problem(
            "No features here",
            f"The folder features/ does not exist in {workspace.root}.",
            fix="Create it, or start a project with: featdsl init",
        ),
    )


# Teams

TEAMS = """
[project]
name = "bank"

[teams]
accounts = "features/accounts"
cards = "features/accounts/cards"
money = ["features/lending", "features/risk/loans"]
"""


@pytest.mark.parametrize(
    ("file", "team"),
    [
        ("features/accounts/__init__.py", "accounts"),
        ("features/accounts/deep/down.py", "accounts"),
        ("features/accounts/cards/limits.py", "cards"),
        ("features/lending/__init__.py", "money"),
        ("features/risk/loans/terms.py", "money"),
        ("features/risk/other.py", "risk"),
        ("features/shared.py", "bank"),
        ("features/accounts_old/x.py", "accounts_old"),
    ],
)
def test_a_file_belongs_to_the_team_of_the_nearest_folder(file: str, team: str, workspace: Workspace) -> None:
    """By the folders in featproject.toml, else by the folder's own name, else by the project."""
    workspace.write({"featproject.toml": TEAMS})
    for folder in ("accounts/cards", "lending", "risk/loans"):
        (workspace.root / "features" / folder).mkdir(parents=True)

    assert settings.load(workspace.root).team_of(file) == team


def test_the_project_is_found_from_a_folder_below(declared: Workspace) -> None:
    """Commands work in any folder of a project."""
    assert settings.load(declared.root / "features" / "lending").root == declared.root.resolve()


def test_no_project_anywhere_says_how_to_start(tmp_path: Path) -> None:
    """The message says that the folder is outside any project."""
    with pytest.raises(DeclarationError) as raised:
        settings.load(tmp_path)

    assert str(raised.value) == (
        "No project found\n"
        f"  Neither {tmp_path} nor its parents contain featproject.toml.\n"
        "  Go to your project's folder, or start a project: featdsl init"
    )
