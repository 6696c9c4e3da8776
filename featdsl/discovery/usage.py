"""How code uses an applied definition: the import line, and snippets that train and serve."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UsageSnippets:
    """Python code for a feature or a set version; each text can be copied as it is.

    `import_line` imports the declaration, or is empty where the code is not importable (ad hoc features, other projects that
    were not pulled); then `hint` says how to get it.
    """

    import_line: str
    expression: str
    training: str
    serving: str
    hint: str = ""
