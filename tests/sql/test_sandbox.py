"""The Jinja sandbox: no access to Python objects, deterministic output, and limits on work and text."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from pathlib import Path

import pytest

from featdsl.sql import templates
from featdsl.sql.templates import TemplateProblem
from tests.conftest import Workspace

ESCAPES = {
    "the globals of a function": "{{ cycler.__init__.__globals__.os.system('touch ' ~ var('file')) }}",
    "the classes of a text": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "the globals of var": "{{ var.__globals__ }}",
    "a code object": "{{ var.__code__ }}",
    "by a filter": "{{ ''|attr('__class__') }}",
    "by a format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "by map": "{{ ['']|map(attribute='__class__')|list }}",
    "a generator": "{% set g = ['']|map('upper') %}{{ g.gi_frame }}",
    "a namespace": "{{ namespace.__init__.__globals__ }}",
    "the environment": "{{ self.__init__.__globals__ }}",
}


def fill(text: str, **variables: object) -> str:
    """Render a template."""
    return templates.render(text, variables=variables, sources={"orders": "source.orders"})


@pytest.mark.parametrize("name", ESCAPES)
def test_there_is_no_way_out(name: str, tmp_path: Path) -> None:
    """Each known way to Python's objects is refused or has no effect."""
    file = tmp_path / "ran"
    text = ""
    with suppress(TemplateProblem):
        text = fill(ESCAPES[name], file=str(file))
    assert ("<class" in text, "<function" in text, file.exists()) == (False, False, False), text


TOO_MUCH = {
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}",
    "a loop over a loop in a macro": "{% macro m() %}{% for a in range(99999) %}{% for b in range(9) %}x{% endfor %}{% endfor %}{% endmacro %}{{ m() }}",
    "macros that double": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "a text times a number": "{{ 'x' * 100000000 }}",
    "a list times a number": "{{ ([1] * 100000000)|length }}",
    "a large power": "{{ 9 ** (9 ** 9) }}",
    "a format": "{{ '%100000000d' % 1 }}",
    "a filled line": "{{ 'x'|center(1000000000) }}",
    "a filled line by a method": "{{ 'x'.ljust(1000000000) }}",
    "zeros before a text": "{{ 'x'.zfill(1000000000) }}",
    "tabs": "{% set t = '\\t' * 1000000 %}{{ t.expandtabs(1000000) }}",
    "a format by a method": "{{ '{:>1000000000}'.format(1) }}",
    "a format by a filter": "{{ '%1000000000d'|format(1) }}",
    "an indent": "{{ ('a\nb' * 100000)|indent(1000000) }}",
    "an indent of JSON": "{{ [1, 2]|tojson(1000000000) }}",
    "a batch": "{{ [1]|batch(1000000000, 'x')|list|length }}",
    "a text for each letter": "{% set t = 'x' * 1000000 %}{{ t|replace('x', t)|length }}",
    "a text for each letter by a method": "{% set t = 'x' * 1000000 %}{{ t.replace('x', t)|length }}",
    "a long list of long texts": "{% set t = 'x' * 9000000 %}{{ ([t] * 1000)|join|length }}",
    "the same by a method": "{% set t = 'x' * 9000000 %}{{ ''.join([t] * 1000)|length }}",
    "the same between": "{% set t = 'x' * 9000000 %}{{ ([1] * 1000)|join(t)|length }}",
    "a text that doubles": "{% set ns = namespace(t='xxxxxxxxxx') %}{% for i in range(40) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t|length }}",
    "a sum that doubles": "{% set ns = namespace(t='xxxxxxxxxx') %}{% for i in range(40) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t|length }}",
    "much text in a loop": "{% set t = 'x' * 9000000 %}{% macro m() %}{% for i in range(999) %}{{ t }}{% endfor %}{% endmacro %}{{ m()|length }}",
    "a range": "{{ range(10000000)|list|length }}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOO_MUCH)
def test_work_and_text_have_bounds(name: str) -> None:
    """A template that would run for hours or fill the memory fails quickly."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(TemplateProblem, match=r"more than [\d,]+ (steps|characters)|too large a number|Range too big"):
        fill(TOO_MUCH[name])
    assert time.monotonic() - began < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kilobytes


def test_what_people_write_goes_on_as_before() -> None:
    """Loops, conditions, filters, macros, joins and arithmetic work."""
    text = """{% macro sums(names) %}{% for n in names %}sum({{ n }}) AS {{ n ~ '_total' }}{{ ', ' if not loop.last }}{% endfor %}{% endmacro %}
SELECT {{ sums(['a', 'b']) }}, {{ 2 * 3 + 1 }}, {{ '%s-%02d' % ('x', 7) }}, {{ 'ab'|center(6) }}|
FROM {{ ref('orders') }} WHERE x > {{ var('least') }} AND {{ range(3)|join(', ') }} AND {{ 'a' + 'b' }}"""
    assert fill(text, least=5).split("\n", 1)[1] == (
        "SELECT sum(a) AS a_total, sum(b) AS b_total, 7, x-07,   ab  |\n"
        "FROM source.orders WHERE x > 5 AND 0, 1, 2 AND ab"
    )


@pytest.mark.parametrize("text", ["{{ lipsum() }}", "{{ [1, 2, 3]|random }}"])
def test_chance_is_no_part_of_sql(text: str) -> None:
    """Random text would change the fingerprint at each plan."""
    with pytest.raises(TemplateProblem):
        fill(text)


def test_plan_tells_where_it_stands(workspace: Workspace) -> None:
    """A template cannot run a command; the message names the line of the source."""
    workspace.write({
        "featproject.toml": '[project]\nname = "p"\n',
        "features/__init__.py": 'from featdsl import Source\n\n'
        'rows = Source("rows", sql="SELECT 1 AS x {{ cycler.__init__.__globals__.os.system(\'touch ran\') }}")\n',
    })  # fmt: skip
    planned = workspace.run("plan")
    assert (planned.returncode, "features/__init__.py:3" in planned.stderr) == (1, True), planned.stderr
    assert "unsafe" in planned.stderr
    assert not list(workspace.root.rglob("ran"))
