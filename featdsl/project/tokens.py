"""Tokens of the server: make one, and the settings that keep only its hash."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from featdsl.declarations.declaration import Name
from featdsl.definitions.names import is_name


def _hash(text: str) -> str:
    """Return `text` if it is a SHA-256. Raises ValueError, which does not repeat it: it may be the token itself."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("write the SHA-256 of the token, 64 digits and letters, which featdsl token prints")
    return text


def _set_version(text: str) -> str:
    if not is_set_pattern(text):
        raise ValueError(f'{text!r} is not a set version; write "credit_risk@1", or "credit_risk@*" for all versions')
    return text


def is_set_pattern(text: str) -> bool:
    """Return whether a text is a set version, or all versions of a set: `credit_risk@1`, `credit_risk@*`."""
    name, at, version = text.partition("@")
    return is_name(name) and at == "@" and (version == "*" or version.isdecimal())


class TokenTable(BaseModel):
    """`[serving.tokens.NAME]`: a token of the server: its team, its SHA-256, and the set versions that it may read.

    A set is "credit_risk@1", or "credit_risk@*" for all versions. Without `sets` the token may read what its team may read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    team: Name
    sha256: Annotated[str, AfterValidator(_hash)]
    sets: list[Annotated[str, AfterValidator(_set_version)]] | None = None


@dataclass(frozen=True)
class NewToken:
    """A new token, and the lines of featproject.toml that let the server accept it."""

    token: str
    lines: str


def new(name: str, team: str, sets: Sequence[str] = ()) -> NewToken:
    """Return a new random token; nothing but the result knows it."""
    token = f"featdsl_{secrets.token_urlsafe(32)}"
    lines = [f"[serving.tokens.{name}]", f"team = {json.dumps(team)}", f'sha256 = "{digest(token)}"']
    lines += [f"sets = {json.dumps(list(sets))}"] if sets else []
    return NewToken(token, "\n".join(lines))


def digest(token: str) -> str:
    """Return the SHA-256 of a token. A token has 256 random bits, so that a slow hash would add nothing."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
