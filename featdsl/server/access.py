"""Bearer tokens, and what their teams may read."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.snapshot import Snapshot
from featdsl.project.tokens import TokenTable, digest
from featdsl.server.refusals import Refusal

_CHALLENGE = (("WWW-Authenticate", "Bearer"),)
_SCHEME = "bearer "


@dataclass(frozen=True)
class Caller:
    """Who sends a request: the team of a token, or "" where no tokens are set. `sets` limits the caller to set versions."""

    team: str = ""
    sets: frozenset[str] | None = None

    def may_name(self, set_version: str) -> bool:
        """Return whether the token names a set version, such as `credit_risk@1`, or limits no sets."""
        return self.sets is None or set_version in self.sets or f"{set_version.partition('@')[0]}@*" in self.sets

    def may_push(self, owner: str) -> bool:
        """Return whether the caller may push events to the sources of a team."""
        return self.sets is None and self.team in {"", owner}

    @property
    def may_list(self) -> bool:
        """Return whether the caller may read features outside of sets."""
        return self.sets is None


class Tokens:
    """The tokens that the server accepts, by their hashes."""

    def __init__(self, tables: Mapping[str, TokenTable]) -> None:
        self._callers = [
            (table.sha256.encode(), Caller(table.team, None if table.sets is None else frozenset(table.sets)))
            for table in tables.values()
        ]

    @property
    def is_open(self) -> bool:
        """Return whether requests need no token."""
        return not self._callers

    def caller(self, authorization: str | None) -> Caller:
        """Return who sends a request with this Authorization header. Raises Refusal."""
        if not self._callers:
            return Caller()
        if authorization is None or not authorization.lower().startswith(_SCHEME):
            text = "The request has no token. Send the header: Authorization: Bearer TOKEN"
            raise Refusal(401, "missing_token", text, headers=_CHALLENGE)
        given = digest(authorization[len(_SCHEME) :].strip()).encode()
        found: Caller | None = None
        for known, caller in self._callers:  # every hash is compared: the time says nothing of which one is near
            found = caller if hmac.compare_digest(known, given) else found
        if found is None:
            raise Refusal(401, "wrong_token", "The token is not known.", headers=_CHALLENGE)
        return found


def group_of(snapshot: Snapshot, feature: FeatureDefinition) -> GroupDefinition | None:
    """Return the group that a feature belongs to, also under its present name; None if it was removed."""
    groups = snapshot.catalog.groups
    return groups.get(feature.group) or groups.get(snapshot.catalog.former.get(feature.group, ""))


def hidden_group(snapshot: Snapshot, features: Iterable[FeatureDefinition], caller: Caller) -> str | None:
    """Return the first private group of another team among the groups of features; None if the caller may read all.

    A set that mixes private groups of several teams is readable by none of them. A group that was removed, but that a set
    still pins, no longer says whether it is private: only the team that owned it reads it.
    """
    for feature in features:
        group = group_of(snapshot, feature)
        is_private = group is None or group.access == "private"
        if is_private and caller.team != (group.owner if group else feature.owner):
            return feature.group
    return None
