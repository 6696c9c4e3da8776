"""Generate a Python module from what another project shares, so that its features can be imported with their types."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dtypes import PYTHON, parse
from featdsl.definitions.kinds import Deprecation, FeatureDefinition, GroupDefinition, Member, SetDefinition
from featdsl.definitions.names import did_you_mean, snake_case
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import DeclarationError, FeatureNotFoundError, Problem, StoreError
from featdsl.project.settings import Project

FOLDER = "shared"
"""The folder of pulled modules, inside the features package."""

_MADE = "Made by featdsl pull"
_STATE = re.compile(r"^Made by featdsl pull .*$", re.MULTILINE)
_PYTHON = {
    **PYTHON, "TIMESTAMP": "_dt.datetime", "DATE": "_dt.date", "TIME": "_dt.time", "INTERVAL": "_dt.timedelta",
    "UUID": "_uuid.UUID",
}  # fmt: skip
_TYPES = frozenset({"bool", "int", "float", "str", "bytes", "list"})
"""Built-in type names that the module uses, so that no feature in it may shadow them."""


@dataclass(frozen=True)
class Module:
    """A pulled module: its path relative to the project's root, and its text."""

    path: str
    text: str

    def is_written(self, text: str) -> bool:
        """Return whether a file's text is this module, apart from the registry state that it names."""
        return _STATE.sub("", text) == _STATE.sub("", self.text)


def pull(snapshot: Snapshot, other: str, project: Project) -> Module:
    """Return the module of what the project `other` shares.

    Raises FeatureNotFoundError if that project has applied nothing, or only private groups.
    """
    known = {each.project for each in snapshot.catalog} - {project.name}
    if other not in known:
        what = f"No project named {other} has applied anything to this store."
        fix = did_you_mean(other, known) or (f"Known: {', '.join(sorted(known))}." if known else "")
        if other == project.name:
            what, fix = f"{other} is this project.", "Import its features from the modules that declare them."
        raise FeatureNotFoundError(Problem("Unknown project", what, fix=fix))
    shared = _shared(snapshot, other)
    if not shared.groups and not shared.sets:
        what = f"The project {other} shares nothing: all its groups are private."
        raise FeatureNotFoundError(Problem("Nothing shared", what, fix="Ask its team to make a group public."))
    name = f"{other}_" if keyword.iskeyword(other) else other
    path = (project.features / FOLDER / f"{name}.py").relative_to(project.root).as_posix()
    text = "\n".join(_Writer(shared, other, snapshot).lines()) + "\n"
    refuse_other_code(text, path)
    return Module(path, text)


