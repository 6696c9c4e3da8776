"""The OpenAPI document says what the server does: its examples work, and whatever is made from it finds no failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.budgets import examples
from tests.conftest import Workspace
from tests.server.conftest import PUBLISHED, Served, serving
from tests.server.test_features import TYPES

ARROW = "application/vnd.apache.arrow.stream"


@schemathesis.serializer(ARROW)
def _as_bytes(_: schemathesis.SerializationContext, value: Any) -> Any:
    """Send what is made for a stream of Arrow as it is: none of it is one."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


GROUP = """
things{n} = Source("things{n}", sql=\"\"\"SELECT CAST({sql} AS {dtype}) AS k{n}, 7 AS number\"\"\")
thing{n} = Entity("thing{n}", keys={{"k{n}": "{dtype}"}})

class Facts{n}(FeatureGroup, entity=thing{n}, source=things{n}):
    itself{n} = Feature("{dtype}", sql="k{n}")

set{n} = FeatureSet("set{n}", version=1, features=[Facts{n}])
"""


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A set for each type of key, published and served."""
    head = "from featdsl import Entity, Feature, FeatureGroup, FeatureSet, Source\n"
    groups = [
        GROUP.format(n=n, dtype=dtype, sql=sql.replace("\\", "\\\\"))
        for n, (dtype, (sql, _)) in enumerate(TYPES.items())
    ]
    workspace = Workspace(tmp_path_factory.mktemp("things")).write({
        "featproject.toml": PUBLISHED,
        "features/__init__.py": "",
        "features/things/__init__.py": head + "".join(groups),
    })  # fmt: skip
    workspace.apply()
    with serving() as start:
        yield start(workspace)


def body_of(served: Served, path: str) -> dict[str, Any]:
    """Return the JSON body of an operation in the document."""
    post = served.client.get("/openapi.json").json()["paths"][path]["post"]
    content: dict[str, Any] = post["requestBody"]["content"]["application/json"]
    return content


def test_each_set_has_an_example_with_keys_of_its_types(served: Served) -> None:
    """The names are those of the registry."""
    assert body_of(served, "/v1/features")["examples"] == {
        address: {"value": {"features": address, "rows": [{"user_id": 42}]}}
        for address in ("credit_risk@1", "credit_risk@2")
    }
    assert body_of(served, "/get-online-features")["examples"]["credit_risk@1"] == {
        "value": {"feature_service": "credit_risk@1", "entities": {"user_id": [42]}}
    }


@pytest.mark.parametrize("path", ["/v1/features", "/get-online-features"])
def test_every_example_can_be_sent_as_it_is(path: str, things: Served) -> None:
    """For keys of every type."""
    bodies = [example["value"] for example in body_of(things, path)["examples"].values()]

    assert len(bodies) == len(TYPES)
    assert [things.post(path, json=body).status_code for body in bodies] == [200] * len(bodies)


def test_an_example_of_an_answer_has_the_types_of_the_columns(things: Served) -> None:
    """As the server writes them."""
    post = things.client.get("/openapi.json").json()["paths"]["/v1/features"]["post"]
    shown = post["responses"]["200"]["content"]["application/json"]["examples"]
    kinds = {address: type(next(iter(example["value"]["rows"][0].values()))) for address, example in shown.items()}

    assert kinds == {f"set{n}@1": type(value) for n, (_, value) in enumerate(TYPES.values())}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        ("POST", "/v1/features", GenerationMode.POSITIVE),
        ("POST", "/v1/features", GenerationMode.NEGATIVE),
        ("POST", "/get-online-features", GenerationMode.POSITIVE),
        ("POST", "/get-online-features", GenerationMode.NEGATIVE),
        ("POST", "/v1/push/{source}", GenerationMode.POSITIVE),
        ("POST", "/v1/push/{source}", GenerationMode.NEGATIVE),
        ("GET", "/health", GenerationMode.POSITIVE),
        ("GET", "/ready", GenerationMode.POSITIVE),
    ],
)
def test_whatever_is_made_from_the_document_is_answered_as_it_says(
    method: str, path: str, mode: GenerationMode, served: Served
) -> None:
    """Valid and invalid requests: no failure of the server, and each answer has the status and the form of the document."""
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operation = schema[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=examples(100, 200), suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        # Most names that are made are names of nothing, so that a valid request may be refused.
        case.call_and_validate(base_url=served.url, excluded_checks=[positive_data_acceptance])

    check()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**130), 2**130)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.dates().map(str)
    | st.datetimes().map(lambda each: f"{each.isoformat()}Z")
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.sampled_from(
        ["NaN", "Infinity", "-Infinity", "9999-12-31T23:59:59+14:00", "1e9999999", "AA=", "\x00", "00:00:00"]
    ),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=5,
)


def test_any_json_as_a_key_is_an_answer_or_a_wrong_type(things: Served) -> None:
    """For keys of every type, in one row or in several: no value makes the server fail."""

    @given(number=st.integers(0, len(TYPES) - 1), values=st.lists(JSON, min_size=1, max_size=3))
    @settings(max_examples=examples(300, 1000), suppress_health_check=list(HealthCheck))
    def check(number: int, values: list[Any]) -> None:
        body = {"features": f"set{number}@1", "rows": [{f"k{number}": value} for value in values]}
        answer = things.post(json=body)
        code = answer.json().get("error", {}).get("code")
        assert (answer.status_code, code) in {(200, None), (422, "wrong_type")}, answer.text

    check()
