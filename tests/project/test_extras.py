"""A message about a missing library contains the command that installs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import Workspace
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

SPINE = "\"SELECT 1 AS user_id, TIMESTAMP '2026-02-01' AS ts\""
READ = f'FeatureStore({{root!r}}).training_set(["age"], {SPINE}, timestamp="ts")'
WITHOUT = [
    ("pandas", f"{READ}.df()", "df()"),
    ("polars", f"{READ}.pl()", "pl()"),
    ("pyarrow", f"{READ}.pl()", "pl()"),
    ("pyarrow", f"{READ}.arrow()", "arrow()"),
    ("pyarrow", READ.replace(SPINE, f"__import__('duckdb').sql({SPINE})"), "A duckdb DuckDBPyRelation"),
]


@pytest.mark.parametrize(("library", "code", "user"), WITHOUT)
def test_a_missing_library_is_named_with_the_line_that_installs_it(
    library: str, code: str, user: str, applied: Workspace
) -> None:
    """Every library of the extra is named by every call that needs it."""
    hidden = f"import sys; sys.modules[{library!r}] = None; from featdsl import FeatureStore; "
    program = hidden + code.format(root=str(applied.root))

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert done.stderr.endswith(
        "RequestError: Missing package\n"
        f"  {user} needs {library}, which is not installed.\n"
        "  Install it into this environment: pip install 'featdsl[frames]'\n"
    )
