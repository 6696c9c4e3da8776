"""Find Chromium for the tests, or install it: `python -m tests.browser.chromium` prints its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""How tests start it: also in a container, and without any request of its own."""
NOT_FOUND = (
    "Chromium is not found, and cannot be installed here. Install it, or set CHROMIUM to the path of its program."
)


def find() -> str | None:
    """Return the program that CHROMIUM names, or else one on the path, or else that of Playwright; None without any."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    on_path = (shutil.which(name) for name in NAMES)
    return next((found for found in on_path if found), None) or _of_playwright()


def _of_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        program = playwright.chromium.executable_path
    return program if Path(program).exists() else None


def install() -> str | None:
    """Install Chromium, by apt-get as root, else by Playwright; return its path, None if that fails."""
    by_apt = ("apt-get", "install", "--yes", "--no-install-recommends", "chromium")
    by_playwright = (sys.executable, "-m", "playwright", "install", "chromium")
    if os.name == "posix" and os.geteuid() == 0 and shutil.which("apt-get"):
        commands: list[tuple[str, ...]] = [("apt-get", "update"), by_apt, by_playwright]
    else:
        commands = [by_playwright]
    for command in commands:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        if done.returncode == 0 and (found := find()):
            return found
    return None


def main() -> int:
    """Print the path of Chromium, installed if need be."""
    if os.environ.get("CHROMIUM") and not find():
        sys.stderr.write(f"CHROMIUM is {os.environ['CHROMIUM']}, which is no program.\n")
        return 1
    found = find() or install()
    (sys.stdout if found else sys.stderr).write(f"{found or NOT_FOUND}\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
