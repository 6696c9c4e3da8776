"""Jinja in SQL: macros by folder, references to sources, and messages about mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Workspace

PROJECT = '[project]\nname = "shop"\n\n[variables]\nrate = 0.5\n'
MONEY = """\
{# What things cost. #}
{% macro usd(column) %}
  {{ column }} * {{ var("rate") }}
{% endmacro %}

{% macro unused() %}1{% endmacro %}
"""
RISK = """\
from featdsl import Entity, Feature, FeatureGroup, Source

user = Entity("user", keys={"user_id": int})
raw = Source("raw", path="raw.parquet", timestamp="ts")
doubled = Source("doubled", sql="SELECT * REPLACE ({{ twice('price') }} AS price) FROM {{ ref('raw') }}", timestamp="ts")


class Spending(FeatureGroup, entity=user, source=doubled):
    spend = Feature(float, sql="{{ usd('price') }}", expect="{{ usd('spend') }} >= 0")
    items = Feature(int)
"""
FILES = {
    "featproject.toml": PROJECT,
    "features/macros/money.sql": MONEY,
    "features/risk/macros/risk.sql": "{% macro twice(column) %}2 * ({{ column }}){% endmacro %}\n",
    "features/risk/__init__.py": RISK,
}
Edit = Callable[[str, str, str], None]


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """Return a project with shared macros and macros of one team."""
    workspace.parquet("raw.parquet", "SELECT 1 AS user_id, TIMESTAMP '2026-01-01' AS ts, 10.0 AS price, 3 AS items")
    return workspace.write(FILES)


def refused(workspace: Workspace) -> str:
    """Return the error message of a failed plan."""
    done = workspace.run("plan")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def changes(workspace: Workspace) -> list[tuple[str, str]]:
    """Return the changed features and sources of a plan, with the class of each change."""
    found = json.loads(workspace.run("plan", "--format", "json").stdout)["changes"]
    changes = [each["change"] for each in found]
    return [(c["address"], c["change_class"]) for c in changes if c["kind"] in {"feature", "source"}]


def test_macros_make_the_sql_of_sources_features_and_checks(shop: Workspace) -> None:
    """A declaration sees the macros of every folder above it; `ref` and the bare name of a source are the same."""
    shop.apply()
    assert shop.published("SELECT spend, items FROM prod.spending") == [(10.0, 3)]


def test_a_macro_calls_macros_of_other_files(shop: Workspace, edit: Edit) -> None:
    """Macros call macros of other files in any order; a team's macro may call shared ones."""
    shop.write({"features/macros/a.sql": "{% macro eur(x) %}{{ usd(x) }} + {{ fee() }}{% endmacro %}"})
    shop.write({"features/macros/z.sql": "{% macro fee() %}7{% endmacro %}"})
    edit("features/risk/macros/risk.sql", "2 * ({{ column }})", "{{ eur(column) }}")
    shop.apply()
    assert shop.published("SELECT spend FROM prod.spending") == [(6.0,)]


def test_a_plan_shows_the_sql_that_macros_made(shop: Workspace) -> None:
    """Templates work in queries and in table names."""
    shown = shop.run("plan", "--sql").stdout
    assert "-- source doubled" in shown
    assert 'SELECT * REPLACE (2 * (price) AS price) FROM source."raw"' in shown
    assert "price * 0.5" in shown
    assert "{{" not in shown


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{% macro unused() %}1", "{% macro unused() %}2"),
        ("{# What things cost. #}", "{# What they cost in dollars. #}"),
        ('{{ column }} * {{ var("rate") }}', '-- in dollars\n  {{ column }}  *  {{ var("rate") }}'),
        ("column", "amount"),
    ],
    ids=["an unused macro", "a comment of Jinja", "a comment and the layout of the SQL", "the name of an argument"],
)
def test_what_does_not_change_the_rendered_sql_changes_nothing(shop: Workspace, edit: Edit, old: str, new: str) -> None:
    """Only the output of a macro counts."""
    shop.apply()
    edit("features/macros/money.sql", old, new)
    assert shop.run("plan", "--check").returncode == 0


