"""Write the site of a catalogue into a folder: pages that changed alone, each whole, and no page of what is gone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from featdsl.discovery.catalogue_entries import CatalogueDocument
from featdsl.render import sizes
from featdsl.render.phrases import counted
from featdsl.site import folder
from featdsl.site.contents import SiteReports, site_files
from featdsl.site.files import DataScript, SitePage
from featdsl.site.folder import SiteFile
from featdsl.site.rendering import Renderer

_ASSET_FOLDERS = ("assets", "vendor")
NO_REPORTS = SiteReports()
"""A site of the catalogue alone."""


@dataclass(frozen=True, kw_only=True)
class SiteResult:
    """What a build did: the number of pages, of written files and of deleted files, the bytes of the site, and the seconds."""

    out: str
    pages: int
    written: int
    deleted: int
    bytes: int
    seconds: float

    def text(self) -> str:
        """Return what `featdsl docs build` prints."""
        index = Path(self.out) / "index.html"
        done = f"{counted(self.pages, 'page')}, {sizes.size(self.bytes)}; {counted(self.written, 'file')} written"
        gone = f", {counted(self.deleted, 'file')} deleted" if self.deleted else ""
        return f"Catalogue: {done}{gone}, {self.seconds:.1f} s.\nOpen {index} in a browser.\n"


def write_site(document: CatalogueDocument, out: Path, reports: SiteReports = NO_REPORTS) -> SiteResult:
    """Write the site of a catalogue, and of reports on it, into a folder that has no files but those of an earlier build.

    Raises SiteFolderError if it has, or cannot be written.
    """
    begun = time.perf_counter()
    earlier = folder.earlier_build(out)
    with folder.told(out):
        build = _Build(out, earlier)
        build.run(document, reports)
    return SiteResult(
        out=str(out),
        pages=build.pages,
        written=build.written,
        deleted=build.deleted,
        bytes=build.bytes,
        seconds=round(time.perf_counter() - begun, 2),
    )


class _Build:
    """One build: what it has written so far."""

    def __init__(self, out: Path, earlier: folder.EarlierBuild) -> None:
        self._out, self._earlier = out, earlier
        self._files: dict[str, SiteFile] = {}
        self.pages = self.written = self.deleted = self.bytes = 0

    def run(self, document: CatalogueDocument, reports: SiteReports) -> None:
        """Write all files, delete what is gone, and then list the files."""
        assets = _assets()
        renderer = Renderer(assets, sections=reports.sections)
        files = list(site_files(document, reports))
        paths = {*assets, *(each.path for each in files)}
        folder.write_manifest(self._out, self._earlier.files, self._earlier.paths | paths)
        for path, content in assets.items():
            self._keep_or_write(path, content)
        for each in files:
            if isinstance(each, DataScript):
                self._keep_or_write(each.path, each.text.encode())
            else:
                self._page(each, renderer)
        for path in sorted(self._earlier.paths - paths):
            folder.delete(self._out, path)
            self.deleted += 1
        folder.write_manifest(self._out, self._files, ())

    def _page(self, page: SitePage, renderer: Renderer) -> None:
        self.pages += 1
        source = renderer.source_digest(page)
        before = self._earlier.files.get(page.path)
        if before and before.source == source:
            self._keep(page.path, before)
        else:
            self._keep_or_write(page.path, renderer.render(page), source)

    def _keep_or_write(self, path: str, content: bytes, source: str = "") -> None:
        """Write a file, unless the folder has it already."""
        file = SiteFile(content=folder.digest_of(content), source=source)
        before = self._earlier.files.get(path)
        if before and before.content == file.content:
            self._keep(path, file)
            return
        folder.write_file(self._out / path, content)
        self._files[path] = file
        self.bytes += len(content)
        self.written += 1

    def _keep(self, path: str, file: SiteFile) -> None:
        self._files[path] = file
        self.bytes += (self._out / path).stat().st_size


def _assets() -> dict[str, bytes]:
    """Return the files that all pages share, by path in the site."""
    package = resources.files("featdsl.site")
    return {path: file.read_bytes() for name in _ASSET_FOLDERS for path, file in _below(package / name, name)}


def _below(place: Traversable, path: str) -> list[tuple[str, Traversable]]:
    if place.is_file():
        return [(path, place)]
    return [
        found
        for each in sorted(place.iterdir(), key=lambda each: each.name)
        for found in _below(each, f"{path}/{each.name}")
    ]
