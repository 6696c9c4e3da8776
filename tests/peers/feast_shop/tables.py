"""Where the rows of the shop are."""

from feast import FileSource, PushSource, RequestSource
from feast.data_format import ParquetFormat
from feast.field import Field
from feast.types import Float64, Int64, String

profiles = FileSource(
    name="profiles",
    path="data/profiles.parquet",
    file_format=ParquetFormat(),
    timestamp_field="valid_from",
    created_timestamp_column="loaded_at",
    description="One row for each change of a customer.",
)
payments = FileSource(
    path="data/payments.parquet",
    file_format=ParquetFormat(),
    timestamp_field="paid_at",
    created_timestamp_column="loaded_at",
    field_mapping={"cust": "customer_id", "amt": "last_amount", "Curr-Code": "currency"},
)
payments_pushed = PushSource(name="payments_pushed", batch_source=payments)
rates = FileSource(name="rates", path="data/rates.parquet", file_format=ParquetFormat(), timestamp_field="day")
basket = RequestSource(
    name="basket",
    schema=[Field(name="amount", dtype=Float64), Field(name="items", dtype=Int64), Field(name="voucher", dtype=String)],
)
