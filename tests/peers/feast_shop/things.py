"""The entities of the shop."""

from feast import Entity, ValueType

customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64, description="Who pays.")
merchant = Entity(name="merchant", join_keys=["merchant"], value_type=ValueType.STRING, description="Who is paid.")