def test_a_macro_that_is_used_changes_those_who_use_it(shop: Workspace, edit: Edit) -> None:
    """Other features of the group do not change."""
    shop.apply()
    edit("features/macros/money.sql", '* {{ var("rate") }}', "* 4")
    assert changes(shop) == [("spending.spend", "definition")]


def test_a_macro_of_a_source_changes_what_is_computed_from_it(shop: Workspace, edit: Edit) -> None:
    """The change comes through the source."""
    shop.apply()
    edit("features/risk/macros/risk.sql", "2 *", "3 *")
    assert changes(shop) == [
        ("doubled", "definition"),
        ("spending.items", "upstream"),
        ("spending.spend", "upstream"),
    ]


def test_a_variable_by_its_bare_name_is_told_how_to_write_it(shop: Workspace) -> None:
    """The fix names var()."""
    shop.write({
        "features/sales/__init__.py": "from featdsl import Source\n"
        'sold = Source("sold", sql="SELECT {{ rate }} AS price FROM {{ raw }}")\n'
    })  # fmt: skip
    assert refused(shop) == (
        "Template cannot be rendered\n  source sold: 'rate' is undefined in the template.\n"
        "  features/sales/__init__.py:2\n  Write the variable as {{ var('rate') }}."
    )


def test_macros_of_a_folder_are_for_that_folder(shop: Workspace) -> None:
    """Another team does not see the macros, and may use the same names."""
    shop.write({
        "features/sales/__init__.py": "from featdsl import Source\n"
        'sold = Source("sold", sql="SELECT {{ twice(1) }} AS price FROM {{ raw }}")\n'
    })  # fmt: skip
    assert refused(shop) == (
        "Template cannot be rendered\n  source sold: 'twice' is undefined in the template.\n"
        "  features/sales/__init__.py:2"
    )
    shop.write({"features/sales/macros/mine.sql": "{% macro twice(x) %}{{ x }} + {{ x }}{% endmacro %}"})
    assert shop.run("plan").returncode == 0


def test_a_macro_sees_only_what_its_own_folder_may_call(shop: Workspace, edit: Edit) -> None:
    """A shared macro must not depend on its caller."""
    edit("features/macros/money.sql", "{{ column }} *", "{{ twice(column) }} *")
    assert (
        "Template cannot be rendered\n"
        "  feature spending.spend, at features/risk/__init__.py:9: 'twice' is undefined in the macro.\n"
        "  features/macros/money.sql:3"
    ) in refused(shop)


