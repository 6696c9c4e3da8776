"""Write what another project shares as a Python module: its features by name, typed, for import."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from featdsl.definitions import Catalog, Deprecation, FeatureDefinition, GroupDefinition, Member, SetDefinition
from featdsl.dtypes import PYTHON, parse
from featdsl.errors import DeclarationError, FeatureNotFoundError, Problem, StoreError
from featdsl.names import did_you_mean, snake_case
from featdsl.project import Project
from featdsl.snapshot import Snapshot

FOLDER = "shared"
"""The folder inside the features package that pulled modules are written to."""

_MADE = "Made by featdsl pull"
_STATE = re.compile(r"^Made by featdsl pull .*$", re.MULTILINE)
_PYTHON = {
    **PYTHON, "TIMESTAMP": "_dt.datetime", "DATE": "_dt.date", "TIME": "_dt.time", "INTERVAL": "_dt.timedelta",
    "UUID": "_uuid.UUID",
}  # fmt: skip
_TYPES = frozenset({"bool", "int", "float", "str", "bytes", "list"})
"""Names that a module writes types with, so that nothing else in it may have them."""


@dataclass(frozen=True)
class Module:
    """A module that a pull writes: its path below the project's folder, and its text."""

    path: str
    text: str

    def is_written(self, found: str) -> bool:
        """Return whether a file holds it, of whatever state: what others have applied since is no difference."""
        return _STATE.sub("", found) == _STATE.sub("", self.text)


def pull(snapshot: Snapshot, theirs: str, project: Project) -> Module:
    """Return the module of what another project shares.

    Raises FeatureNotFoundError for a project that has applied nothing, or nothing that is not private.
    """
    known = {each.project for each in snapshot.catalog} - {project.name}
    if theirs not in known:
        what = f"No other project called {theirs} has applied anything to this store."
        mend = did_you_mean(theirs, known) or (f"There is: {', '.join(sorted(known))}." if known else "")
        if theirs == project.name:
            what, mend = f"{theirs} is this project.", "Import what it declares from the modules that declare it."
        raise FeatureNotFoundError(Problem("Unknown project", what, mend=mend))
    shared = _shared(snapshot, theirs)
    if not shared.groups and not shared.sets:
        what = f"The project {theirs} shares nothing: every group of it is private."
        raise FeatureNotFoundError(Problem("Nothing shared", what, mend="Ask its team to make a group public."))
    name = f"{theirs}_" if keyword.iskeyword(theirs) else theirs
    path = (project.features / FOLDER / f"{name}.py").relative_to(project.root).as_posix()
    text = "\n".join(_Writer(shared, theirs, snapshot).lines()) + "\n"
    refuse_other_code(text, path)
    return Module(path, text)


def refuse_other_code(text: str, path: str) -> None:
    """Refuse a module that is more than declarations: whatever a registry holds, its names never become code.

    Raises StoreError.
    """
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError):
        module = ast.Module([ast.Pass()], [])
    if not all(map(_is_declaration, module.body)):
        what = f"{path} would hold more than declarations: something in the registry is not as featdsl writes it."
        raise StoreError(Problem("Registry cannot be trusted", what, mend="Ask who has edited the store."))


def _is_declaration(node: ast.stmt) -> bool:
    """Return whether a statement is an import of featdsl's, a text, or a name that is given what it declares."""
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
    """Return whether an expression is a text, a number, a name, or made of such by lists, dicts, subscripts and roles."""
    match node:
        case ast.Call():
            return _is_call_of_shared(node)
        case ast.List() | ast.Tuple() | ast.Dict() | ast.Subscript() | ast.Attribute():
            return all(_is_plain(each) for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr))
        case _:
            return isinstance(node, ast.Constant | ast.Name)


def refuse_other_files(text: str, path: str) -> None:
    """Refuse to replace a file that no pull wrote. Raises DeclarationError."""
    if _MADE not in text:
        what = f"{path} is there already, and featdsl pull did not write it."
        raise DeclarationError(Problem("File is not ours", what, mend="Move it away, then pull again."))


def _shared(snapshot: Snapshot, project: str) -> Catalog:
    """Return what a project lets others use, and the entities of that, whoever declares them."""
    catalog = snapshot.catalog
    groups = [each for each in catalog.of_project(project).groups.values() if each.access != "private"]
    features = [feature for group in groups for feature in catalog.members_of(group.name)]
    entities_of = {group.entity for group in groups}
    private = {each.name for each in catalog.groups.values() if each.access == "private"}
    former = [each for each in _former(snapshot, project) if each.entity in entities_of and each.group not in private]
    groups, features = list(_with(groups, former)), [*features, *former]
    sets = catalog.of_project(project).sets.values()
    own = catalog.of_project(project).entities
    used = {feature.entity for feature in features if feature.entity}
    entities = [each for each in catalog.entities.values() if each.name in used or each.name in own]
    return Catalog.of([*entities, *groups, *features, *sets])


