"""Assets of Dagster for the groups of a project, and asset checks for its data quality rules.

from featdsl.integrations.dagster import feature_assets
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import dagster as dg

from featdsl.errors import FeatdslError, Origin, Problem
from featdsl.integrations import declared
from featdsl.integrations.commands import PROD, Event, ProjectCommand, RunningCommand, line_of
from featdsl.integrations.declared import DeclaredGroup, DeclaredProject, DeclaredRule, DeclaredSource

Key: TypeAlias = Any
"""An AssetKey, or its parts: a text or a list of texts."""

_TAG = re.compile(r"[A-Za-z0-9_.-]{1,63}")
_NO_NAME = re.compile(r"\W+")


def feature_assets(  # noqa: PLR0913 - options by name
    project: str | Path,
    *,
    command: Literal["refresh", "apply"] = "refresh",
    environment: str = PROD,
    group_keys: Mapping[str, Key] | None = None,
    source_keys: Mapping[str, Key] | None = None,
    options: Sequence[str] = (),
    python: str | Path | None = None,
    executable: str | Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> list[Any]:
    """Return an asset for each group with stored values, and one for each source that their data come from.

    A run refreshes the selected groups with one `featdsl refresh`, which first refreshes the groups that they read; with
    `command="apply"` it applies the declarations. Rules are asset checks. A group's key is the project's name and its own, a
    source's has "sources" between them. `group_keys` and `source_keys` give other keys by name: that of the asset that makes a
    source, or of a group of another project. The project is loaded and run in a process of its own: by this environment's
    featdsl, by that of `python`, or by `executable`. `options` are more words of the command, `variables` more environment
    variables.

    Raises FeatdslError with the mistakes in the project's declarations.
    """
    run = ProjectCommand(
        name=command,
        project=Path(project).resolve(),
        environment=environment,
        options=options,
        python=python,
        executable=executable,
        variables=variables or {},
    )
    found = _declared(run)
    assets = _Assets(found, run, _keys(group_keys), _keys(source_keys))
    others = [each for each in found.sources if each.name not in assets.source_keys]
    return [assets.definition(), *map(assets.source, others)]


def _declared(run: ProjectCommand) -> DeclaredProject:
    """Return what the project declares. Raises FeatdslError."""
    listing = ProjectCommand(
        name="validate",
        project=run.project,
        options=["--definitions"],
        python=run.python,
        executable=run.executable,
        variables=run.variables,
    )
    printed = RunningCommand(listing, lambda _: None).output()
    if printed["problems"]:
        raise FeatdslError([_mistake(each) for each in printed["problems"]])
    return declared.from_json(printed["definitions"])


def _mistake(told: Mapping[str, Any]) -> Problem:
    where = Origin(told["file"], told["line"]) if told["file"] else None
    return Problem(told["summary"], told["message"], where, told["fix"])


def _keys(keys: Mapping[str, Key] | None) -> dict[str, dg.AssetKey]:
    return {name: key if isinstance(key, dg.AssetKey) else dg.AssetKey(key) for name, key in (keys or {}).items()}


@dataclass(frozen=True)
class _Assets:
    """The assets of a project, with the keys that were chosen by name."""

    project: DeclaredProject
    run: ProjectCommand
    group_keys: Mapping[str, dg.AssetKey]
    source_keys: Mapping[str, dg.AssetKey]

    def definition(self) -> Any:
        """Return the assets of all groups, which one operation computes."""
        checks = {each: spec for group in self.project.groups for each, spec in self._checks(group)}

        @dg.multi_asset(  # type: ignore[untyped-decorator] # Dagster is not among the packages that types are checked with
            name=f"featdsl_{self.run.name}_{self.project.name}",
            specs=[self._spec(each) for each in self.project.groups],
            check_specs=list(checks.values()),
            can_subset=True,
        )
        def compute(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from _Execution(self, context, checks).results()

        return compute

    def of_group(self, name: str) -> dg.AssetKey:
        """Return the key of a group."""
        return self.group_keys.get(name) or dg.AssetKey([self.project.name, name])

    def of_source(self, name: str) -> dg.AssetKey:
        """Return the key of a source."""
        return self.source_keys.get(name) or dg.AssetKey([self.project.name, "sources", name])

    def source(self, source: DeclaredSource) -> dg.AssetSpec:
        """Return the asset of a source, which Dagster does not compute."""
        metadata = {"format": source.format, "location": list(source.location)}
        return dg.AssetSpec(
            self.of_source(source.name),
            description=source.description or None,
            owners=[f"team:{source.owner}"],
            group_name=self.project.name,
            kinds={source.format},
            metadata=metadata,
        )

    def _spec(self, group: DeclaredGroup) -> dg.AssetSpec:
        columns = [dg.TableColumn(each.name, each.dtype, each.description or None) for each in group.columns]
        deps = [*map(self.of_source, group.sources), *map(self.of_group, group.upstream)]
        return dg.AssetSpec(
            self.of_group(group.name),
            deps=deps,
            description=group.description or None,
            owners=[f"team:{group.owner}"],
            tags={tag: "" for tag in group.tags if _TAG.fullmatch(tag)},
            kinds={"featdsl"},
            group_name=self.project.name,
            metadata={
                "dagster/code_references": _code(Path(self.run.project) / group.file, group.line),
                "dagster/column_schema": dg.TableSchema(columns=columns),
                "entity": group.entity or "",
            },
        )

    def _checks(self, group: DeclaredGroup) -> Iterator[tuple[tuple[str, str, str], dg.AssetCheckSpec]]:
        """Yield the check of each rule of a group, by what identifies the rule in events."""
        taken: set[str] = set()
        for rule in group.rules:
            name = _unique(_check_name(rule), taken)
            taken.add(name)
            spec = dg.AssetCheckSpec(name, asset=self.of_group(group.name), description=f"{rule.address}: {rule.rule}")
            yield (rule.address, rule.name, rule.rule), spec


def _code(file: Path, line: int) -> dg.CodeReferencesMetadataValue:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        place = dg.LocalFileCodeReference(file_path=str(file), line_number=line)
        return dg.CodeReferencesMetadataValue(code_references=[place])


def _check_name(rule: DeclaredRule) -> str:
    feature = rule.address.partition(".")[2]
    return _NO_NAME.sub("_", rule.name).strip("_") or "_".join(filter(None, [feature, rule.kind]))


def _unique(name: str, taken: set[str]) -> str:
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 2))
    return name if name not in taken else next(each for each in numbered if each not in taken)


@dataclass
class _Written:
    """What a run has written of a group's tables so far."""

    rows: int = 0
    seconds: float = 0.0
    how: list[str] = field(default_factory=list)