MISTAKES = {
    "an unknown macro": (
        ("features/risk/__init__.py", "usd('price')", "usdd('price')"),
        """\
Template cannot be rendered
  feature spending.spend: 'usdd' is undefined in the template.
  features/risk/__init__.py:9
  Did you mean "usd"?""",
    ),
    "an unknown macro in a check": (
        ("features/risk/__init__.py", "usd('spend')", "usdd('spend')"),
        """\
Template cannot be rendered
  feature spending.spend: 'usdd' is undefined in the template.
  features/risk/__init__.py:9
  Did you mean "usd"?""",
    ),
    "an unknown source by ref": (
        ("features/risk/__init__.py", "ref('raw')", "ref('rawe')"),
        """\
Template cannot be rendered
  source doubled: ref('rawe') names no source.
  features/risk/__init__.py:5
  Did you mean "raw"?""",
    ),
    "ref in a feature": (
        ("features/risk/__init__.py", "usd('price')", "ref('raw')"),
        """\
Template cannot be rendered
  feature spending.spend: ref() only works in the SQL of a source.
  features/risk/__init__.py:9""",
    ),
    "an unknown variable in a macro": (
        ("features/risk/macros/risk.sql", "2 *", "{{ var('rat') }} *"),
        """\
Template cannot be rendered
  source doubled, at features/risk/__init__.py:5: The variable 'rat' is not in [variables] of featproject.toml.
  features/risk/macros/risk.sql:1
  Did you mean "rate"?""",
    ),
    "an unknown name in a macro": (
        ("features/risk/macros/risk.sql", "2 *", "\n{{ rwa }} *"),
        """\
Template cannot be rendered
  source doubled, at features/risk/__init__.py:5: 'rwa' is undefined in the macro.
  features/risk/macros/risk.sql:2
  Did you mean "raw"?""",
    ),
    "an argument that was left out": (
        ("features/risk/__init__.py", "twice('price')", "twice()"),
        """\
Template cannot be rendered
  source doubled, at features/risk/__init__.py:5: parameter 'column' was not provided in the macro.
  features/risk/macros/risk.sql:1""",
    ),
    "an argument too many": (
        ("features/risk/__init__.py", "twice('price')", "twice('price', 2)"),
        """\
Template cannot be rendered
  source doubled: The template failed: macro 'twice' takes not more than 1 argument(s).
  features/risk/__init__.py:5""",
    ),
    "a macro that calls itself": (
        ("features/risk/macros/risk.sql", "2 *", "{{ twice(column) }} *"),
        """\
Template cannot be rendered
  source doubled, at features/risk/__init__.py:5: The template failed: a macro calls itself endlessly.
  features/risk/macros/risk.sql:1""",
    ),
    "a macro without its end": (
        ("features/macros/money.sql", "1{% endmacro %}", "1"),
        """\
Invalid macro file
  features/macros/money.sql is not a valid template: Unexpected end of template. Jinja was looking for the following tags: 'endmacro'. The innermost block that needs to be closed is 'macro'.
  features/macros/money.sql:6
  Fix this line or the one before; a macro ends with {% endmacro %}.""",
    ),
    "an unknown filter": (
        ("features/macros/money.sql", "{{ column }} *", "{{ column|upperr }} *"),
        """\
Invalid macro file
  features/macros/money.sql is not a valid template: No filter named 'upperr'.
  features/macros/money.sql:3
  Fix this line or the one before; a macro ends with {% endmacro %}.""",
    ),
    "more than macros": (
        ("features/macros/money.sql", "{# What things cost. #}", "-- prices\n{% set tax = 2 %}"),
        """\
Invalid macro file
  features/macros/money.sql contains more than macros; SQL can only call macros.
  features/macros/money.sql:2
  Write only {% macro name(arguments) %}...{% endmacro %}; put shared values into [variables].""",
    ),
    "two macros of one name": (
        ("features/macros/money.sql", "unused", "usd"),
        """\
Name used twice
  Two macros have the name usd; the other one is at features/macros/money.sql:2.
  features/macros/money.sql:6
  Rename one of them.""",
    ),
    "a macro that shadows one of a folder above": (
        ("features/risk/macros/risk.sql", "{% macro twice", "{% macro usd(x) %}1{% endmacro %}\n{% macro twice"),
        """\
Name used twice
  Two macros have the name usd; the other one is at features/macros/money.sql:2.
  features/risk/macros/risk.sql:1
  Rename one of them.""",
    ),
    "a macro called like a source": (
        ("features/macros/money.sql", "unused", "raw"),
        """\
Name used twice
  The macro raw has the same name as the source at features/risk/__init__.py:4.
  features/macros/money.sql:6
  Rename one of them.""",
    ),
    "a macro called like what Jinja has": (
        ("features/macros/money.sql", "unused", "var"),
        """\
Name used twice
  The macro var has the same name as the built-in var().
  features/macros/money.sql:6
  Rename the macro.""",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(shop: Workspace, edit: Edit, mistake: str) -> None:
    """A mistake in a macro has the macro's line and its caller; a wrong call has the caller's line."""
    change, message = MISTAKES[mistake]
    edit(*change)
    assert message in refused(shop)
