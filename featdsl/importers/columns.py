"""Turn the columns of a relation into features."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from featdsl.definitions.names import quote
from featdsl.importers.declarations import ImportedFeature, ImportNote
from featdsl.importers.names import RESERVED, literal_sql, valid_name


@dataclass(frozen=True)
class About:
    """What is known of a column beside its name and type."""

    description: str = ""
    tags: tuple[str, ...] = ()


def features(
    columns: Mapping[str, str], skipped: Collection[str], about: Mapping[str, About], keys: Collection[str]
) -> dict[str, ImportedFeature]:
    """Return a feature for each column that is not skipped, by column. `keys` are names that features may not have.

    `about` is by column in lower case.
    """
    found: dict[str, ImportedFeature] = {}
    used = [column for column in columns if column not in skipped]
    valid = {column for column in used if valid_name(column) == column}  # these keep their names
    taken = {*RESERVED, *keys}
    for column in used:
        name = valid_name(column, taken=taken | (valid - {column}))
        taken.add(name)
        known = about.get(column.lower(), About())
        sql = "" if name == column else literal_sql(quote(column))
        found[column] = ImportedFeature(
            name=name, dtype=columns[column], sql=sql, description=known.description, tags=known.tags
        )  # fmt: skip
    return found


def notes(group: str, found: Mapping[str, ImportedFeature]) -> Iterator[ImportNote]:
    """Yield a note for each feature that has another name than its column."""
    for column, feature in found.items():
        if feature.name != column:
            yield ImportNote(f"{group}.{feature.name}", f"The column is named {column!r}.")