@dataclass
class _Execution:
    """One run of the operation: it reads the events of the command, and reports what they say to Dagster."""

    assets: _Assets
    context: dg.AssetExecutionContext
    checks: Mapping[tuple[str, str, str], dg.AssetCheckSpec]
    written: dict[str, _Written] = field(default_factory=dict)
    checked: list[Event] = field(default_factory=list)

    def results(self) -> Iterator[Any]:
        """Yield the materialisations of the selected groups, and the results of checks. Raises Failure."""
        groups = [each.name for each in self.assets.project.groups]
        selected = [name for name in groups if self.assets.of_group(name) in self.context.selected_asset_keys]
        try:
            last = self._run(selected if len(selected) < len(groups) else [])
        except FeatdslError as error:
            yield from self._check_results()
            summaries = [each.summary for each in error.problems]
            raise dg.Failure(str(error), metadata={"problems": summaries}) from None
        for name in sorted(self.written.keys() - set(selected)):
            metadata = self._metadata(name, last)
            self.context.log_event(dg.AssetMaterialization(self.assets.of_group(name), metadata=metadata))
        for name in selected:
            yield dg.MaterializeResult(asset_key=self.assets.of_group(name), metadata=self._metadata(name, last))
        yield from self._check_results()

    def _run(self, select: Sequence[str]) -> Event:
        """Run the command, and return its summary. Raises FeatdslError."""
        command = replace(self.assets.run, select=select)
        last: Event = {}
        for event in RunningCommand(command, self.context.log.info).events():
            self.context.log.info(line_of(event))
            self._take(event)
            last = event
        return last

    def _take(self, event: Event) -> None:
        match event:
            case {"event": "refreshed"}:
                written = self.written.setdefault(event["group"], _Written())
                written.rows += event["rows"]
                written.seconds += event["seconds"]
                written.how.append(event["how"])
            case {"event": "step_finished", "group": str(group)} if self.assets.run.name == "apply":
                written = self.written.setdefault(group, _Written())
                written.rows += event["rows"] or 0
                written.seconds += event["seconds"]
                written.how.append("built")
            case {"event": "rule_checked"}:
                self.checked.append(event)
            case _:
                pass

    def _metadata(self, name: str, last: Event) -> dict[str, Any]:
        written = self.written.get(name, _Written(how=["unchanged"]))
        how = ", ".join(dict.fromkeys(written.how))
        return {
            "rows": written.rows,
            "seconds": round(written.seconds, 3),
            "state": last["serial"],
            "environment": last["environment"],
            "how": how,
        }

    def _check_results(self) -> Iterator[dg.AssetCheckResult]:
        for event in self.checked:
            spec = self.checks.get((event["address"], event["name"], event["rule"]))
            if spec is None or spec.key not in self.context.selected_asset_check_keys:
                continue
            yield dg.AssetCheckResult(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=not event["broken"],
                severity=dg.AssetCheckSeverity.WARN if event["severity"] == "warn" else dg.AssetCheckSeverity.ERROR,
                metadata={"broken": event["broken"], "rows": event["rows"]},
            )
