"""Files that keep the rows of a dataframe, each beside a digest: Parquet files that DuckDB writes have no checksums."""

from __future__ import annotations

from pathlib import Path

from featdsl.definitions import fingerprints


def digest_beside(path: Path) -> Path:
    """Return the file with the digest of a kept file."""
    return path.with_suffix(".sha256")


def is_whole(path: Path) -> bool:
    """Return whether a kept file holds the bytes that were written; files of older versions without a digest count as whole."""
    try:
        return digest_beside(path).read_bytes() == fingerprints.of_file(path).encode()
    except FileNotFoundError:
        return path.exists()
