"""Build a table: at once, in batches of event time where it has very many rows, or from where an apply has left it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal, TypeVar

from featdsl import calls, datafaults, engine, fileschemas, frames, places, recipes, resources, urls
from featdsl.definitions import GroupDefinition, SourceDefinition
from featdsl.engine import FileState
from featdsl.errors import DataError, Problem, ReadingError, SourceFileError, StoreError, UnreachableError
from featdsl.listings import Listing, settled_before
from featdsl.names import SOURCE_SCHEMA, escaped, quote
from featdsl.plan import BuildTable, CheckRows
from featdsl.recipes import Recipe
from featdsl.snapshot import CheckResult, Reading
from featdsl.stopping import is_interruption
from featdsl.stores.damage import DAMAGED

if TYPE_CHECKING:
    from featdsl.project import Project
    from featdsl.stores import Store, Writer

T = TypeVar("T")
Made = SourceDefinition | GroupDefinition | BuildTable | CheckRows
"""What may fail while real data are read."""
Progress = Callable[[int, int], None]
"""Is told how many rows are done, and of how many."""
_PATTERNS = frozenset({"parquet", "csv", "json"})
"""Formats whose sources are files, told by patterns."""
_COUNTED = frozenset({"parquet", "table"})
"""Formats whose rows are counted without reading them."""
_SMALL = 122_880
"""DuckDB reads so many rows with one core: tables of no more are made side by side."""


@dataclass(frozen=True)
class Run:
    """What the steps of one apply, or of one refresh, work with."""

    project: Project
    store: Store
    writer: Writer
    functions: calls.Functions
    environment: str
    during: Literal["apply", "refresh"] = "apply"
    builds: Mapping[str, BuildTable] = field(default_factory=dict)
    """The tables that it builds, in order."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """What must not be found in them once they are built, a query for each."""
    built: set[str] = field(default_factory=set)
    """Those that are built."""
    sources: dict[str, SourceDefinition] = field(default_factory=dict)
    """The sources that SQL can read now."""
    made: dict[str, str] = field(default_factory=dict)
    """For each table that was built, a text that tells the data it was made of, where that is known."""
    results: list[CheckResult] = field(default_factory=list)
    """What checks of declared rules found."""
    begun: str = field(default_factory=lambda: datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" "))
    """When it began, in UTC."""
    rows: dict[SourceDefinition, int] = field(default_factory=dict)
    """How many rows sources have."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of files by path what they hold, as it was looked up before they were read."""
    _files: dict[SourceDefinition, list[FileState] | None] = field(default_factory=dict)

    def open(self, source: SourceDefinition) -> None:
        """Let SQL read a source. Raises DataError."""
        connection, root = self.writer.connection, self.project.root
        # What is read must be at least what is noted, so that nothing new is taken for old the next time.
        self._sign(source)
        earlier = self.sources.get(source.name)
        if earlier is not None:
            kind = "TABLE" if earlier.function is not None else "VIEW"
            connection.execute(f"DROP {kind} {SOURCE_SCHEMA}.{quote(source.name)}")
        self.sources[source.name] = source
        if source.function is not None:
            in_words(source, lambda: calls.open_source(connection, source, self.functions, root))
            return
        in_words(source, lambda: self._define(source))

    def _sign(self, source: SourceDefinition) -> None:
        """Look up what the files of a source hold."""
        settled = settled_before(self.begun)
        for state in self.listing([source]).files:
            # A database, or a file that is far away, takes too long to read whole, but where its times do not tell.
            is_near = source.format in _PATTERNS and not urls.scheme(state.path)
            if is_near or max(state.modified, state.changed) >= settled:
                in_words(source, partial(self.digest, state))

    def digest(self, state: FileState) -> str:
        """Return the digest of what a file holds, nothing where it is gone; it is looked up once."""
        if state.path not in self.digests:
            with contextlib.suppress(OSError):
                self.digests[state.path] = engine.digest(self.writer.connection, state.path)
        return self.digests.get(state.path, "")

    def _list(self, source: SourceDefinition) -> list[FileState] | None:
        if source.format in _PATTERNS:
            places.open_urls(self.writer.connection, source.location, self.project.settings.engine.s3)
        return engine.listing(self.writer.connection, source, self.project.root, self.store.frames)

    def _define(self, source: SourceDefinition) -> None:
        places.attach(self.writer.connection, source, self.project)
        _refuse_damaged_frame(source, self.store)
        # All tables of a run are made of the files that were listed first.
        paths = [path for path, *_ in self.listing([source]).files] if source.format in _PATTERNS else []
        select = fileschemas.select(self.writer.connection, source, self.project.root, self.store.frames, paths)
        engine.define(self.writer.connection, source, select)

    @cached_property
    def in_footers(self) -> Mapping[SourceDefinition, int]:
        """How many rows the Parquet files have of the sources that tables are built from, once these are opened.

        All in one query: one for each of many small sources would take a tenth of making their tables.
        """
        import duckdb

        read = {self.sources[step.source] for step in self.builds.values() if step.source}
        files = {source: self.listing([source]).files for source in read if source.format == "parquet"}
        paths = [escaped(path) for states in files.values() for path, *_ in states]
        query = "SELECT file_name, num_rows FROM parquet_file_metadata($1)"
        try:
            rows = dict(self.writer.connection.execute(query, [paths]).fetchall()) if paths else {}
        except duckdb.Error:  # encrypted, or no Parquet at all: each source's own step will tell
            return {}
        return {
            source: sum(rows[path] for path, *_ in states)
            for source, states in files.items()
            if states and all(path in rows for path, *_ in states)
        }

    def listing(self, sources: Sequence[SourceDefinition]) -> Listing:
        """Return the state that the files of sources had when they were first looked at."""
        for source in sources:
            if source not in self._files:
                self._files[source] = in_words(source, partial(self._list, source))
        states = [self._files[each] for each in sources]
        files = sorted({file for state in states for file in state or ()})
        return Listing(tuple(files), whole=all(state is not None for state in states))


