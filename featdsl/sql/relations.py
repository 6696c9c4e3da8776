"""Reduce a query to the rows that it reads and what each of its columns is, without names of tables and columns.

A query that only renames columns has the rows of its source, so that its readers equal readers of the source. A query that is
not understood equals only a query of the same spelling over the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl.definitions.names import SOURCE_SCHEMA
from featdsl.sql import syntax_tree
from featdsl.sql.meaning import (
    NameScope,
    Node,
    Relation,
    Term,
    UnresolvedSqlError,
    conjuncts,
    digest,
    is_nested,
    reduced,
)

Relations = Mapping[str, Relation]
"""The rows of each source, by name."""

_PLAIN = frozenset({
    "type", "modifiers", "cte_map", "select_list", "from_table", "where_clause", "group_expressions", "group_sets", "having",
    "aggregate_handling",
})  # fmt: skip
"""The parts of a SELECT that are understood."""
_STAR = frozenset({"class", "type", "relation_name", "exclude_list", "replace_list"})
_JOINS = frozenset({"REGULAR", "CROSS", "ASOF"})
_MANY_ROWS = frozenset({"unnest", "generate_series", "range"})
"""Functions that make several rows of one."""


def stored(rows: Node, columns: Mapping[str, str], declared: Mapping[str, str]) -> Relation:
    """Return the relation of stored rows: their identity, their columns with types, and the types that columns are read as."""
    return Relation(digest(rows), _StoredColumns(columns, declared), is_open=not columns)


@dataclass(frozen=True)
class _StoredColumns(Mapping[str, Term]):
    """The columns of stored rows, each made when it is read: most columns of most sources never are."""

    types: Mapping[str, str]
    declared: Mapping[str, str]

    def __getitem__(self, name: str) -> Term:
        dtype = self.types[name]
        read_as = {"as": self.declared[name]} if name in self.declared else {}
        return Term({"#column": name, **read_as}, is_scalar=not is_nested(dtype))

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)


def query(text: str, sources: Relations, outputs: Mapping[str, str]) -> Relation:
    """Return the relation of a query over sources. `outputs` are its columns with their types, empty if unknown."""
    identities = sorted(each.identity for each in sources.values())
    rows: Node = text
    try:
        read = syntax_tree.tree(text)
        normal = None if read is None else syntax_tree.normal(read)
        if normal is not None:
            rows = digest(_renamed(normal, sources))
            if len(normal) == 1:
                return _select(normal[0]["node"], sources)
    except (UnresolvedSqlError, RecursionError, KeyError, TypeError, IndexError):
        pass  # a query that is not understood, or nested too deeply
    return stored(["query", rows, identities], outputs, {})


def _renamed(node: Node, sources: Relations) -> Node:
    """Return a syntax tree with the identities of sources in place of their names."""
    if isinstance(node, list):
        return [_renamed(each, sources) for each in node]
    if not isinstance(node, dict):
        return node
    tree = {key: _renamed(value, sources) for key, value in node.items()}
    name = str(node.get("table_name"))
    if node.get("type") == "BASE_TABLE" and node.get("schema_name") == SOURCE_SCHEMA and name in sources:
        tree["table_name"] = sources[name].identity
    parts = node.get("column_names")
    if isinstance(parts, list) and len(parts) > 1 and parts[0] in sources:
        tree["column_names"] = [sources[parts[0]].identity, *parts[1:]]
    return tree


@dataclass(frozen=True)
class _From:
    """What a FROM clause reads: its tables by alias, the identity of its rows, their conditions, and columns of USING."""

    tables: Mapping[str, Relation]
    rows: str
    conditions: frozenset[str] = frozenset()
    using: Mapping[str, Term] | None = None


def _select(node: Node, known: Relations) -> Relation:
    if node["type"] != "SELECT_NODE" or node.keys() - _PLAIN or node["aggregate_handling"] != "STANDARD_HANDLING":
        raise UnresolvedSqlError(node["type"])
    for each in (node.get("cte_map") or {}).get("map", ()):
        if each["value"].get("aliases"):
            raise UnresolvedSqlError(each["key"])
        query = each["value"].get("query_node") or each["value"]["query"]["node"]  # the latter in DuckDB 1.5
        known = {**known, f"#{each['key'].lower()}": _select(query, known)}
    read = _from(node["from_table"], known)
    scope = NameScope(read.tables, read.using or {})
    items = _items(node["select_list"], scope)
    scope = replace(scope, names={**items, **scope.names})
    conditions = read.conditions
    if "where_clause" in node:
        conditions |= {digest(each) for each in _conditions(node["where_clause"], scope)}
    relation = Relation(read.rows, items, conditions)
    if not items and node["select_list"] and all(table.is_open for table in read.tables.values()):
        relation = replace(relation, is_open=True)
    return _distinct(node, _grouped(node, relation, scope))


def _conditions(node: Node, scope: NameScope) -> Iterator[Node]:
    """Yield the conditions that all rows meet."""
    if any(each.get("class") == "WINDOW" for each in syntax_tree.walk(node)):
        raise UnresolvedSqlError("WINDOW")
    if node.get("type") == "CONJUNCTION_AND":
        yield from conjuncts(node, scope)
    else:
        yield reduced(node, scope).tree


def _items(select_list: Sequence[Node], scope: NameScope) -> dict[str, Term]:
    """Return the columns of a SELECT by name; none for a star over unknown columns."""
    items: dict[str, Term] = {}
    for each in select_list:
        if each.get("class") == "STAR":
            found = _star(each, scope, is_only=len(select_list) == 1)
        else:
            found = {_name(each): reduced(each, replace(scope, names={**items, **scope.names}))}
        if found.keys() & items.keys():
            raise UnresolvedSqlError("two columns of one name")
        items |= found
    return items


def _name(item: Node) -> str:
    if item.get("alias"):
        return str(item["alias"]).lower()
    if item.get("class") == "COLUMN_REF":
        return str(item["column_names"][-1]).lower()
    return f"#{digest(item)}"  # a column that its readers cannot name without knowing how DuckDB names it


def _star(node: Node, scope: NameScope, *, is_only: bool) -> dict[str, Term]:
    if node.keys() - _STAR - {"alias"}:
        raise UnresolvedSqlError("STAR")
    wanted = node.get("relation_name")
    tables = [scope.tables[wanted.lower()]] if wanted else list(scope.tables.values())
    replaced = {str(each["key"]).lower(): each["value"] for each in node.get("replace_list", ())}
    excluded = {str(each).lower() for each in node.get("exclude_list", ()) if isinstance(each, str)}
    if len(excluded) < len(node.get("exclude_list", ())):
        raise UnresolvedSqlError("EXCLUDE")
    if any(each.is_open for each in tables):
        if is_only and len(tables) == 1 and not replaced and not excluded:
            return {}
        raise UnresolvedSqlError("*")
    names = [name for table in tables for name in table.columns]
    columns: dict[str, Term] = {}
    for table in tables:
        for name, term in table.columns.items():
            if name in excluded or name in columns:
                continue
            columns[name] = reduced(replaced[name], scope) if name in replaced else scope.names.get(name, term)
    if len(set(names)) < len(names) and not scope.names.keys() >= {name for name in names if names.count(name) > 1}:
        raise UnresolvedSqlError("two columns of one name")
    return columns


def _grouped(node: Node, relation: Relation, scope: NameScope) -> Relation:
    """Return the relation with its groups; unchanged if the query does not aggregate."""
    if any(each.get("function_name") in _MANY_ROWS for each in syntax_tree.walk(node["select_list"])):
        raise UnresolvedSqlError("unnest")
    if "group_expressions" in node:
        if len(node.get("group_sets", [[]])) > 1:
            raise UnresolvedSqlError("GROUPING SETS")
        groups = [_group(each, list(relation.columns.values()), scope) for each in node["group_expressions"]]
    elif "having" in node or _aggregates(node["select_list"]):
        groups = []
    else:
        over = {name: term for name, term in _inside(relation).items() if _is_over(relation.columns[name])}
        return replace(relation, columns={**relation.columns, **over})
    having = _having(node["having"], relation, scope) if "having" in node else None
    rows = digest(["group", relation.identity, sorted(digest(each) for each in groups), having])
    return Relation(rows, _inside(relation))


def _having(node: Node, relation: Relation, scope: NameScope) -> Node:
    """Return the tree of a HAVING clause. Its bare names may be aliases although the tables have columns of these names."""
    for each in syntax_tree.walk(node):
        name = each["column_names"][0] if each.get("class") == "COLUMN_REF" and len(each["column_names"]) == 1 else ""
        stored = [term for table in scope.tables.values() if name and (term := table.column(name))]
        if stored and name in relation.columns and relation.columns[name] not in stored:
            raise UnresolvedSqlError(name)
    return reduced(node, scope).tree


def _group(node: Node, items: Sequence[Term], scope: NameScope) -> Node:
    position = _integer(node) if node.get("class") == "CONSTANT" else None
    return reduced(node, scope).tree if position is None else items[position - 1].tree


def _integer(constant: Node) -> int | None:
    """Return the value of a constant if it is an integer. In trees of DuckDB 1.5 it is a value with a type."""
    value = constant.get("value")
    if isinstance(value, dict):
        return int(value["value"]) if value["type"]["id"] == "INTEGER" else None
    literal = constant.get("literal")
    return int(literal["text"]) if isinstance(literal, dict) and literal.get("kind") == "INTEGER" else None


def _inside(relation: Relation) -> dict[str, Term]:
    """Return the columns of a relation as computed over its rows, whatever rows an outer query reads."""
    return {
        name: Term({"#over": relation.identity, "is": term.tree}, term.is_scalar)
        for name, term in relation.columns.items()
    }


def _is_over(term: Term) -> bool:
    """Return whether a column reads other rows, so that also the rows that an outer query drops count."""
    return any(each.get("class") == "WINDOW" for each in syntax_tree.walk(term.tree))


def _aggregates(select_list: Sequence[Node]) -> bool:
    names = syntax_tree.aggregates()
    return any(
        each.get("class") == "FUNCTION" and each.get("function_name") in names for each in syntax_tree.walk(select_list)
    )


def _distinct(node: Node, relation: Relation) -> Relation:
    modifiers = [each for each in node.get("modifiers", ()) if each.get("type") != "ORDER_MODIFIER"]
    if not modifiers:
        return relation  # the order of a query's rows is not kept
    if len(node["modifiers"]) > 1 or modifiers[0] != {"type": "DISTINCT_MODIFIER"} or relation.is_open:
        raise UnresolvedSqlError(modifiers[0]["type"])
    rows = digest(["distinct", relation.identity, sorted(digest(each.tree) for each in relation.columns.values())])
    return Relation(rows, _inside(relation))


# FROM


def _from(node: Node, known: Relations) -> _From:
    match node["type"]:
        case "BASE_TABLE":
            return _alone(node, _table(node, known))
        case "SUBQUERY":
            return _alone(node, _select(node["subquery"]["node"], known))
        case "JOIN":
            return _join(node, known)
        case _:
            raise UnresolvedSqlError(node["type"])


def _table(node: Node, known: Relations) -> Relation:
    name = node["table_name"]
    key = name if node.get("schema_name") == SOURCE_SCHEMA else f"#{name.lower()}"
    if key not in known or node.get("sample"):
        raise UnresolvedSqlError(name)
    return known[key]


def _alone(node: Node, relation: Relation) -> _From:
    if node.get("column_name_alias") or node.get("sample"):
        raise UnresolvedSqlError("aliases of columns")
    name = str(node.get("alias") or node.get("table_name") or "#").lower()
    return _From({name: relation}, relation.rows, relation.conditions)


def _join(node: Node, known: Relations) -> _From:
    if node["ref_type"] not in _JOINS:
        raise UnresolvedSqlError(node["ref_type"])
    left, right = (_sided(_from(node[side], known), side) for side in ("left", "right"))
    if left.tables.keys() & right.tables.keys():
        raise UnresolvedSqlError("two tables of one name")
    tables = {**left.tables, **right.tables}
    using = [str(name).lower() for name in node.get("using_columns", ())]
    keys = [(_only(left, name), _only(right, name)) for name in using]
    shared = {**(left.using or {}), **(right.using or {})}
    shared |= {name: _shared(node["join_type"], pair) for name, pair in zip(using, keys, strict=True)}
    on = reduced(node["condition"], NameScope(tables, shared)).tree if "condition" in node else None
    rows = ["join", node["join_type"], node["ref_type"], _identity(left), _identity(right), on]
    return _From(tables, digest([*rows, [[one.tree, other.tree] for one, other in keys]]), using=shared)


def _identity(side: _From) -> str:
    return digest([side.rows, *sorted(side.conditions)])


def _sided(side: _From, name: str) -> _From:
    """Return one side of a join, whose columns say which side they are of."""

    def sided(term: Term) -> Term:
        return Term({f"#{name}": term.tree}, term.is_scalar)

    if any(each.is_open for each in side.tables.values()):
        raise UnresolvedSqlError("unknown columns")
    tables = {
        alias: replace(each, columns={column: sided(term) for column, term in each.columns.items()})
        for alias, each in side.tables.items()
    }
    return replace(side, tables=tables, using={column: sided(term) for column, term in (side.using or {}).items()})


def _only(side: _From, name: str) -> Term:
    return NameScope(side.tables, side.using or {}).column([name])


def _shared(join: str, pair: tuple[Term, Term]) -> Term:
    """Return what a column of USING is: that of the side whose rows are all kept, or the first that is not NULL."""
    if join in {"INNER", "LEFT", "SEMI", "ANTI"}:
        return pair[0]
    if join == "RIGHT":
        return pair[1]
    return Term({"#either": [pair[0].tree, pair[1].tree]}, pair[0].is_scalar and pair[1].is_scalar)
