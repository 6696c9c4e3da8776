"""What the groups over features are derived from: inputs, the roles that they are read in, and what the call brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from featdsl.definitions import Column, FeatureDefinition, Input, Role
from featdsl.draft import Draft, target_of
from featdsl.dtypes import gives
from featdsl.errors import Origin
from featdsl.feature import Feature, FeatureAlias
from featdsl.group import GroupDeclaration, Reference
from featdsl.names import AS_OF_TIMESTAMP, did_you_mean


def groups_needed(group: GroupDeclaration) -> list[str]:
    """Return the names of the groups that a group is derived from, sorted."""
    return sorted({name for reference in group.references for name in _groups_of(reference)})


def _groups_of(reference: Reference) -> Iterable[str]:
    if isinstance(reference, str):
        return [reference.partition(".")[0]]
    givers = reference.keys.values() if isinstance(reference, FeatureAlias) else ()
    return [each.group.address for each in (target_of(reference), *givers) if isinstance(each, Feature)]


def inputs_of(draft: Draft, group: GroupDeclaration) -> tuple[Input, ...]:
    """Return the inputs of a group in order of column; what is wrong with one is refused."""
    address = f"group {group.name}"
    inputs: dict[str, Input] = {}
    for reference in group.references:
        usable = not isinstance(reference, FeatureAlias) or reference.valid
        member = draft.member(address, reference, group.origin) if usable else None
        if member is None:
            draft.broken.add(address)
            continue
        feature = draft.features[member.feature]
        roles = _roles(draft, group, feature, _given(reference))
        if roles is None:
            continue
        if member.column in inputs:
            what = f"{address} has two inputs called {member.column}."
            mend = f'Give one another name: .alias("{feature.group}_{member.column}").'
            draft.refuse(address, "Column used twice", what, group.origin, mend)
        else:
            inputs[member.column] = Input(
                column=member.column, feature=feature.address, fingerprint=feature.fingerprint, keys=roles
            )
    return tuple(inputs[column] for column in sorted(inputs))


def requested(draft: Draft, group: GroupDeclaration, inputs: Iterable[Input]) -> tuple[Column, ...]:
    """Return what a group itself needs of the call, in order of name."""
    address = f"group {group.name}"
    columns: dict[str, Column] = {}
    taken = {item.column: f"the input {item.feature}" for item in inputs}
    for request in group.requests:
        if not request.valid:
            draft.broken.add(address)
            continue
        for name, dtype in request.columns.items():
            if name in taken:
                what = f"{address}: the request {name} has the name of {taken[name]}."
                mend = "Give the request another name, or the input: .alias(...)."
                draft.refuse(address, "Column used twice", what, request.origin, mend)
            taken[name] = "another request"
            columns[name] = Column(name=name, dtype=dtype)
    return tuple(columns[name] for name in sorted(columns))


def needed(draft: Draft, feature: FeatureDefinition, where: Origin) -> tuple[Column, ...]:
    """Return what a feature needs of the call, by way of its inputs too; refuse it where that cannot be."""
    address = f"feature {feature.address}"
    columns = {column.name: (column, feature.address) for column in feature.asks}
    for name, _ in feature.upstream:
        for column in draft.features[name].request:
            other, first = columns.setdefault(column.name, (column, name))
            if other.dtype != column.dtype:
                both = f"{other.dtype} for {first}, but {column.dtype} for {name}"
                what = f"{address}: the request {column.name} is {both}."
                draft.refuse(address, "Request with two types", what, where, "Give both one type, or one another name.")
    for taken in sorted(columns.keys() & {feature.name, *(key.name for key in feature.keys)}):
        what = f"{address} needs the request {taken}, which is {'its own name' if taken == feature.name else 'a key'}."
        draft.refuse(address, "Column used twice", what, where, "Give the feature or the request another name.")
    if feature.as_of and (feature.expect or feature.whole):
        what = f"{address} counts up to {AS_OF_TIMESTAMP}, so it has no stored rows that expect= could check."
        draft.refuse(address, "Check on a time", what, where, "Leave expect= out, or put it on the inputs.")
    elif columns and (feature.expect or feature.whole):
        what = f"{address} needs the request {', '.join(sorted(columns))}, so it has no stored rows that expect= could check."
        draft.refuse(address, "Check on a request", what, where, "Leave expect= out, or put it on the inputs.")
    return tuple(columns[name][0] for name in sorted(columns))


def _given(reference: Reference) -> Mapping[str, object]:
    return reference.keys if isinstance(reference, FeatureAlias) else {}


def _roles(
    draft: Draft, group: GroupDeclaration, feature: FeatureDefinition, given: Mapping[str, object]
) -> tuple[Role, ...] | None:
    """Return the keys of an input that are not the group's of the same name; None where one is missing or unfit."""
    roles = []
    for key in feature.keys:
        by = given.get(key.name, key.name)
        if isinstance(by, Feature):
            role = _by_feature(draft, group, key, by)
        else:
            role = _by_column(draft, group, feature.address, key, str(by))
        if role is None:
            return None
        roles.append(role)
    return tuple(role for role in roles if role.column != role.key)


def _by_column(draft: Draft, group: GroupDeclaration, feature: str, key: Column, column: str) -> Role | None:
    """Return the role in which a key column of the group's entity gives a key of an input."""
    address, own = f"group {group.name}", group.entity.keys if group.entity else {}
    if column not in own:
        what = f"{address} is derived from {feature}, whose key {key.name} it lacks."
        if column != key.name:
            what = f"{address} looks {feature} up by {column!r}, which is no key of its own entity."
        near = did_you_mean(column, own) if column != key.name else ""
        said = f'Say which key of the group\'s entity, or feature of it, gives it: .alias(..., keys={{"{key.name}": ...}}).'
        draft.refuse(address, "Input of another entity", what, group.origin, near or said)
        return None
    if own[column] != key.dtype:
        what = f"{address} looks {feature} up by {column}, which is {own[column]}; its key {key.name} is {key.dtype}."
        draft.refuse(address, "Wrong type of key", what, group.origin, "Give both keys one type.")
        return None
    return Role(key=key.name, column=column)


def _by_feature(draft: Draft, group: GroupDeclaration, key: Column, giver: Feature[object]) -> Role | None:
    """Return the role in which a feature of the group's entity gives a key of an input."""
    address = f"group {group.name}"
    member = draft.member(address, giver, group.origin)
    if member is None:
        draft.broken.add(address)
        return None
    found = draft.features[member.feature]
    lacking = sorted({each.name for each in found.keys} - (group.entity.keys.keys() if group.entity else set()))
    if lacking:
        what = f"{address} takes the key {key.name} from {found.address}, whose own key {lacking[0]} it lacks."
        mend = f"Take it from a feature of {group.entity.name if group.entity else 'no entity'}."
        draft.refuse(address, "Input of another entity", what, group.origin, mend)
        return None
    if not gives(found.dtype, key.dtype):
        types = f"which is {key.dtype}, from {found.address}, which is {found.dtype}"
        mend = f"Derive a feature that casts it to {key.dtype}."
        draft.refuse(address, "Wrong type of key", f"{address} takes the key {key.name}, {types}.", group.origin, mend)
        return None
    return Role(key=key.name, feature=found.address, fingerprint=found.fingerprint)
