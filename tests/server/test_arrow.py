"""Large batches travel as streams of Arrow, in both directions."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from featdsl.query.answer import Answer, ServedValue
from featdsl.server.arrow import answer_stream
from tests.server.conftest import Served

ARROW = "application/vnd.apache.arrow.stream"


def stream(table: pa.Table) -> bytes:
    """Return a table as a stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def table_of(content: bytes) -> pa.Table:
    """Return the table of a stream."""
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def test_rows_and_values_are_streams_of_arrow(served: Served) -> None:
    """The URL names the features; the metadata is in the schema."""
    keys = pa.table({"user_id": pa.array([3, 99], pa.int32())})
    headers = {"Content-Type": ARROW, "Accept": ARROW}
    answer = served.post("/v1/features?features=credit_risk@2", content=stream(keys), headers=headers)

    table = table_of(answer.content)
    described = json.loads(table.schema.metadata[b"featdsl"])
    assert answer.headers["content-type"] == ARROW
    assert table.to_pydict() == {"age": [33, None], "income": [19000.0, None], "monthly": [19000 / 12, None]}
    assert table.schema.types == [pa.int64(), pa.float64(), pa.float64()]
    assert (described["set"], described["state"]) == ("credit_risk@2", 1)


def test_a_body_of_json_may_be_answered_with_arrow_and_the_reverse(served: Served) -> None:
    """Each direction chooses for itself."""
    body = {"features": ["age"], "rows": [{"user_id": 3}]}
    arrow = served.post(json=body, headers={"Accept": ARROW})
    keys = stream(pa.table({"user_id": [3]}))
    json_ = served.post("/v1/features?features=age&features=income", content=keys, headers={"Content-Type": ARROW})

    assert table_of(arrow.content).to_pydict() == {"age": [33]}
    assert json_.json()["rows"] == [{"age": 33, "income": 19000.0}]


@pytest.mark.parametrize(
    ("query", "content", "refused"),
    [
        ("?features=age", b"not Arrow", (400, "invalid_request", [])),
        ("?features=age", b"", (400, "invalid_request", [])),
        ("", stream(pa.table({"user_id": [3]})), (400, "invalid_request", [])),
        ("?features=age", stream(pa.table({"user": [3]})), (422, "unknown_key", ["user_id"])),
        ("?features=age", stream(pa.table({"user_id": ["x"]})), (422, "wrong_type", [])),
        ("?features=credit_rsk@1", stream(pa.table({"user_id": [3]})), (404, "unknown_feature_set", ["credit_risk@1", "credit_risk@2"])),
    ],
)  # fmt: skip
def test_a_wrong_stream_is_refused(query: str, content: bytes, refused: Any, served: Served) -> None:
    """With the codes of JSON, in JSON."""
    headers = {"Content-Type": ARROW, "Accept": ARROW}
    assert served.error(f"/v1/features{query}", content=content, headers=headers) == refused


AT = datetime(2026, 1, 20)  # noqa: DTZ001 - as DuckDB returns it
VALUES: dict[str, tuple[str, Any, Any]] = {
    "flag": ("BOOLEAN", True, True),
    "tiny": ("UTINYINT", 255, 255),
    "huge": ("HUGEINT", 2**120, str(2**120)),
    "price": ("DECIMAL(5,2)", Decimal("1.50"), Decimal("1.50")),
    "name": ("VARCHAR", "x", "x"),
    "raw": ("BLOB", b"\xff", b"\xff"),
    "day": ("DATE", date(2026, 1, 20), date(2026, 1, 20)),
    "at": ("TIMESTAMP", AT, AT),
    "days": ("DATE[]", [date(2026, 1, 20)], [date(2026, 1, 20)]),
    "pair": ("INTEGER[2]", (1, 2), [1, 2]),
    "box": ("STRUCT(a INTEGER, b HUGEINT)", {"a": 1, "b": 2}, {"a": 1, "b": "2"}),
    "sizes": ("MAP(VARCHAR, INTEGER)", {"s": 1}, [("s", 1)]),
    "either": ("UNION(a INTEGER, b VARCHAR)", 5, "5"),
    "none": ("BLOB", None, None),
}


def test_every_type_has_its_column_in_arrow() -> None:
    """Types that Arrow does not have are text, as in JSON."""
    answer = Answer(
        name="",
        rows=[{name: value for name, (_, value, _) in VALUES.items()}],
        statuses=None,
        dtypes={name: dtype for name, (dtype, _, _) in VALUES.items()},
        fingerprints={},
        read_at=AT,
        from_tables={},
        state=1,
        published_at=None,
    )

    assert table_of(answer_stream(answer)).to_pylist() == [{name: value for name, (_, _, value) in VALUES.items()}]


def test_statuses_are_further_columns() -> None:
    """Each feature has a column with its status and one with its event timestamp."""
    at = AT.replace(tzinfo=UTC)
    answer = Answer(
        name="",
        rows=[{"age": 33}],
        statuses=[{"age": ServedValue(33, "present", at)}],
        dtypes={"age": "BIGINT"},
        fingerprints={},
        read_at=at,
        from_tables={},
        state=1,
        published_at=at,
    )

    assert table_of(answer_stream(answer)).to_pylist() == [
        {"age": 33, "age.status": "present", "age.event_timestamp": at}
    ]
