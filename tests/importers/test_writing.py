"""What an import writes always loads, says what was imported, and is left unchanged by a formatter."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from hypothesis import given

from featdsl.catalog import loader
from featdsl.declarations.declaration import Declaration
from featdsl.errors import FeatdslError
from featdsl.importers import writing
from featdsl.importers.declarations import (
    ImportedEntity,
    ImportedFeature,
    ImportedGroup,
    ImportedProject,
    ImportedReference,
    ImportedRule,
    ImportedSet,
    ImportedSource,
)
from featdsl.importers.python_code import one_line
from featdsl.project import settings
from tests.importers.generated import projects

RUFF = Path(sys.executable).with_name("ruff")

SHOP = ImportedProject(
    name="shop",
    origin="the dbt project shop",
    entities=(ImportedEntity(name="customer", keys={"customer_id": "BIGINT"}, description="A customer."),),
    sources=(
        ImportedSource(name="orders", options={"path": "data/orders.parquet", "timestamp": "ordered_at"}),
        ImportedSource(
            name="paid",
            options={"sql": "SELECT *\nFROM {{ orders }}\nWHERE paid", "timestamp": "ordered_at"},
            description="Paid orders.",
        ),
    ),
    groups=(
        ImportedGroup(
            name="spend_share",
            entity="customer",
            team="risk",
            inputs=(ImportedReference(address="spending.spend_7d"), ImportedReference(address="spending.class")),
            features=(ImportedFeature(name="share", dtype="DOUBLE", sql="spend_7d / 100"),),
        ),
        ImportedGroup(
            name="spending",
            entity="customer",
            team="risk",
            source="paid",
            keys={"customer_id": "cust"},
            description="What a customer pays.\n\nRefunds are left out.",
            features=(
                ImportedFeature(name="class", dtype="VARCHAR"),
                ImportedFeature(
                    name="spend",
                    dtype="DOUBLE",
                    sql="sum(amount)",
                    options={"windows": ["7 days", "30 days"]},
                    description="Total of the paid orders.",
                    expect=(
                        ImportedRule(condition="spend >= 0"),
                        ImportedRule(condition="spend < 100000", severity="warn"),
                    ),
                    tags=("money",),
                ),
            ),
        ),
    ),
    sets=(ImportedSet(name="churn", team="growth", features=(ImportedReference(address="spending.*"),)),),
)


def formatted(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the formatter's check over a folder, with its defaults and these options."""
    command = [str(RUFF), "format", "--isolated", "--no-cache", "--diff", *options, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def declared(root: Path) -> dict[tuple[str, str], Declaration]:
    """Load a written project, and return its declarations by kind and address."""
    loaded = loader.load(settings.load(root))
    assert loaded.problems == ()
    return {(each.kind, each.address): each for each in loaded.declarations}


def test_a_project_reads_as_a_person_would_write_it(tmp_path: Path) -> None:
    """Entities that one folder uses stand there, groups in a module each, sets in a module of their team."""
    written = writing.write(SHOP, tmp_path)
    assert written.files == (
        ".gitignore", "featproject.toml", "features/__init__.py", "features/growth/__init__.py", "features/growth/sets.py",
        "features/risk/__init__.py", "features/risk/entities.py", "features/risk/spend_share.py", "features/risk/spending.py",
    )  # fmt: skip
    assert (tmp_path / "features/risk/spending.py").read_text() == textwrap.dedent('''\
        """Features of spending, imported from the dbt project shop."""

        from featdsl import Expect, Feature, FeatureGroup, Source

        from features.risk.entities import customer

        orders = Source("orders", path="data/orders.parquet", timestamp="ordered_at")

        paid = Source(
            "paid",
            sql="""
                SELECT *
                FROM {{ orders }}
                WHERE paid
            """,
            timestamp="ordered_at",
            description="Paid orders.",
        )


        class Spending(
            FeatureGroup,
            entity=customer,
            source=paid,
            keys={"customer_id": "cust"},
            features=[Feature(str, name="class")],
        ):
            """What a customer pays.

            Refunds are left out.
            """

            spend = Feature(
                float,
                sql="sum(amount)",
                windows=["7 days", "30 days"],
                description="Total of the paid orders.",
                expect=["spend >= 0", Expect("spend < 100000", severity="warn")],
                tags="money",
            )
        ''')
    assert (tmp_path / "features/risk/spend_share.py").read_text() == textwrap.dedent('''\
        """Features of spend share, imported from the dbt project shop."""

        from featdsl import Feature, FeatureGroup

        from features.risk.entities import customer
        from features.risk.spending import Spending


        class SpendShare(
            FeatureGroup,
            entity=customer,
            inputs=[Spending.spend_7d, Spending["class"]],
        ):
            share = Feature(float, sql="spend_7d / 100")
        ''')
    assert (tmp_path / "features/growth/sets.py").read_text() == textwrap.dedent('''\
        """Feature sets, imported from the dbt project shop."""

        from featdsl import FeatureSet

        from features.risk.spending import Spending

        churn_v1 = FeatureSet("churn", version=1, features=[Spending])
        ''')


@pytest.mark.property
@given(projects())
def test_what_is_written_loads_and_is_formatted(project: ImportedProject) -> None:
    """Whatever stands in names, texts and SQL: a formatter changes nothing, and the declarations say what was imported."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        writing.write(project, root)
        for width in ("88", "120"):
            done = formatted(root, "--line-length", width)
            assert done.returncode == 0, done.stdout
        known = declared(root)
    for entity in project.entities:
        assert known["entity", entity.name].description == one_line(entity.description)
    for group in project.groups:
        for feature in group.features:
            if not feature.options.get("windows"):
                read = known["feature", f"{group.name}.{feature.name}"]
                assert (read.description, read.tags) == (one_line(feature.description), feature.tags)
                assert (read.sql or "").split() == feature.sql.split()


def test_no_file_is_replaced(tmp_path: Path) -> None:
    """An import into a project that has one of its modules writes nothing."""
    (tmp_path / "features/risk").mkdir(parents=True)
    (tmp_path / "features/risk/spending.py").write_text("mine = 1\n")
    with pytest.raises(FeatdslError, match="an import replaces no files"):
        writing.write(SHOP, tmp_path)
    assert [each.name for each in tmp_path.rglob("*.*")] == ["spending.py"]


def test_a_project_that_exists_keeps_its_settings_and_its_package(tmp_path: Path) -> None:
    """The modules go to the package that featproject.toml names, and import from it."""
    (tmp_path / "featproject.toml").write_text('[project]\nname = "mine"\nfeatures = "feats"\n')
    (tmp_path / "feats").mkdir()
    (tmp_path / "feats/__init__.py").write_text('"""Ours."""\n')
    written = writing.write(SHOP, tmp_path)
    assert "feats/risk/spending.py" in written.files
    assert "featproject.toml" not in written.files
    assert (tmp_path / "feats/__init__.py").read_text() == '"""Ours."""\n'
    assert ("feature", "spending.spend_30d") in declared(tmp_path)


def test_an_entity_that_the_project_has_is_used(tmp_path: Path) -> None:
    """A second import declares only what is new, beside the first."""
    writing.write(SHOP, tmp_path)
    visit = ImportedEntity(name="visit", keys={"visit_id": "BIGINT"})
    groups = tuple(
        ImportedGroup(name=f"visits_{each}", entity=each, team="risk", source="seen", features=(ImportedFeature(name="a", dtype="DOUBLE"),))
        for each in ("customer", "visit")
    )  # fmt: skip
    more = ImportedProject(
        name="shop",
        origin="the dbt project shop",
        entities=(*SHOP.entities, visit),
        sources=(ImportedSource(name="seen", options={"path": "seen.parquet", "timestamp": "at"}),),
        groups=(*groups, dataclasses.replace(groups[1], name="visits_again")),
    )
    written = writing.write(more, tmp_path)
    assert "features/risk/entities_2.py" in written.files
    assert (
        "from features.risk.entities import customer\n" in (tmp_path / "features/risk/visits_customer.py").read_text()
    )
    assert {("entity", "customer"), ("entity", "visit"), ("group", "spending")} <= declared(tmp_path).keys()
    other = dataclasses.replace(SHOP, entities=(ImportedEntity(name="customer", keys={"id": "BIGINT"}),))
    with pytest.raises(
        FeatdslError, match="The import needs customer with the keys id, and the project's has customer_id"
    ):
        writing.write(other, tmp_path)


def test_variables_become_settings() -> None:
    """Variables of SQL stand in featproject.toml."""
    text = writing.settings_text("shop", {"months": 12, "region": 'the "west"', "on": True, "days": [1, 2]})
    assert text.endswith('[variables]\nmonths = 12\nregion = "the \\"west\\""\non = true\ndays = [1, 2]\n')
