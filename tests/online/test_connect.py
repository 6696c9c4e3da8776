"""Which online store a project has: by the scheme of its URL, built in or from a plugin, and what is said where there is none."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from featdsl.errors import OnlineStoreError
from featdsl.online import Lookup, OnlineStore
from featdsl.online.connect import GROUP, open_online, open_store
from featdsl.online.memory import InMemoryOnlineStore
from featdsl.online.options import OnlineOptions
from featdsl.project.settings import load

OPTIONS = OnlineOptions("lineage/prod")


def project_with(folder: Path, serving: str) -> OnlineStore | None:
    """Return the online store of a project with these lines in `[serving]`."""
    (folder / "featproject.toml").write_text(f'[project]\nname = "bank"\n[serving]\n{serving}\n', encoding="utf-8")
    return open_online(load(folder), "lineage/prod")


def test_a_project_without_a_url_has_no_online_store(tmp_path: Path) -> None:
    """No url, no online store."""
    assert project_with(tmp_path, "") is None


@pytest.mark.parametrize(
    ("serving", "shown"),
    [
        ('url = "embedded"', "{root}/.featdsl/online/lineage%2Fprod"),
        ('url = "embedded"\npath = "served"', "{root}/served/lineage%2Fprod"),
        ('url = "memory://tests"', "memory (lineage/prod)"),
        ('url = "redis://127.0.0.1:6379/2"', "redis://127.0.0.1:6379/2"),
        ('url = "rediss://account@host/2?ssl_cert_reqs=none"', "rediss://host/2"),
        ('url = "postgresql://account@host/database?sslmode=require"', "postgresql://host/database"),
        ('url = "env:FEATDSL_TEST_ONLINE"', "redis://host:6379/0"),
    ],
)
def test_the_scheme_chooses_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serving: str, shown: str
) -> None:
    """Each kind of URL opens its store, without a connection, and the store's text has no account and no password."""
    monkeypatch.setenv("FEATDSL_TEST_ONLINE", "redis://account:s3cret@host:6379/0")
    store = project_with(tmp_path, serving)
    assert str(store) == shown.format(root=tmp_path)


def test_a_store_in_memory_is_shared_by_its_name(tmp_path: Path) -> None:
    """A test and the code that it tests open the same store by the same URL and namespace."""
    store = project_with(tmp_path, 'url = "memory://shared"')
    assert isinstance(store, InMemoryOnlineStore)
    with store.publishing() as publisher:
        publisher.put("user", [(b"1", b"one")])
        publisher.commit(b"m")
    again = open_store("memory://shared", OPTIONS)
    assert [list(each) for each in again.read([Lookup("user", [b"1"])]).found] == [[b"one"]]
    assert open_store("memory://other", OPTIONS).newest() is None


def test_a_store_in_memory_can_be_switched_off() -> None:
    """Tests of what happens without a store need no server to stop; reads are counted."""
    store = InMemoryOnlineStore()
    store.read([])
    store.down = True
    with pytest.raises(OnlineStoreError, match="cannot be reached"):
        store.read([])
    assert store.reads == 1


@pytest.mark.parametrize(
    ("url", "fix"),
    [
        ("reddis://host", 'Did you mean "redis" or "rediss"?'),
        ("mysql://account:s3cret@host/database", f"A package adds one as an entry point of {GROUP}."),
    ],
)
def test_an_unknown_scheme_is_named_with_the_known_ones(url: str, fix: str) -> None:
    """The error has the schemes there are, and the nearest; the rest of the URL is not shown."""
    with pytest.raises(OnlineStoreError) as raised:
        open_store(url, OPTIONS)
    (problem,) = raised.value.problems
    scheme = url.partition("://")[0]
    known = "embedded, memory://, postgres://, postgresql://, redis://, rediss://"
    assert problem.what == f'There is no online store of the kind "{scheme}". Known: {known}.'
    assert problem.fix == fix


@pytest.mark.parametrize("url", ["", "s3cret", "account:s3cret@host/1"])
def test_a_url_without_a_scheme_is_not_shown(url: str) -> None:
    """What stands in place of a URL may be anything, a password too."""
    with pytest.raises(OnlineStoreError) as raised:
        open_store(url, OPTIONS)
    assert raised.value.problems[0].what.startswith("The URL has no scheme. Known: embedded, memory://,")


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("redis://host", "redis", "redis"),
        ("postgresql://host", "psycopg", "postgres"),
        ("postgresql://host", "psycopg_pool", "postgres"),
    ],
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    """A store of an extra that is not installed says how to install it."""
    for name in [name for name in sys.modules if name.startswith(f"featdsl.online.{extra}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OnlineStoreError) as raised:
        open_store(url, OPTIONS)
    (problem,) = raised.value.problems
    assert problem.what == f"This online store needs {package}, which is not installed."
    assert problem.fix == f"Install it into this environment: pip install 'featdsl[{extra}]'"


@pytest.mark.parametrize("url", ["redis://host:port/s3cret", "postgresql://host/database?s3cret=1"])
def test_an_invalid_url_is_not_repeated(url: str) -> None:
    """A URL that its library cannot read may hold a password in any place."""
    with pytest.raises(OnlineStoreError, match="its URL is invalid") as raised:
        open_store(url, OPTIONS)
    assert "s3cret" not in str(raised.value.problems[0].fix)


def opened(url: str, options: OnlineOptions) -> OnlineStore:
    """Open the store of a package of this test."""
    if "broken" in url:
        raise ValueError(url)
    return InMemoryOnlineStore(f"{url} {options.namespace}")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that brings a store."""
    entry = EntryPoint("mine", "tests.online.test_connect:opened", GROUP)
    monkeypatch.setattr("featdsl.online.connect.entry_points", lambda group: [entry] if group == GROUP else [])


def test_a_package_brings_a_store_of_its_own(plugin: None) -> None:
    """An entry point's name is a scheme, and its factory gets the URL and the options."""
    assert str(open_store("mine://host", OPTIONS)) == "memory (mine://host lineage/prod)"


def test_a_package_that_fails_is_named_without_the_password(plugin: None) -> None:
    """An error of a factory is told by its kind: its text may hold the URL."""
    with pytest.raises(OnlineStoreError) as raised:
        open_store("mine://account:s3cret@broken/1", OPTIONS)
    assert raised.value.problems[0].what == "tests.online.test_connect:opened raised ValueError for mine://broken/1."
