"""Tokens decide who reads which features."""

from __future__ import annotations

import hmac
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from featdsl.definitions.kinds import revised
from featdsl.project.settings import Settings
from featdsl.project.tokens import TokenTable, digest
from featdsl.server.access import Caller, Tokens, hidden_group
from featdsl.server.refusals import Refusal
from tests.conftest import ACCOUNTS, BANK, Workspace
from tests.server.conftest import Serve, Served, serving

ACCOUNTS_TEAM = BANK["features/accounts/__init__.py"].replace(
    "FeatureGroup, Source", "FeatureGroup, FeatureSet, Source"
)
SALARIES = '''

class Salaries(FeatureGroup, entity=user, source=accounts, access="private"):
    """What only the accounts team sees."""

    salary = Feature(float, sql="annual_income / 2")


salaries_v1 = FeatureSet("salaries", version=1, features=[Salaries.salary, UserProfile.age])
'''
TOKENS = BANK["featproject.toml"] + "".join(
    f'\n[serving.tokens.{name}]\nteam = "{team}"\nsha256 = "{digest(name)}"\n{sets}'
    for name, team, sets in [
        ("payroll", "accounts", ""),
        ("scoring", "lending", ""),
        ("first", "lending", 'sets = ["credit_risk@1"]\n'),
        ("all_risks", "lending", 'sets = ["credit_risk@*", "salaries@1"]\n'),
    ]
)
"""Four tokens, each of which is its own name."""
ONE = [{"user_id": 3}]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The bank with a private group of accounts, and tokens."""
    bank = Workspace(tmp_path_factory.mktemp("bank")).write(BANK).parquet("data/accounts.parquet", ACCOUNTS)
    bank.write({"features/accounts/__init__.py": ACCOUNTS_TEAM + SALARIES, "featproject.toml": TOKENS}).apply()
    with serving() as start:
        yield start(bank)


@pytest.mark.parametrize(
    ("token", "features", "row"),
    [
        ("payroll", "salaries@1", {"salary": 9500.0, "age": 33}),
        ("payroll", ["salaries.salary"], {"salary": 9500.0}),
        ("scoring", "credit_risk@2", {"age": 33, "income": 19000.0, "monthly": 19000 / 12}),
        ("scoring", ["income"], {"income": 19000.0}),
        ("first", "credit_risk@1", {"age": 33, "income": 19000.0}),
        ("all_risks", "credit_risk@1", {"age": 33, "income": 19000.0}),
    ],
)
def test_a_token_reads_what_its_team_and_its_sets_allow(
    token: str, features: object, row: dict[str, float], guarded: Served
) -> None:
    """Public groups, private ones of its own team, and only its sets if it names some."""
    answer = guarded.post(json={"features": features, "rows": ONE}, token=token)

    assert answer.json()["rows"] == [row]
    assert guarded.log[-1]["team"] == ("accounts" if token == "payroll" else "lending")  # noqa: S105 - a name


@pytest.mark.parametrize(
    ("token", "features", "refused"),
    [
        (None, "credit_risk@1", (401, "missing_token", [])),
        ("stolen", "credit_risk@1", (401, "wrong_token", [])),
        ("scoring", "salaries@1", (403, "private_group", [])),
        ("scoring", ["salaries.salary"], (403, "private_group", [])),
        ("scoring", ["salary"], (403, "private_group", [])),
        ("all_risks", "salaries@1", (403, "private_group", [])),
        ("first", "credit_risk@2", (403, "forbidden_set", ["credit_risk@1"])),
        ("first", ["age"], (403, "forbidden_features", ["credit_risk@1"])),
        ("scoring", "salarie@1", (404, "unknown_feature_set", [])),
        ("scoring", ["salaries.salarie"], (404, "unknown_feature", [])),
        ("payroll", "salarie@1", (404, "unknown_feature_set", ["salaries@1"])),
        ("payroll", ["salaries.salarie"], (404, "unknown_feature", ["salaries.salary"])),
        ("first", "credit_rsk@2", (403, "forbidden_set", ["credit_risk@1"])),
    ],
)
def test_a_token_learns_no_name_that_it_may_not_read(
    token: str | None, features: object, refused: tuple[int, str, list[str]], guarded: Served
) -> None:
    """The nearest names are only those that the token may read."""
    assert guarded.error(json={"features": features, "rows": ONE}, token=token) == refused


def test_feast_clients_are_guarded_too(guarded: Served) -> None:
    """The same rights hold on every path."""
    body = {"entities": {"user_id": [3]}, "features": ["salaries:salary"]}
    assert guarded.error("/get-online-features", json=body, token="scoring") == (403, "private_group", [])  # noqa: S106
    assert guarded.error("/get-online-features", json=body) == (401, "missing_token", [])


def test_a_missing_token_is_asked_for(guarded: Served) -> None:
    """By the header that says how."""
    assert guarded.post(json={}).headers["www-authenticate"] == "Bearer"


def test_without_tokens_everyone_reads_public_groups_only(bank: Workspace, serve: Serve) -> None:
    """A caller without a token is of no team."""
    bank.write({"features/accounts/__init__.py": ACCOUNTS_TEAM + SALARIES}).apply()
    served = serve(bank)

    assert served.post(json={"features": "credit_risk@1", "rows": ONE}).status_code == 200
    assert served.error(json={"features": "salaries@1", "rows": ONE}) == (403, "private_group", [])


def test_the_document_has_examples_of_readable_sets_only(guarded: Served) -> None:
    """Without a token it names no set."""

    def examples(**headers: str) -> list[str]:
        content = guarded.client.get("/openapi.json", headers=headers).json()["paths"]["/v1/features"]["post"]
        return list(content["requestBody"]["content"]["application/json"].get("examples", {}))

    assert examples() == []
    assert examples(Authorization="Bearer first") == ["credit_risk@1"]
    assert examples(Authorization="Bearer payroll") == ["credit_risk@1", "credit_risk@2", "salaries@1"]


def test_every_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the first match, so that the time does not tell which token it was."""
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    tokens = Tokens({name: TokenTable(team=name, sha256=digest(name)) for name in ("a", "b", "c")})

    assert tokens.caller("bearer a") == Caller("a")
    assert compared == [digest(name).encode() for name in ("a", "b", "c")]