def _refuse_damaged_frame(source: SourceDefinition, store: Store) -> None:
    folder = store.frames
    if source.format != "frame" or isinstance(folder, str):
        return
    path = folder / f"{source.location[0]}.parquet"
    if not frames.is_whole(path):
        what = (
            f"source {source.name} is rows that came from memory, and {path}, which kept them, is not what was written."
        )
        raise StoreError(Problem(DAMAGED, what, source.origin, "Apply the code that has these rows: featdsl apply"))


def in_words(what: Made, run: Callable[[], T]) -> T:
    """Run what reads real data, and tell what the engine says of it in our words. Raises DataError, ResourceError."""
    import duckdb

    try:
        return run()
    except (duckdb.InterruptException, RuntimeError) as error:
        if is_interruption(error):
            raise KeyboardInterrupt from None
        raise
    except (UnreachableError, SourceFileError) as error:
        (found,) = error.problems
        mend = f"Nothing was published. {found.mend}"
        raise DataError(Problem(found.summary, f"{_name(what)}: {found.what}", what.origin, mend)) from None
    except duckdb.Error as error:
        unread = isinstance(error, duckdb.OperationalError | duckdb.InternalError)
        problem = _problem(what, error)
        told = ReadingError(problem) if unread else DataError(problem)
        raise resources.exhausted(_name(what), error, what.origin) or told from None


def _name(what: Made) -> str:
    match what:
        case BuildTable():
            return f"group {what.group}"
        case CheckRows():
            return what.address
        case _:
            return f"{what.kind} {what.name}"


def _problem(what: Made, error: Exception) -> Problem:
    if isinstance(what, SourceDefinition) and "No files found" in str(error):
        told = f"{_name(what)}: no file matches {', '.join(what.location)}."
        return Problem(
            "Missing file", told, what.origin, places.mend(what) or "Nothing was published. Bring the files back."
        )
    if fault := datafaults.found(error):
        return Problem(
            fault.summary, f"{_name(what)}: {fault.what}.", what.origin, f"Nothing was published. {fault.fix}"
        )
    said = "\n".join(places.bared(str(error)).splitlines()[:3])
    summary = "Source cannot be read" if isinstance(what, SourceDefinition) else "Data cannot be computed"
    mend = "Nothing was published. Mend the data or the SQL, then apply again."
    return Problem(summary, f"{_name(what)}: {said}", what.origin, mend)


def reading(listing: Listing, run: Run) -> Reading:
    """Return what is noted of sources that were read in a run."""
    signed = tuple(state._replace(digest=run.digests.get(state.path, "")) for state in listing.files)
    return Reading(run.begun, replace(listing, files=signed).to_json(run.project.root))


def build(step: BuildTable, run: Run, progress: Progress) -> int:
    """Build a table, or go on with what an apply has left, and return its number of rows. Raises DataError."""
    with calls.opened(run.writer.connection, step.functions, run.functions, run.project.root):
        if step.source:
            recipe = Recipe(build=step, sources=recipes.closure(step.source, run.sources))
            rows = in_words(step, lambda: _from_source(recipe, run, progress))
        else:
            rows = in_words(step, lambda: _derived(step, run))
    run.built.add(step.table)
    return rows


