"""Import SQL files: each query as a source with a group, over sources for the files and tables that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlglot import exp

from featdsl.definitions.names import did_you_mean, quote
from featdsl.errors import FeatdslError, Problem, SqlProblem
from featdsl.importers import columns
from featdsl.importers.declarations import ImportedGroup, ImportedProject, ImportedSource, ImportNote, LeftOut
from featdsl.importers.entities import EntityNames
from featdsl.importers.names import literal_sql, valid_name
from featdsl.importers.reachable import used
from featdsl.importers.sql import keys, places, queries
from featdsl.importers.sql.choices import SqlChoices
from featdsl.importers.sql.keys import QueryKeys, UnknownKeyError
from featdsl.importers.sql.places import UnreadableTableError
from featdsl.importers.sql.queries import SqlQuery
from featdsl.importers.sql.tables import SourceTables
from featdsl.importers.typing_rows import feature_type
from featdsl.sql import parser


def read(folder: Path, choices: SqlChoices) -> ImportedProject:
    """Return what the queries of a folder declare. Raises FeatdslError for files that are no queries."""
    found = queries.read(folder, choices.dialect)
    _refuse_unknown(found, choices)
    names: dict[str, str] = {}
    for query in found:
        names[query.name.lower()] = valid_name(query.name, taken=names.values(), prefix="q")
    base = folder.parent if folder.is_file() else folder
    gathered = _Gathered(choices, SourceTables(choices, base, set(names.values())), names)
    for query in _readers_last(found):
        gathered.add(query, _team(query, folder, choices))
    return ImportedProject(
        name=valid_name(base.resolve().name, prefix="p"),
        origin=f"the SQL files of {base.resolve().name}",
        entities=gathered.entities.all(),
        sources=tuple(used(gathered.groups, (*gathered.tables.sources.values(), *gathered.sources.values()))),
        groups=tuple(gathered.groups),
        left_out=tuple(gathered.left_out),
        notes=tuple(gathered.notes),
    )


@dataclass
class _Gathered:
    """Gathers the declarations of queries, in the order in which they read each other."""

    choices: SqlChoices
    tables: SourceTables
    names: Mapping[str, str]
    """The source of each query, by the lower-case name of its file."""
    entities: EntityNames = field(default_factory=lambda: EntityNames({}))
    sources: dict[str, ImportedSource] = field(default_factory=dict)
    groups: list[ImportedGroup] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[ImportNote] = field(default_factory=list)

    def add(self, query: SqlQuery, team: str) -> None:
        """Add the source and the group of a query, or why there is none."""
        name = self.names[query.name.lower()]
        try:
            template, known = self._source(query)
            self.sources[name] = ImportedSource(name=name, options={"sql": template})
            found = keys.find(query, known, self.choices)
        except (UnreadableTableError, UnknownKeyError) as error:
            self.left_out.append(LeftOut("query", query.name, str(error), query.where))
            return
        except SqlProblem as problem:
            self.left_out.append(
                LeftOut("query", query.name, " ".join(f"{problem} {problem.fix}".split()), query.where)
            )
            return
        times = {"timestamp": found.timestamp} if found.timestamp else {}
        self.sources[name] = ImportedSource(name=name, options={"sql": template, **times})
        self._add_group(query, found, {column: feature_type(dtype) for column, dtype in known.items()}, team)

    def _source(self, query: SqlQuery) -> tuple[str, dict[str, str]]:
        """Return the template of a query over sources, and its columns. Raises UnreadableTableError or SqlProblem."""
        found = places.find(query.text, query.tree)
        used = [self._name(place, query) for place in found]
        sql = places.replaced(query.text, found, [f"source.{quote(name)}" for name in used])
        parser.source_inputs(parser.query(sql))
        columns_of = self.tables.add_query(self.names[query.name.lower()], sql)
        template = literal_sql(places.replaced(query.text, found, [f"\0{name}\0" for name in used]))
        for name in used:
            template = template.replace(f"\0{name}\0", f"{{{{ {name} }}}}")
        return template, columns_of

    def _name(self, place: places.TablePlace, query: SqlQuery) -> str:
        """Return the source of a table: that of another query of this name, else of a file or a table."""
        if (
            len(place.table) == 1
            and place.table[0].lower() in self.names
            and place.table[0].lower() != query.name.lower()
        ):
            return self.names[place.table[0].lower()]
        return self.tables.source_of(place)

    def _add_group(self, query: SqlQuery, found: QueryKeys, known: Mapping[str, str], team: str) -> None:
        keyed = self.entities.of(
            {key: known[key] for key in found.keys}, query.name, query.settings.get("entity", "")
        )  # fmt: skip
        entity_keys = next(each.keys for each in self.entities.all() if each.name == keyed.entity)
        features = columns.features(known, {*found.keys, found.timestamp}, {}, entity_keys)
        name = self.names[query.name.lower()]
        if not features:
            self.left_out.append(
                LeftOut("query", query.name, "It has no columns beside its key and its time.", query.where)
            )
            return
        group = ImportedGroup(
            name=name,
            entity=keyed.entity,
            features=tuple(features.values()),
            team=team,
            source=name,
            keys=keyed.keys,
            description=query.description,
        )
        self.groups.append(group)
        self.notes += [*(ImportNote(name, text) for text in found.inferred), *columns.notes(name, features)]


def _readers_last(found: list[SqlQuery]) -> Iterator[SqlQuery]:
    """Yield queries, each after the queries of the folder that it reads."""
    waiting = {query.name.lower(): query for query in found}

    def place(query: SqlQuery) -> Iterator[SqlQuery]:
        del waiting[query.name.lower()]
        for table in query.tree.find_all(exp.Table):
            read_query = waiting.get(table.name.lower()) if not table.db else None
            if read_query is not None:
                yield from place(read_query)
        yield query

    while waiting:
        yield from place(next(iter(waiting.values())))


def _team(query: SqlQuery, folder: Path, choices: SqlChoices) -> str:
    """Return the team of a query: what it says, the chosen one, the folder that it is in, else the name of all."""
    written = query.settings.get("team") or query.settings.get("owner") or choices.team
    if not written and folder.is_dir() and query.file.parent != folder:
        written = query.file.relative_to(folder).parts[0]
    base = folder.parent if folder.is_file() else folder
    return valid_name(written or base.resolve().name, prefix="team")


def _refuse_unknown(found: list[SqlQuery], choices: SqlChoices) -> None:
    """Raise FeatdslError for an option that names a query that the folder does not have."""
    known = {query.name for query in found}
    for name in (*choices.keys, *choices.timestamps, *sorted(choices.static)):
        if name not in known:
            raise FeatdslError(Problem("Unknown query", f"There is no file {name}.sql.", fix=did_you_mean(name, known)))
