"""File names for addresses: unique and valid on every file system, also where case does not count."""

from __future__ import annotations

import hashlib
import re

FOLDERS = {
    "feature": "features",
    "group": "groups",
    "set": "sets",
    "model": "models",
    "source": "sources",
    "entity": "entities",
    "team": "teams",
}
"""The folder of each kind's pages."""
_PLAIN = re.compile(r"[a-z0-9_][a-z0-9_.@-]*")
_ODD = re.compile(r"[^a-z0-9_.@-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
"""Names that Windows keeps for devices, with any ending."""
_LONGEST = 120


def page_path(kind: str, address: str) -> str:
    """Return the path of a definition's page in the site: `features/user_profile.age.html`."""
    return f"{FOLDERS[kind]}/{file_name(address)}.html"


def file_name(address: str) -> str:
    """Return the address if every file system keeps it apart from all others, else a readable part of it with a hash.

    A plain name has no `~`, so it equals no name with a hash.
    """
    is_plain = _PLAIN.fullmatch(address) and not _RESERVED.fullmatch(address) and len(address) <= _LONGEST
    if is_plain:
        return address
    readable = _ODD.sub("-", address.lower()).strip(".-")[:60] or "page"
    free = f"_{readable}" if _RESERVED.fullmatch(readable) else readable
    return f"{free}~{hashlib.sha256(address.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
