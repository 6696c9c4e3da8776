"""The accounts team."""

from featdsl import Entity, Source

user = Entity("user", keys={"user_id": int})
accounts = Source("accounts", path="data/accounts.csv", timestamp="updated_at")