@pytest.mark.parametrize("header", ["", "Basic a", "a", "Bearer", "Bearer ", "Bearer b\udcff"])
def test_other_authorizations_are_no_tokens(header: str) -> None:
    """Nothing but the token itself is accepted."""
    tokens = Tokens({"a": TokenTable(team="a", sha256=digest("a"))})
    with pytest.raises(Refusal) as raised:
        tokens.caller(header)
    assert raised.value.status == 401


def test_nobody_reads_private_groups_of_several_teams_at_once(applied: Workspace) -> None:
    """A set that mixes them is refused to each team; a removed group is its owner's."""
    snapshot = applied.store.applied()
    catalog = snapshot.catalog
    private = {name: revised(group, access="private") for name, group in catalog.groups.items()}
    both = replace(snapshot, catalog=replace(catalog, groups=private))
    one = replace(snapshot, catalog=replace(catalog, groups={"user_profile": private["user_profile"]}))
    features = list(catalog.features.values())

    assert [hidden_group(both, features, Caller(team)) for team in ("accounts", "lending", "")] == [
        "affordability",
        "user_profile",
        "affordability",
    ]
    assert [hidden_group(one, features[:1], Caller(team)) for team in ("accounts", "lending", "")] == [
        "affordability",
        None,
        "affordability",
    ]


def test_a_made_token_is_accepted_with_the_lines_that_are_printed(
    applied: Workspace, edit: Callable[[str, str, str], None], serve: Serve
) -> None:
    """The token is in the output, its hash in the lines."""
    done = applied.run("token", "scoring", "--team", "lending", "--sets", "credit_risk@1,credit_risk@2")
    _, _, token, _, _, _, *lines = done.stdout.splitlines()
    (table,) = tomllib.loads("\n".join(lines))["serving"]["tokens"].values()
    settings = applied.root / "featproject.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
    served = serve(applied)

    assert table == {"team": "lending", "sha256": digest(token), "sets": ["credit_risk@1", "credit_risk@2"]}
    assert served.post(json={"features": "credit_risk@1", "rows": ONE}, token=token).status_code == 200
    assert served.error(json={"features": "credit_risk@1", "rows": ONE}) == (401, "missing_token", [])


def test_two_tokens_are_different(applied: Workspace) -> None:
    """Each is random."""
    printed = [applied.run("token", "scoring", "--team", "lending").stdout for _ in range(2)]
    assert printed[0] != printed[1]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["Scoring", "--team", "lending"], "'Scoring' is not a name"),
        (["scoring", "--team", "the team"], "'the team' is not a name"),
        (["scoring", "--team", "lending", "--sets", "credit_risk"], "'credit_risk' is not a set version"),
        (["first", "--team", "lending"], "featproject.toml has a token first already"),
        (["scoring"], "Missing option '--team'"),
    ],
)
def test_a_token_that_cannot_be_made_is_refused(typed: list[str], told: str, bank: Workspace) -> None:
    """Before anything secret is printed."""
    done = bank.write({"featproject.toml": TOKENS}).run("token", *typed)

    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr


def test_a_token_in_the_place_of_its_hash_is_not_repeated(bank: Workspace) -> None:
    """An error of the settings reaches a terminal and a log."""
    secret = "featdsl_secret"  # noqa: S105 - the value must not be printed
    tokens = f'\n[serving.tokens.scoring]\nteam = "lending"\nsha256 = "{secret}"\n'
    done = bank.write({"featproject.toml": BANK["featproject.toml"] + tokens}).run("plan")

    assert done.returncode == 1
    assert "Invalid setting\n  serving.tokens.scoring.sha256: " in done.stderr
    assert secret not in done.stderr


def test_the_settings_of_the_server_have_defaults() -> None:
    """10,000 rows, 16 MiB, no tokens."""
    serving = Settings.model_validate({"project": {"name": "bank"}}).serving
    assert (serving.max_rows, serving.max_body, serving.tokens) == (10_000, "16MiB", {})