def refuse_other_code(text: str, path: str) -> None:
    """Raise StoreError if a module holds more than declarations: text from the registry must never become code."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        module = ast.Module([ast.Pass()], [])
    if not all(map(_is_declaration, module.body)):
        what = f"{path} would contain more than declarations: the registry holds text that featdsl never writes."
        raise StoreError(Problem("Registry cannot be trusted", what, fix="Find out who edited the store."))


def _is_declaration(node: ast.stmt) -> bool:
    """Return whether a statement is one that a pull writes: an import, a docstring, or a declaration bound to a name."""
    match node:
        case ast.Import(names=[ast.alias(name="datetime" | "uuid")]) | ast.ImportFrom(module="featdsl"):
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.Assign(targets=[ast.Name()], value=ast.Call() as call):
            return _is_call_of_shared(call)
        case ast.ClassDef(bases=[ast.Name(id="FeatureGroup")], decorator_list=[]):
            return all(map(_is_declaration, node.body)) and all(_is_plain(each.value) for each in node.keywords)
        case _:
            return False


def _is_call_of_shared(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="_shared")):
            return all(map(_is_plain, [*call.args, *(each.value for each in call.keywords)]))
        case ast.Attribute(attr="alias"):
            return all(map(_is_plain, [call.func.value, *call.args, *(each.value for each in call.keywords)]))
        case _:
            return False


def _is_plain(node: ast.expr | None) -> bool:
    """Return whether an expression has only literals and names, in lists, dicts, subscripts and calls of `_shared`."""
    match node:
        case ast.Call():
            return _is_call_of_shared(node)
        case ast.List() | ast.Tuple() | ast.Dict() | ast.Subscript() | ast.Attribute():
            return all(_is_plain(each) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
        case _:
            return isinstance(node, ast.Constant | ast.Name)


def refuse_other_files(text: str, path: str) -> None:
    """Raise DeclarationError if a file was not written by a pull."""
    if _MADE not in text:
        what = f"{path} exists, and featdsl pull did not write it."
        raise DeclarationError(Problem("File cannot be replaced", what, fix="Move it away, then pull again."))


def _shared(snapshot: Snapshot, project: str) -> Catalog:
    """Return what a project shares, with the entities that it needs, of any project."""
    catalog = snapshot.catalog
    groups = [each for each in catalog.of_project(project).groups.values() if each.access != "private"]
    features = [feature for group in groups for feature in catalog.members_of(group.name)]
    entities_of = {group.entity for group in groups}
    private = {each.name for each in catalog.groups.values() if each.access == "private"}
    former = [each for each in _former(snapshot, project) if each.entity in entities_of and each.group not in private]
    groups, features = list(_with_former(groups, former)), [*features, *former]
    sets = catalog.of_project(project).sets.values()
    own = catalog.of_project(project).entities
    used = {feature.entity for feature in features if feature.entity}
    entities = [each for each in catalog.entities.values() if each.name in used or each.name in own]
    return Catalog.of([*entities, *groups, *features, *sets])


def _former(snapshot: Snapshot, project: str) -> Iterator[FeatureDefinition]:
    """Yield renamed features under their former names, which applied definitions of other projects still use.

    A feature with several definitions appears with the current one; set versions find the others by their pins.
    """
    catalog, former, known = snapshot.catalog, snapshot.catalog.former, snapshot.versions
    for old in sorted({name for name, _ in known} - catalog.features.keys()):
        fingerprints = sorted(fingerprint for name, fingerprint in known if name == old)
        now = catalog.features.get(former.get(old, ""))
        current = now is not None and now.fingerprint in fingerprints
        version = known[old, now.fingerprint if now is not None and current else fingerprints[0]]
        if version.project == project:
            text = f"Renamed to {now.address}." if now is not None else "Renamed."
            yield replace(version, description=text, tags=(), deprecated=None)


def _with_former(groups: list[GroupDefinition], former: list[FeatureDefinition]) -> Iterator[GroupDefinition]:
    """Yield the groups with their features' former names added, and a group for each former group name."""
    named = {each.name: each for each in groups}
    for each in former:
        group = named.get(each.group)
        if group is None:
            (like, *_) = [other for other in groups if other.entity == each.entity]
            group = replace(like, name=each.group, members=(), description="Renamed.", deprecated=None)
        member = Member(column=each.name, feature=each.address, fingerprint=each.fingerprint)
        named[each.group] = replace(group, members=(*group.members, member))
    yield from named.values()


class _Names:
    """Picks free names in a module: never a keyword, a type or a name in use."""

    def __init__(self, used: Iterable[str]) -> None:
        self._used = set(used)

    def free(self, name: str) -> str:
        while name in self._used or keyword.iskeyword(name):
            name += "_"
        self._used.add(name)
        return name


