"""Turn ratios and derived metrics of dbt's semantic layer into features that are derived from those of its other metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from featdsl.declarations.window import ending
from featdsl.importers.dbt.filters import UntranslatableError
from featdsl.importers.dbt.manifest import Node, texts
from featdsl.importers.declarations import ImportedFeature, ImportedGroup, ImportedReference, LeftOut
from featdsl.importers.names import sql_name, valid_name
from featdsl.importers.typing_rows import TypedRows

KINDS = ("ratio", "derived")


@dataclass(frozen=True)
class _Input:
    """A feature that holds the values of a metric over one window."""

    address: str
    dtype: str


@dataclass
class KnownMetrics:
    """All metrics, and the features of those over measures: by entity, metric and the ending of a family's window."""

    metrics: Mapping[str, Node]
    taken: set[str]
    """Names of groups."""
    teams: dict[str, str] = field(default_factory=dict)
    inputs: dict[tuple[str, str, str], _Input] = field(default_factory=dict)
    endings: dict[str, None] = field(default_factory=dict)
    """The endings of families, in order; `""` without families."""

    def add(self, group: ImportedGroup, features: Iterable[tuple[str, ImportedFeature]]) -> None:
        """Add the features of a group, each with the name of its metric."""
        entity = group.entity or ""
        self.taken.add(group.name)
        self.teams.setdefault(entity, group.team)
        for metric, feature in features:
            windows = feature.options.get("windows")
            for each in [ending(str(window)) for window in windows] if isinstance(windows, list) else [""]:
                name = f"{feature.name}_{each}" if each else feature.name
                self.inputs.setdefault((entity, metric, each), _Input(f"{group.name}.{name}", feature.dtype))
                self.endings[each] = None

    def input(self, entity: str, metric: str, family: str) -> _Input | None:
        """Return the feature of a metric over the window of a family, else the one with a window of its own."""
        return self.inputs.get((entity, metric, family)) or self.inputs.get((entity, metric, ""))


@dataclass(frozen=True)
class _Formula:
    """The SQL of a derived metric, and the features that it reads."""

    sql: str
    inputs: tuple[_Input, ...]


def read(known: KnownMetrics, metrics: Iterable[Node]) -> tuple[list[ImportedGroup], list[LeftOut]]:
    """Return a group for each entity with its derived metrics, and the metrics that have no features."""
    ordered = [*metrics]
    none = UntranslatableError("It is computed from metrics that were left out.")
    left_out = {str(each["name"]): _left_out(each, none) for each in ordered}
    done: set[str] = set()
    groups = []
    for entity, team in known.teams.items():
        features, inputs = [], dict[str, None]()
        for metric in ordered:
            try:
                for feature, read_by in _features(metric, entity, known):
                    features.append(feature)
                    inputs |= dict.fromkeys(each.address for each in read_by)
                    done.add(str(metric["name"]))
            except UntranslatableError as error:
                left_out[str(metric["name"])] = _left_out(metric, error)
        if features:
            name = valid_name(f"{entity}_metrics", taken=known.taken)
            groups.append(_group(name, entity, team, features, inputs))
    return groups, [each for name, each in left_out.items() if name not in done]


def _left_out(metric: Node, error: UntranslatableError) -> LeftOut:
    return LeftOut("metric", str(metric["name"]), str(error), str(metric.get("original_file_path") or ""))


def _group(name: str, entity: str, team: str, features: list[ImportedFeature], inputs: Iterable[str]) -> ImportedGroup:
    return ImportedGroup(
        name=name,
        entity=entity,
        features=tuple(features),
        team=team,
        inputs=tuple(ImportedReference(address=each) for each in inputs),
        description=f"Metrics of {entity} that are computed from others.",
    )


def _features(metric: Node, entity: str, known: KnownMetrics) -> list[tuple[ImportedFeature, tuple[_Input, ...]]]:
    """Return the feature of a derived metric, or one for each window of a family. Raises UntranslatableError."""
    # Inputs with windows of their own give one feature; the others one for each window that all of them have.
    found, fault = [], UntranslatableError("It is computed from no metrics.")
    for family in sorted(known.endings, key=bool):
        try:
            found.append(_feature(metric, family, _formula(metric, entity, family, known, ())))
        except UntranslatableError as error:
            fault = error
        if found and not family:
            break
    if not found:
        raise fault
    return found


def _feature(metric: Node, family: str, formula: _Formula) -> tuple[ImportedFeature, tuple[_Input, ...]]:
    columns = {each.address.rpartition(".")[2]: each.dtype for each in formula.inputs}
    dtype = TypedRows(columns).dtype(formula.sql)
    if dtype is None:
        raise UntranslatableError("DuckDB does not understand its expression.")
    described = str(metric.get("description") or metric.get("label") or "")
    feature = ImportedFeature(
        name=valid_name(f"{metric['name']}_{family}" if family else str(metric["name"])),
        dtype=dtype,
        sql=formula.sql,
        description=described,
        tags=texts(metric.get("tags")),
    )
    return feature, formula.inputs


def _formula(metric: Node, entity: str, family: str, known: KnownMetrics, above: tuple[str, ...]) -> _Formula:
    """Return the formula of a derived metric over features. Raises UntranslatableError."""
    parameters = metric.get("type_params") or {}
    if (metric.get("filter") or {}).get("where_filters"):
        raise UntranslatableError("It filters the metrics that it is computed from.")
    if metric["type"] == "ratio":
        parts = [
            _part(parameters.get(each) or {}, entity, family, known, above) for each in ("numerator", "denominator")
        ]
        top, bottom = (each.sql for each in parts)
        return _Formula(f"CAST({top} AS DOUBLE) / nullif({bottom}, 0)", tuple(i for each in parts for i in each.inputs))
    named = {
        str(each.get("alias") or each["name"]): _part(each, entity, family, known, above)
        for each in parameters.get("metrics") or ()
    }
    sql = _replaced(str(parameters.get("expr") or ""), {name: each.sql for name, each in named.items()})
    return _Formula(sql, tuple(dict.fromkeys(i for each in named.values() for i in each.inputs)))


def _part(used: Node, entity: str, family: str, known: KnownMetrics, above: tuple[str, ...]) -> _Formula:
    """Return the formula of a metric that another one uses. Raises UntranslatableError."""
    name = str(used.get("name") or "")
    if used.get("offset_window") or used.get("offset_to_grain"):
        raise UntranslatableError(f"It uses {name} of an earlier time.")
    if (used.get("filter") or {}).get("where_filters"):
        raise UntranslatableError(f"It uses {name} with another filter.")
    feature = known.input(entity, name, family)
    if feature is not None:
        return _Formula(sql_name(feature.address.rpartition(".")[2]), (feature,))
    metric = next((each for each in known.metrics.values() if each["name"] == name), None)
    if metric is None or metric["type"] not in KINDS or name in above:
        raise UntranslatableError(f"It is computed from {name}, which was left out.")
    inner = _formula(metric, entity, family, known, (*above, name))
    return _Formula(f"({inner.sql})", inner.inputs)


def _replaced(expression: str, names: Mapping[str, str]) -> str:
    """Return an expression with its columns replaced. Raises UntranslatableError if it reads others."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(expression, read="duckdb")
        replacements = {name: sqlglot.parse_one(sql, read="duckdb") for name, sql in names.items()}
    except SqlglotError:
        raise UntranslatableError("DuckDB does not understand its expression.") from None

    def replace(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        if node.name not in replacements:
            raise UntranslatableError(f"Its expression reads {node.name}, which is not among its metrics.")
        return replacements[node.name].copy()

    return tree.transform(replace).sql(dialect="duckdb")
