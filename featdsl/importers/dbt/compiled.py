"""Turn the compiled query of an ephemeral model, which has no table, into SQL over the sources of other models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from featdsl.definitions.names import quote
from featdsl.errors import SqlProblem
from featdsl.importers.dbt.manifest import Node
from featdsl.importers.dbt.relations import Relations
from featdsl.importers.declarations import ImportedSource
from featdsl.importers.names import literal_sql, valid_name

if TYPE_CHECKING:
    from featdsl.importers.sql.places import TablePlace

_UNKNOWN = "It is ephemeral, so it has no table, and its compiled query {why}; make it a view, or import its query with featdsl import sql."


class UncompiledError(ValueError):
    """An ephemeral model whose query cannot be a source."""

    def __init__(self, why: str) -> None:
        super().__init__(_UNKNOWN.format(why=why))


@dataclass
class CompiledQueries:
    """Reads compiled queries, and gathers sources for the tables in them that are no imported models."""

    relations: Relations
    names: dict[tuple[str, str, str], str]
    """The source of each table: by database, schema and table."""
    helpers: dict[str, ImportedSource] = field(default_factory=dict)

    def read(self, node: Node) -> tuple[str, dict[str, str]]:
        """Return the template of a model's query over sources, and its columns. Raises UncompiledError."""
        from featdsl.importers.sql import places
        from featdsl.sql import parser

        text = str(node.get("compiled_code") or "").strip()
        if not text:
            raise UncompiledError("is not in the manifest (dbt compile writes it)")
        try:
            found = places.find(text, parser.query(text))
        except (SqlProblem, places.UnreadableTableError):
            raise UncompiledError("is none that a source can have") from None
        tables = [self._table(each) for each in found]
        names = [self._name(each) for each in tables]
        columns = self._columns(
            places.replaced(text, found, [f"tables.{quote('.'.join(each))}" for each in tables]), tables
        )
        template = literal_sql(places.replaced(text, found, [f"\0{name}\0" for name in names]))
        for name in names:
            template = template.replace(f"\0{name}\0", f"{{{{ {name} }}}}")
        return template, columns

    def _table(self, place: TablePlace) -> tuple[str, str, str]:
        """Return the database, the schema and the name of a table. Raises UncompiledError if its columns are unknown."""
        for key in self.relations.columns:
            if place.table and key[-len(place.table) :] == place.table:
                return key
        raise UncompiledError("reads a table whose columns are unknown")

    def _name(self, table: tuple[str, str, str]) -> str:
        """Return the name of the source of a table."""
        if table not in self.names:
            database, schema, relation = table
            name = valid_name(relation, taken=self.names.values())
            place = self.relations.databases.get(database, self.relations.databases.get("", ""))
            self.helpers[name] = ImportedSource(name=name, options={"table": f"{schema}.{relation}", "database": place})
            self.names[table] = name
        return self.names[table]

    def _columns(self, sql: str, tables: list[tuple[str, str, str]]) -> dict[str, str]:
        """Return the columns of a query over empty tables. Raises UncompiledError."""
        import duckdb

        connection = duckdb.connect(config={"threads": 1, "enable_external_access": False})
        connection.execute("CREATE SCHEMA tables")
        try:
            for table in dict.fromkeys(tables):
                columns = ", ".join(f"{quote(name)} {dtype}" for name, dtype in self.relations.columns[table].items())
                connection.execute(f"CREATE TABLE tables.{quote('.'.join(table))} ({columns})")
            rows = connection.execute(f"DESCRIBE {sql}").fetchall()
        except duckdb.Error:
            raise UncompiledError("is none that DuckDB understands") from None
        return {str(name): str(dtype) for name, dtype, *_ in rows}
