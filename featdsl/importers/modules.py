"""Write imported declarations as the text of Python modules."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from featdsl.definitions.dtypes import in_python
from featdsl.definitions.names import snake_case
from featdsl.importers.declarations import (
    ImportedEntity,
    ImportedFeature,
    ImportedGroup,
    ImportedProject,
    ImportedReference,
    ImportedRule,
    ImportedSet,
    ImportedSource,
    ImportedUnique,
    PythonCode,
)
from featdsl.importers.layout import ModuleLayout, arrange, group_of, in_order
from featdsl.importers.python_code import CodeCall, SqlCode, docstring, import_line, one_line, statement, text

_NOT_IN_A_BODY = frozenset({"bool", "int", "float", "str", "bytes"})
"""Names that the body of a class needs for types, so no feature is assigned to them."""


def texts(project: ImportedProject, package: str, folder: Path | None = None) -> dict[str, str]:
    """Return the text of each module by its path in the features package, which is imported as `package`.

    `folder` is that of the package if there is one; entities that it declares are used.
    """
    layout = arrange(project, folder)
    teams = {module.partition(".")[0] for module in layout.modules() if "." in module}
    written = {"__init__.py": f"{docstring(f'Features, imported from {project.origin}.')}\n"}
    written |= {
        f"{team}/__init__.py": f"{docstring(f'Features of the team {team}, imported from {project.origin}.')}\n"
        for team in sorted(teams)
    }
    for module in layout.modules():
        written[f"{module.replace('.', '/')}.py"] = _Module(project, layout, package, module).text()
    return written


@dataclass
class _Module:
    """Writes one module, and gathers its imports meanwhile."""

    project: ImportedProject
    layout: ModuleLayout
    package: str
    name: str
    imports: dict[str, set[str]] = field(default_factory=dict)

    def text(self) -> str:
        """Return the module's text."""
        small = [*self._entities(), *self._sources()]
        groups = [self._group(each) for each in in_order(self._here(self.project.groups, self.layout.groups))]
        sets = [self._set(each) for each in self.project.sets if self._place_of(each) == self.name]
        head = [docstring(self._title()), "", *self._import_lines()]
        body = "".join(f"\n{each}\n" for each in small) + "".join(f"\n\n{each}\n" for each in groups)
        last = ("\n" if groups and sets else "") + "".join(f"\n{each}\n" for each in sets)
        return "\n".join(head) + "\n" + body + last

    def _title(self) -> str:
        groups = self._here(self.project.groups, self.layout.groups)
        if groups:
            listed = ", ".join(each.name.replace("_", " ") for each in groups)
            return f"Features of {listed}, imported from {self.project.origin}."
        name = self.name.rpartition(".")[2].rstrip("_0123456789")
        what = {"entities": "Entities", "sources": "Sources", "sets": "Feature sets"}[name]
        return f"{what}, imported from {self.project.origin}."

    def _here(self, groups: Iterable[ImportedGroup], places: Mapping[str, str]) -> list[ImportedGroup]:
        return [each for each in groups if places[each.name] == self.name]

    def _place_of(self, each: ImportedSet) -> str:
        return self.layout.sets[each.name, each.version]

    def _import_lines(self) -> Iterator[str]:
        plain = {line for each in self._here(self.project.groups, self.layout.groups) for line in each.imports}
        yield from sorted(plain, key=lambda line: (not line.startswith("import "), line))
        own = [module for module in sorted(self.imports) if module != "featdsl"]
        others = ["featdsl"] if "featdsl" in self.imports else []
        yield from (import_line(module, sorted(self.imports[module], key=_by_type)) for module in others)
        yield from [""] if own and others else []
        yield from (import_line(module, sorted(self.imports[module], key=_by_type)) for module in own)

    def _use(self, name: str) -> str:
        """Return a name of featdsl, and import it."""
        self.imports.setdefault("featdsl", set()).add(name)
        return name

    def _variable(self, kind: str, name: str, module: str) -> PythonCode:
        """Return the variable of a declaration, and import it if another module has it."""
        variable = self.layout.variables[kind, name]
        if module != self.name:
            self.imports.setdefault(f"{self.package}.{module}".rstrip("."), set()).add(variable)
        return PythonCode(variable)

    def _entities(self) -> Iterator[str]:
        for each in self.project.entities:
            if self.layout.entities[each.name] == self.name and each.name not in self.layout.existing:
                yield self._entity(each)

    def _entity(self, entity: ImportedEntity) -> str:
        keys = {key: PythonCode(in_python(dtype)) for key, dtype in entity.keys.items()}
        options = {"keys": keys, **_described(entity.description)}
        call = CodeCall(self._use("Entity"), [entity.name], options)
        return statement(f"{self.layout.variables['entity', entity.name]} = ", call)

    def _sources(self) -> Iterator[str]:
        for each in self.project.sources:
            if self.layout.sources[each.name] == self.name:
                yield self._source(each)

    def _source(self, source: ImportedSource) -> str:
        options = {name: _option(name, each) for name, each in source.options.items()}
        function = self._use("Source") + (".push" if source.pushed else "")
        call = CodeCall(function, [source.name], {**options, **_described(source.description)})
        return statement(f"{self.layout.variables['source', source.name]} = ", call)

    def _group(self, group: ImportedGroup) -> str:
        variable = self.layout.variables["group", group.name]
        attributes = [each for each in group.features if _is_attribute(each.name)]
        others = [self._feature(each, name=True) for each in group.features if not _is_attribute(each.name)]
        options: dict[str, object] = {"entity": None if group.entity is None else self._entity_of(group.entity)}
        options |= {"name": group.name} if snake_case(variable) != group.name else {}
        options |= self._rows(group)
        options |= {"features": others} if others else {}
        options |= {"tags": list(group.tags)} if group.tags else {}
        options |= self._unique(group.unique)
        bases = CodeCall("", [PythonCode(self._use("FeatureGroup"))], {**options, **group.options})
        header = statement(f"class {variable}", bases, after=":")
        documented = group.description.strip() or not (attributes or group.code)
        parts = [docstring(group.description, indent=4)] if documented else []
        body = "\n".join(statement(f"{each.name} = ", self._feature(each), indent=4) for each in attributes)
        parts += [body] if body else []
        parts += [_indented(group.code)] if group.code else []
        return f"{header}\n" + "\n\n".join(parts)

    def _entity_of(self, name: str) -> PythonCode:
        return self._variable("entity", name, self.layout.entities[name])

    def _rows(self, group: ImportedGroup) -> dict[str, object]:
        """Return the options that say what a group is computed from."""
        if group.source:
            source = self._variable("source", group.source, self.layout.sources[group.source])
            return {"source": source, **({"keys": dict(group.keys)} if group.keys else {})}
        inputs: list[object] = [self._reference(each) for each in group.inputs]
        if group.request:
            columns = {name: PythonCode(in_python(dtype)) for name, dtype in group.request.items()}
            inputs.append(_request(self._use("Request"), columns))
        return {"inputs": inputs}

    def _unique(self, rules: tuple[ImportedUnique, ...]) -> dict[str, object]:
        if len(rules) == 1 and rules[0].severity == "error":
            return {"unique": rules[0].columns[0] if len(rules[0].columns) == 1 else list(rules[0].columns)}
        calls = [
            CodeCall(self._use("Unique"), each.columns, {} if each.severity == "error" else {"severity": each.severity})
            for each in rules
        ]
        return {"unique": calls} if calls else {}

    def _feature(self, feature: ImportedFeature, *, name: bool = False) -> CodeCall:
        options: dict[str, object] = {"name": feature.name} if name else {}
        options |= {"sql": SqlCode(feature.sql)} if feature.sql else {}
        options |= {key: _option(key, each) for key, each in feature.options.items()}
        options |= _described(feature.description)
        rules = [self._rule(each) for each in feature.expect]
        options |= {"expect": rules[0] if len(rules) == 1 else rules} if rules else {}
        options |= {"tags": feature.tags[0] if len(feature.tags) == 1 else list(feature.tags)} if feature.tags else {}
        return CodeCall(self._use("Feature"), [PythonCode(in_python(feature.dtype))], options)

    def _rule(self, rule: ImportedRule) -> object:
        options = {"severity": rule.severity} if rule.severity != "error" else {}
        options |= {"name": rule.name} if rule.name else {}
        return CodeCall(self._use("Expect"), [rule.condition], options) if options else rule.condition

    def _set(self, each: ImportedSet) -> str:
        features = [self._reference(reference) for reference in each.features]
        options = {"version": each.version, **_described(each.description), "features": features}
        call = CodeCall(self._use("FeatureSet"), [each.name], options)
        return statement(f"{self.layout.variables['set', f'{each.name}@{each.version}']} = ", call)

    def _reference(self, reference: ImportedReference) -> object:
        group, name = group_of(reference), reference.address.rpartition(".")[2]
        module = self.layout.groups.get(group)
        if module is None or (module != self.name and self._closes_a_cycle(module)):
            return reference.address
        variable = self._variable("group", group, module).text
        if name == "*":
            return PythonCode(variable)
        feature = f"{variable}.{name}" if _is_attribute(name) else f'{variable}["{name}"]'
        if not reference.alias and not reference.keys:
            return PythonCode(feature)
        arguments = [reference.alias] if reference.alias else []
        return CodeCall(f"{feature}.alias", arguments, {"keys": dict(reference.keys)} if reference.keys else {})

    def _closes_a_cycle(self, module: str) -> bool:
        """Return whether a module imports this one, directly or through others."""
        seen, waiting = set[str](), [module]
        while waiting:
            current = waiting.pop()
            seen.add(current)
            read = {
                self.layout.groups[name]
                for each in self.project.groups if self.layout.groups[each.name] == current
                for name in map(group_of, each.inputs) if name in self.layout.groups
            }  # fmt: skip
            waiting += sorted(read - seen)
        return self.name in seen


def _request(function: str, columns: dict[str, PythonCode]) -> CodeCall:
    """Return the call that declares request-time data, whose names may be keywords."""
    if any(map(keyword.iskeyword, columns)):
        listed = ", ".join(f"{text(name)}: {dtype.text}" for name, dtype in columns.items())
        return CodeCall(function, [PythonCode(f"**{{{listed}}}")])
    return CodeCall(function, (), columns)


def _by_type(name: str) -> tuple[bool, str]:
    return not name[:1].isupper(), name


def _described(description: str) -> dict[str, object]:
    plain = one_line(description)
    return {"description": plain} if plain else {}


def _option(name: str, value: object) -> object:
    return SqlCode(value) if name == "sql" and isinstance(value, str) else value


def _is_attribute(name: str) -> bool:
    """Return whether a feature can be an attribute of a class body."""
    return name.isidentifier() and not keyword.iskeyword(name) and name not in _NOT_IN_A_BODY


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" if line.strip() else "" for line in code.strip("\n").splitlines())
