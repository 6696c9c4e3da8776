"""Read the archives that jobs leave behind. A stranger's code may have made them, so nothing is unpacked to a disk."""

from __future__ import annotations

import io
import zipfile

from featdsl.errors import Problem, ProviderError

_MOST_BYTES = 64 * 1024 * 1024
"""The longest file that is read."""
_MOST_FILES = 100


def plan_name(project: str) -> str:
    """Return the name of the artifact, and of the job, that has the plan of a pull request."""
    return f"featdsl-plan-{project}"


def registry_name(project: str) -> str:
    """Return the name of the artifact, and of the job, that has the export of the registry."""
    return f"featdsl-registry-{project}"


def unzipped(archive: bytes, name: str) -> dict[str, str]:
    """Return the texts in an archive by file name, without folders. Raises ProviderError if it is damaged or too large."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = [each for each in opened.infolist() if not each.is_dir()][:_MOST_FILES]
            return {each.filename.rpartition("/")[2]: _text(opened, each) for each in entries}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        what = f"The artifact {name} cannot be read: {error}."
        raise ProviderError(Problem("Artifact is damaged", what, fix="Run the job that made it again.")) from None


def _text(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    with opened.open(entry) as file:
        found = file.read(_MOST_BYTES + 1)
    if len(found) > _MOST_BYTES:
        raise ValueError(f"{entry.filename} is larger than 64 MiB")
    return found.decode()
