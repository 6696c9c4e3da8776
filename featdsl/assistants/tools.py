"""The tools of assistants: they read the registry and the declared code, and write nothing.

The descriptions are instructions to the assistant: they say when to call a tool, and what to do with its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from featdsl.assistants.bounds import bounded, cut
from featdsl.definitions.kinds import Definition, FeatureDefinition, GroupDefinition, SetDefinition, address
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.statistics import TableStatistics
from featdsl.discovery import proposals, usage
from featdsl.discovery.describe import is_private
from featdsl.discovery.proposals import Proposal
from featdsl.errors import FeatdslError, Problem, RequestError
from featdsl.project.output import aside
from featdsl.query.selection import find

if TYPE_CHECKING:
    from featdsl.featurestore import FeatureStore

Words = Annotated[str, Field(min_length=1, max_length=300, description="Plain words: what the value means.")]
DefinitionName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="user_profile.age, a group, a set version such as credit_risk@1, a model, a source or an entity.",
    ),
]
Optional = Annotated[str | None, Field(max_length=200)]
Text = Annotated[str, Field(max_length=10_000)]
Limit = Annotated[int, Field(ge=1, le=25)]
Kind = Literal["feature", "group", "set", "model", "source", "entity", "team"]
_PRIVATE = "Private: only team {} may use it. Ask them to make it public before you use it elsewhere."


Measured = Callable[[Iterable[str]], Mapping[str, Sequence[TableStatistics]]]
"""Returns the statistics of tables by run, the newest first."""


class Toolbox:
    """The tools over one environment of a project."""

    def __init__(self, store: FeatureStore, importing: usage.Importing, measured: Measured) -> None:
        self._store, self._importing, self._measured = store, importing, measured
        self._planning = threading.Lock()
        """Python imports the modules of one plan at a time."""

    @property
    def tools(self) -> tuple[Callable[..., dict[str, Any]], ...]:
        """Every tool."""
        return (
            self.search_features,
            self.find_duplicates,
            self.show_definition,
            self.usage_snippet,
            self.lineage,
            self.statistics,
            self.plan,
        )

    def search_features(  # noqa: PLR0913 - the arguments of the tool
        self,
        *,
        query: Words,
        kind: Kind | None = None,
        owner: Optional = None,
        entity: Optional = None,
        tag: Optional = None,
        limit: Limit = 10,
    ) -> dict[str, Any]:
        """Find features (and groups, sets, models, sources) that already exist, by what they mean. Call this FIRST.

        Call it before you write any feature, aggregate or SQL over the project's data, and whenever someone asks for a value:
        "monthly income" may exist as affordability.monthly. Search with the words of the request, then with synonyms and with
        the columns that you would read; typos are tolerated. If a match means what is asked for, use it (usage_snippet)
        instead of writing it again. Matches that are private may only be used by their owner.
        """
        with _told():
            found = self._store.search(query, limit=limit, kind=kind, owner=owner, entity=entity, tag=tag)
            catalog = self._store.applied().catalog
            matches = []
            for each in found:
                feature = catalog.features.get(each.address) if each.kind == "feature" else None
                facts = {"type": feature.dtype, "unit": feature.unit, "entity": feature.entity} if feature else {}
                matches.append({
                    "kind": each.kind, "name": each.address, "owner": each.owner, "description": each.description,
                    **facts, "private": each.private, "deprecated": each.deprecated,
                })  # fmt: skip
        hint = (
            "If one of these means what is asked for, use it: usage_snippet(name)."
            if matches
            else "Nothing matches. Try synonyms, the names of source columns, and a search without filters."
        )
        return bounded({"matches": matches, "next": hint})

    def find_duplicates(  # noqa: PLR0913 - the arguments of the tool
        self,
        *,
        sql: Text = "",
        source: Optional = None,
        entity: Optional = None,
        name: Optional = None,
        description: Annotated[str, Field(max_length=1_000)] = "",
        limit: Limit = 10,
    ) -> dict[str, Any]:
        """Find the existing features that a definition you are about to write would repeat. Call this before you write it.

        Give what you know: the SQL expression (annual_income / 12), its source, the entity that it describes, a name and a
        description. "same values" computes the same from the same rows, however it is written: use that feature instead of a
        new one, unless you need another window or ttl. "same columns" and "similar words" may mean the same: compare them
        with show_definition.
        """
        proposal = Proposal(
            sql=sql.strip(), source=source or "", entity=entity or "", name=name or "", description=description
        )
        with _told():
            if not (proposal.sql or proposal.name or proposal.description):
                what = "The call describes no feature."
                fix = "Give sql, name or description of the feature that you want to write."
                raise RequestError(Problem("Nothing to compare", what, fix=fix))
            found = proposals.repeated(self._store.applied(), proposal, limit=limit)
        advice = (
            "Use an existing feature if it means the same: usage_snippet(name)."
            if found
            else "No existing feature is alike: you may declare it."
        )
        return bounded({"existing": found, "next": advice})

    def show_definition(self, name: DefinitionName) -> dict[str, Any]:
        """Describe one definition: what it means, type, unit, owner, SQL, source, rules with their last results, who uses it.

        Call it to check that a match of search_features means what is asked for, before you use it.
        """
        with _told():
            described = self._store.describe(name)
            private = self._privacy(self._store.applied(), described.address)
        answer = described.to_dict()
        answer["data"] = {key: value for key, value in described.data.items() if key != "samples"}
        return bounded({**answer, **private})

    def usage_snippet(self, name: DefinitionName) -> dict[str, Any]:
        """Return the exact import line, and the code that trains with a feature or a set version and serves it. Copy it.

        For a model, use a set version (credit_risk@1): its definitions are pinned. `hint` says what to do where the
        declaration cannot be imported.
        """
        with _told():
            snapshot = self._store.applied()
            definition = find(snapshot, name)
            if not isinstance(definition, FeatureDefinition | SetDefinition):
                what = f"{name} is of the kind {definition.kind}, which code does not read."
                fix = f"Name a feature or a set version; list them: search_features({name!r})."
                raise RequestError(Problem("Nothing to use", what, fix=fix))
            snippets = usage.usage(snapshot, definition, self._importing)
            private = self._privacy(snapshot, address(definition))
        return bounded({"name": address(definition), "owner": definition.owner, **vars(snippets), **private})

    def lineage(self, name: DefinitionName) -> dict[str, Any]:
        """Return everything upstream of a definition (sources, columns, inputs) and downstream (features, sets, models).

        Call it before you change a definition: its downstream is what your change reaches.
        """
        with _told():
            traced = self._store.lineage(name)
        return bounded({**traced.to_dict(), "tree": cut(traced.tree(), 2_000)})

    def statistics(self, name: DefinitionName) -> dict[str, Any]:
        """Return statistics of the stored values of a feature or a group, as the last build or refresh measured them.

        Rows, NULLs, distinct values, minimum, maximum, mean, quantiles, frequent values, a histogram, and the newest event. Call
        it to judge whether a feature is complete and fresh enough for the task.
        """
        with _told():
            snapshot = self._store.applied()
            definition = find(snapshot, name)
            features = _stored(snapshot, definition)
            if not features:
                what = f"{definition.kind} {address(definition)} has no stored values of its own."
                fix = "Name a feature or a group whose values are stored."
                raise RequestError(Problem("Nothing to measure", what, fix=fix))
            runs = self._measured({each.table for each in features})
            private = self._privacy(snapshot, address(definition))
        tables: dict[str, dict[str, Any]] = {}
        for each in features:
            if run := next(iter(runs.get(each.table, ())), None):
                columns = tables.setdefault(each.table, {**vars(run), "columns": {}})["columns"]
                columns[each.name] = None if private else run.columns.get(each.column, run.columns.get(each.name))
        hint = (
            {}
            if tables
            else {"next": "Nothing is measured yet; statistics come with the next featdsl apply or refresh."}
        )
        return bounded({
            "name": address(definition), "kind": definition.kind, "tables": list(tables.values()), **hint, **private,
        })  # fmt: skip

    def plan(
        self,
        select: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)] = [],  # noqa: B006 - read only
        format: Literal["text", "json"] = "text",  # noqa: A002 - the word of the command line
    ) -> dict[str, Any]:
        """Plan the declared code against the store, without writing: what apply would change, and which teams it affects.

        Call it after you edit declarations: it checks them, says what is wrong with file and line, and shows the impact.
        `select` limits it to groups, sets, models or teams. Only a person applies a plan.
        """
        with _told(), self._planning, aside():
            planned = self._store.plan(select=select)
        plan = planned.plan
        if format == "text":
            return {"is_empty": plan.empty, "text": cut(str(planned))}
        changes = [
            {"action": each.change.action, "kind": each.change.kind, "address": each.change.address,
             "owner": each.change.owner, "class": each.change.change_class,
             "reasons": [{"code": reason.code, "before": reason.before, "after": reason.after} for reason in each.change.reasons],
             "downstream": [f"{one.kind} {one.address} ({one.owner}): {one.effect}" for one in each.downstream]}
            for each in plan.changes
        ]  # fmt: skip
        return bounded({
            "is_empty": plan.empty, "environment": plan.environment, "state": plan.base.serial,
            "blocks": [{"what": each.what, "fix": each.fix} for each in plan.blocks],
            "approvals": list(plan.unapproved),
            "notices": [{"what": each.what, "fix": each.fix} for each in plan.notices], "changes": changes,
        })  # fmt: skip

    def _privacy(self, snapshot: Snapshot, name: str) -> Mapping[str, str]:
        """Return a note for a feature or a group that only its owner may use."""
        definition = snapshot.catalog.features.get(name) or snapshot.catalog.groups.get(name)
        if definition is None or not is_private(snapshot.catalog, definition):
            return {}
        return {"note": _PRIVATE.format(definition.owner)}


def _stored(snapshot: Snapshot, definition: Definition) -> Sequence[FeatureDefinition]:
    """Return the features with stored values that a definition is or has."""
    features = [definition] if isinstance(definition, FeatureDefinition) else []
    if isinstance(definition, GroupDefinition):
        features = list(snapshot.catalog.members_of(definition.name))
    return [each for each in features if each.table]


@contextmanager
def _told() -> Iterator[None]:
    """Let a mistake be the answer to the assistant: what is wrong, and the fix."""
    try:
        yield
    except FeatdslError as error:
        raise ToolError(cut(str(error), 4_000)) from None