def begin_some(coming: deque[BuildTable], run: Run) -> None:
    """Begin with the tables that come next and are small, as many as there is room for, and drop them from those to come.

    The first one that is made of a table still to be built ends that: what comes after it may be made of it.
    """
    import duckdb

    small = min(_SMALL, run.project.settings.engine.batch_rows)
    while run.writer.has_room and coming and _is_ready(coming[0], run):
        step = coming.popleft()
        with contextlib.suppress(duckdb.Error):  # which its own step will tell
            rows = None if step.functions or step.table in run.built else _expected(step, run)
            if rows is not None and rows <= small:
                run.writer.begin(step.table, step.sql, step.reads, run.checks.get(step.table, ""))


def _is_ready(step: BuildTable, run: Run) -> bool:
    return all(table in run.built or table not in run.builds for table in step.reads)


def _expected(step: BuildTable, run: Run) -> int | None:
    """Return how many rows a table may be made of; None where that would take reading them."""
    if not step.source:
        return sum(run.writer.table(name).rows for name in step.reads)
    return _counted(Recipe(build=step, sources=recipes.closure(step.source, run.sources)), run)


def _derived(step: BuildTable, run: Run) -> int:
    made_of = _made_of_tables(step, run)
    left = run.writer.left(step.table, made_of)
    rows = left.rows if left else run.writer.build(step.table, step.sql, step.columns, step.reads, step.keys)
    run.made[step.table] = made_of
    run.writer.keep(step.table, "", Reading(""), made_of=made_of)
    return rows


def _made_of_tables(step: BuildTable, run: Run) -> str:
    known = run.writer.snapshot.tables
    states = []
    for table in step.reads:
        at = f"state {known[table].written[-1].serial}" if table in known and known[table].written else ""
        states.append(run.made.get(table, at))
    return _digest([step.sql, *states]) if all(states) else ""


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([engine.version(), *parts]).encode()).hexdigest()[:32]


def _from_source(recipe: Recipe, run: Run, progress: Progress) -> int:
    """Build a table from its source; each batch is kept before the next one is begun."""
    step, writer = recipe.build, run.writer
    listing = run.listing(recipe.sources)
    read = reading(listing, run)
    made_of = _digest([step.sql, read.files]) if listing.whole else ""
    kept = recipes.to_json(recipe)
    run.made[step.table] = made_of
    left = writer.left(step.table, made_of)
    if left and left.upto is None:
        writer.keep(step.table, kept, read, made_of=made_of)
        return left.rows
    total, bounds = _batches(recipe, run)
    done, begin = (left.rows, left.upto) if left else (0, None)
    # The bounds need not be those of before: they are estimates, and settings may have changed.
    later = [bound for bound in bounds if begin is None or bound > begin]
    for since, upto in zip([begin, *later], [*later, None], strict=True):
        sql = recipe.sql(since, upto)
        if since is None:
            done = writer.build(step.table, sql, step.columns, step.reads, step.keys)
        else:
            done += writer.extend(step.table, sql, since=since) or 0
        writer.keep(step.table, kept, read, made_of=made_of, upto=upto)
        if later or since is not None:
            progress(done, max(total, done))
    return done


def _batches(recipe: Recipe, run: Run) -> tuple[int, list[str]]:
    """Return how many rows a source has, and the event times that part them into batches, in order: none for few rows."""
    total = _counted(recipe, run)
    if total is None or not recipe.in_parts:
        return 0, []
    number = -(-total // run.project.settings.engine.batch_rows)
    if number < 2:  # noqa: PLR2004 - one batch is no batch
        return total, []
    shares = ", ".join(f"{place / number:.6f}" for place in range(1, number))
    # To the microsecond; infinite times lie in the first or the last batch whatever the bounds are.
    finite = f"CASE WHEN isfinite({recipe.known}) THEN epoch_us({recipe.known}) END"
    bounds = f"SELECT unnest(approx_quantile({finite}, [{shares}])) FROM {_relation(recipe)}"
    times = (
        f"SELECT DISTINCT CAST(make_timestamp(found) AS VARCHAR) FROM ({bounds}) AS t(found) WHERE found IS NOT NULL"
    )
    return total, sorted(time for (time,) in run.writer.connection.execute(times).fetchall())


def _counted(recipe: Recipe, run: Run) -> int | None:
    """Return how many rows a source has; None where that would take reading them."""
    if recipe.source.format not in _COUNTED:
        return None
    if (rows := run.in_footers.get(recipe.source)) is not None:
        return rows
    if recipe.source not in run.rows:
        ((rows,),) = run.writer.connection.execute(f"SELECT count(*) FROM {_relation(recipe)}").fetchall()
        run.rows[recipe.source] = rows
    return run.rows[recipe.source]


def _relation(recipe: Recipe) -> str:
    return f"{SOURCE_SCHEMA}.{quote(recipe.source.name)}"