def _former(snapshot: Snapshot, project: str) -> Iterator[FeatureDefinition]:
    """Yield features under names that they had and that other projects still use them by: what was applied keeps its names.

    Of several definitions the current one; a set version has what it pins anyway.
    """
    catalog, former, known = snapshot.catalog, snapshot.catalog.former, snapshot.versions
    for old in sorted({name for name, _ in known} - catalog.features.keys()):
        fingerprints = sorted(fingerprint for name, fingerprint in known if name == old)
        now = catalog.features.get(former.get(old, ""))
        current = now is not None and now.fingerprint in fingerprints
        version = known[old, now.fingerprint if now is not None and current else fingerprints[0]]
        if version.project == project:
            said = f"Called {now.address} now." if now is not None else "Has another name now."
            yield replace(version, description=said, tags=(), deprecated=None)


def _with(groups: list[GroupDefinition], former: list[FeatureDefinition]) -> Iterator[GroupDefinition]:
    """Yield groups with what they had under other names too, and groups of names that none has any more."""
    named = {each.name: each for each in groups}
    for each in former:
        group = named.get(each.group)
        if group is None:
            (like, *_) = [other for other in groups if other.entity == each.entity]
            group = replace(like, name=each.group, members=(), description="Has another name now.", deprecated=None)
        member = Member(column=each.name, feature=each.address, fingerprint=each.fingerprint)
        named[each.group] = replace(group, members=(*group.members, member))
    yield from named.values()


class _Names:
    """Names within a module or a class: no two things, no keyword and no type have one."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def free(self, name: str) -> str:
        while name in self._taken or keyword.iskeyword(name):
            name += "_"
        self._taken.add(name)
        return name


class _Writer:
    """One module while it is written."""

    def __init__(self, shared: Catalog, project: str, snapshot: Snapshot) -> None:
        self._shared, self._project = shared, project
        self._head, self._versions = snapshot.head, snapshot.versions
        names = _Names({*_TYPES, "FeatureGroup"})
        self._classes = {name: names.free(_class_name(name)) for name in sorted(shared.groups)}
        self._entities = {name: names.free(name) for name in sorted(shared.entities)}
        self._sets = {name: names.free(shared.sets[name].view) for name in sorted(shared.sets)}

    def lines(self) -> Iterator[str]:
        body = list(self._body())
        yield f'"""What the project {self._project} shares.'
        yield ""
        yield f"{_MADE} {self._project} from state {self._head.serial} of store {self._head.lineage}."
        yield "Do not edit it: pull again, which writes it anew."
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
                description=_said(entity.description),
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
        if others:  # whose names a class body cannot hold
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
        if said := _described(feature_set.description, feature_set.deprecated):
            yield f"    description={_text(said)},"
        yield ")"

    def _member(self, member: Member) -> str:
        """Return how a set lists a feature: by object where this module has it, else by address."""
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
        description=_said(_described(feature.description, feature.deprecated)),
        tags=f"[{', '.join(_text(tag) for tag in feature.tags)}]" if feature.tags else "",
        name=name,
    )


def _call(call: str, *given: str, **options: str) -> list[str]:
    """Return a call in as many lines as are good to read; options without a value are left out."""
    arguments = [*given, *(f"{name}={value}" for name, value in options.items() if value)]
    whole = f"{call}({', '.join(arguments)})"
    if len(whole) <= _WIDTH:
        return [whole]
    return [f"{call}(", *(f"    {argument}," for argument in arguments), ")"]


_WIDTH = 100


def _indented(lines: list[str], last: str = "") -> Iterator[str]:
    yield from (f"    {line}" for line in lines[:-1])
    yield f"    {lines[-1]}{last}"


def _described(description: str, deprecated: Deprecation | None) -> str:
    """Return a description that tells of a deprecation as well."""
    if deprecated is None:
        return description
    until = f", may go from {deprecated.remove_after}" if deprecated.remove_after else ""
    use = f"; use {deprecated.use}" if deprecated.use else ""
    said = f"Deprecated since {deprecated.since}{until}{use}."
    return f"{description}\n\n{said}" if description else said


def _said(text: str) -> str:
    return _text(text) if text else ""


def _text(text: str) -> str:
    """Return a text as Python code, the same in every version of Python."""
    escaped = "".join(_ESCAPES.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode()) for c in text)
    return f'"{escaped}"'


_ESCAPES: Mapping[str, str] = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}


def _class_name(group: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in group.split("_"))


def _python(dtype: str) -> str:
    """Return a type as code: Python's own where it has one, else DuckDB's as text."""
    shape = parse(dtype)
    if shape.name == "LIST":
        item = _python(str(shape.of[0][1]))
        return _text(dtype) if item.startswith('"') else f"list[{item}]"
    return _PYTHON.get(dtype, _text(dtype))
