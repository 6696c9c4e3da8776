"""Read SQL files: one SELECT in each, with what the comment at its top says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from featdsl.definitions.names import did_you_mean
from featdsl.errors import DeclarationError, FeatdslError, Origin, Problem
from featdsl.sql import mistakes
from featdsl.sql.templates import is_template

_SETTING = re.compile(r"--\s*(key|keys|timestamp|entity|team|owner|static)\s*:\s*(.*?)\s*", re.IGNORECASE)
_DUCKDB = "duckdb"


@dataclass(frozen=True)
class SqlQuery:
    """One query: its text in DuckDB's dialect without the comment at its top, its tree, and what the comment says."""

    name: str
    file: Path
    line: int
    """The line at which the query starts."""
    text: str
    tree: exp.Query
    settings: Mapping[str, str]
    description: str

    @property
    def where(self) -> str:
        """Its file and line."""
        return f"{self.file}:{self.line}"


def read(folder: Path, dialect: str) -> list[SqlQuery]:
    """Return the queries of a folder, or of one file, in the order of their names.

    Raises DeclarationError with every file that is no query.
    """
    _refuse_unknown(dialect)
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.sql"))
    if not files:
        what = f"{folder} contains no .sql files."
        raise FeatdslError(
            Problem("No queries", what, fix="Name the folder of your queries: featdsl import sql FOLDER")
        )
    queries, problems = [], []
    for file in files:
        read_file = _query(file, dialect)
        if isinstance(read_file, SqlQuery):
            queries.append(read_file)
        else:
            problems.append(read_file)
    if problems:
        raise DeclarationError([*problems, *_duplicates(queries)])
    if duplicates := [*_duplicates(queries)]:
        raise DeclarationError(duplicates)
    return queries


def _query(file: Path, dialect: str) -> SqlQuery | Problem:
    """Return the query of a file, or what is wrong with it."""
    try:
        written = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        return Problem("File cannot be read", f"{file}: {reason}.")
    head, body = _split(written)
    line = written[: len(written) - len(body.lstrip())].count("\n") + 1
    where = Origin(str(file), line)
    if is_template(body):
        fix = "If it is a model of dbt, import the project: featdsl import dbt FOLDER"
        return Problem("Query is a template", "It contains {{ or {%, so it is not SQL yet.", where, fix)
    text = _without_end(body.strip())
    tree = _tree(text, dialect, where)
    if isinstance(tree, Problem):
        return tree
    if dialect != _DUCKDB:
        text = tree.sql(dialect=_DUCKDB, pretty=True)
        translated = _tree(text, _DUCKDB, where)
        if isinstance(translated, Problem):
            return translated
        tree = translated
    settings, description = _header(head)
    return SqlQuery(file.stem, file, line, text, tree, settings, description)


def _tree(text: str, dialect: str, where: Origin) -> exp.Query | Problem:
    """Return the tree of one query, or what is wrong with the text."""
    try:
        statements = [each for each in sqlglot.parse(text, read=dialect) if each is not None]
    except (SqlglotError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        details: list[dict[str, object]] = getattr(error, "errors", [])
        detail = details[0] if details else {}
        line = where.line + int(str(detail.get("line") or 1)) - 1
        reason = mistakes.mistake(text, detail or None)
        what, fix = f"Syntax error: {reason}.", f"The dialect is {dialect}; name another with --dialect."
        return Problem("Query cannot be read", what, Origin(where.file, line), fix)
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        what = "It has several statements." if len(statements) > 1 else "It is no SELECT."
        return Problem("Not one query", what, where, "Write one SELECT in each file.")
    return statements[0]


def _without_end(text: str) -> str:
    """Return a statement without the semicolon at its end and a comment behind it."""
    try:
        tokens = sqlglot.tokenize(text, read=_DUCKDB)
    except SqlglotError:
        return text
    if tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        return text[: tokens[-1].start].rstrip()
    return text


def _split(written: str) -> tuple[str, str]:
    """Return the comment lines at the top of a file, and the rest."""
    lines = written.splitlines(keepends=True)
    count = 0
    while count < len(lines) and (not lines[count].strip() or lines[count].lstrip().startswith("--")):
        count += 1
    return "".join(lines[:count]), "".join(lines[count:])


def _header(head: str) -> tuple[dict[str, str], str]:
    """Return the settings in the comment at the top, and its other lines as a description."""
    settings, described = {}, []
    for line in head.splitlines():
        found = _SETTING.fullmatch(line.strip())
        if found:
            settings[found[1].lower().replace("keys", "key")] = found[2]
        else:
            described.append(line.strip().removeprefix("--").strip())
    return settings, "\n".join(described).strip()


def _duplicates(queries: Iterable[SqlQuery]) -> Iterator[Problem]:
    seen: dict[str, SqlQuery] = {}
    for query in queries:
        first = seen.setdefault(query.name.lower(), query)
        if first is not query:
            what = f"{first.file} has the same name, and the name of the file becomes the name of the group."
            yield Problem(
                "Two queries have the same name", what, Origin(str(query.file), query.line), "Rename one of them."
            )


def _refuse_unknown(dialect: str) -> None:
    known = sorted(str(each) for each in sqlglot.Dialect.classes if each)
    if dialect not in known:
        what = f"The SQL parser knows no dialect {dialect!r}."
        fix = did_you_mean(dialect, known) or f"Known: {', '.join(known)}."
        raise FeatdslError(Problem("Unknown dialect", what, fix=fix))