class _Writer:
    """Writes one module."""

    def __init__(self, shared: Catalog, project: str, snapshot: Snapshot) -> None:
        self._shared, self._project = shared, project
        self._head, self._versions = snapshot.head, snapshot.versions
        names = _Names({*_TYPES, "FeatureGroup"})
        self._classes = {name: names.free(_class_name(name)) for name in sorted(shared.groups)}
        self._entities = {name: names.free(name) for name in sorted(shared.entities)}
        self._sets = {name: names.free(shared.sets[name].view) for name in sorted(shared.sets)}

    def lines(self) -> Iterator[str]:
        body = list(self._body())
        yield f'"""Features that the project {self._project} shares.'
        yield ""
        yield f"{_MADE} {self._project} from state {self._head.serial} of store {self._head.lineage}."
        yield "Do not edit: the next pull overwrites this file."
        yield '"""'
        yield ""
        yield "# ruff: noqa"
        yield "# fmt: off"
        yield from (f"import {module} as {name}" for module, name in _IMPORTS.items() if any(name in x for x in body))
        yield "from featdsl import FeatureGroup" if self._classes else ""
        yield "from featdsl import shared as _shared"
        yield from body

    def _body(self) -> Iterator[str]:
        for name, known_as in self._entities.items():
            entity = self._shared.entities[name]
            keys = ", ".join(f"{_text(key.name)}: {_python(key.dtype)}" for key in entity.keys)
            yield ""
            yield from _call(
                f"{known_as} = _shared.entity", _text(name), keys=f"{{{keys}}}", project=_text(self._project),
                description=_optional(entity.description),
            )  # fmt: skip
        for name in self._classes:
            yield from ["", "", *self._group(self._shared.groups[name])]
        if self._sets:
            yield ""
        for name in self._sets:
            yield from ["", *self._set(self._shared.sets[name])]

    def _group(self, group: GroupDefinition) -> Iterator[str]:
        features = self._shared.members_of(group.name)
        plain = [each for each in features if not (keyword.iskeyword(each.name) or each.name in _TYPES)]
        others = [each for each in features if each not in plain]
        written = self._classes[group.name]
        named = f", name={_text(group.name)}" if snake_case(written) != group.name else ""
        entity = self._entities[group.entity] if group.entity else "None"
        header = f"class {written}(FeatureGroup, entity={entity}{named}, shared_by={_text(self._project)}"
        if others:  # a class body cannot hold their names
            yield f"{header}, features=["
            for each in others:
                yield from _indented(_feature("_shared.feature", each, name=_text(each.name)), last=",")
            yield "]):"
        else:
            yield f"{header}):"
        yield f"    {_text(_described(group.description, group.deprecated) or f'Of the team {group.owner}.')}"
        for each in plain:
            yield ""
            yield from _indented(_feature(f"{each.name} = _shared.feature", each))

    def _set(self, feature_set: SetDefinition) -> Iterator[str]:
        yield f"{self._sets[feature_set.address]} = _shared.feature_set("
        yield f"    {_text(feature_set.name)},"
        yield f"    version={feature_set.version},"
        yield "    features=["
        yield from (f"        {self._member(member)}," for member in feature_set.members)
        yield "    ],"
        yield f"    project={_text(self._project)},"
        if description := _described(feature_set.description, feature_set.deprecated):
            yield f"    description={_text(description)},"
        yield ")"

    def _member(self, member: Member) -> str:
        """Return a set's reference to a feature: the object if this module declares it, else the address."""
        group, _, name = member.feature.partition(".")
        is_here = member.feature in self._shared.features
        is_plain = not (keyword.iskeyword(name) or name in _TYPES)
        here = f"{self._classes[group]}{f'.{name}' if is_plain else f'[{_text(name)}]'}" if is_here else ""
        keys = ", ".join(f"{_text(key)}: {_text(column)}" for key, column in member.keys)
        if not keys and member.column == name:
            return here or _text(member.feature)
        role = f"{_text(member.column)}{f', keys={{{keys}}}' if keys else ''}"
        if here:
            return f"{here}.alias({role})"
        dtype = _python(self._versions[member.feature, member.fingerprint].dtype)
        role = f"{_text(member.column)}, dtype={dtype}{f', keys={{{keys}}}' if keys else ''}"
        return f"_shared.role({_text(member.feature)}, {role}, project={_text(self._project)})"


_IMPORTS = {"datetime": "_dt", "uuid": "_uuid"}


def _feature(call: str, feature: FeatureDefinition, *, name: str = "") -> list[str]:
    return _call(
        call,
        _python(feature.dtype),
        _text(feature.fingerprint),
        description=_optional(_described(feature.description, feature.deprecated)),
        unit=_optional(feature.unit),
        tags=f"[{', '.join(_text(tag) for tag in feature.tags)}]" if feature.tags else "",
        name=name,
    )


def _call(call: str, *positional: str, **options: str) -> list[str]:
    """Return the lines of a call: one if it is short, else one per argument. Empty options are left out."""
    arguments = [*positional, *(f"{name}={value}" for name, value in options.items() if value)]
    line = f"{call}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        return [line]
    return [f"{call}(", *(f"    {argument}," for argument in arguments), ")"]


_WIDTH = 100


def _indented(lines: list[str], last: str = "") -> Iterator[str]:
    yield from (f"    {line}" for line in lines[:-1])
    yield f"    {lines[-1]}{last}"


def _described(description: str, deprecated: Deprecation | None) -> str:
    """Return a description with the deprecation added."""
    if deprecated is None:
        return description
    until = f", may be removed from {deprecated.remove_after}" if deprecated.remove_after else ""
    use = f"; use {deprecated.use}" if deprecated.use else ""
    notice = f"Deprecated since {deprecated.since}{until}{use}."
    return f"{description}\n\n{notice}" if description else notice


def _optional(text: str) -> str:
    return _text(text) if text else ""


def _text(text: str) -> str:
    """Return a string literal, the same in every version of Python."""
    escaped = "".join(_ESCAPES.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode()) for c in text)
    return f'"{escaped}"'


_ESCAPES: Mapping[str, str] = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}


def _class_name(group: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in group.split("_"))


def _python(dtype: str) -> str:
    """Return a type as Python code: the Python type if there is one, else DuckDB's name as a string."""
    shape = parse(dtype)
    if shape.name == "LIST":
        item = _python(str(shape.of[0][1]))
        return _text(dtype) if item.startswith('"') else f"list[{item}]"
    return _PYTHON.get(dtype, _text(dtype))
