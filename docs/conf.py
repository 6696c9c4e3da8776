"""Settings of the documentation's site, which Sphinx builds from the Markdown in this folder: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

REPOSITORY = "https://github.com/your-company/featdsl/blob/main"
"""Where links lead to files outside of docs/, such as README.md: the address of the repository's files. Change it here alone."""

project = "featdsl"
extensions = ["myst_parser", "site_sources"]
html_theme = "furo"
html_title = "featdsl"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False  # the sources are in the repository
html_show_sphinx = False
html_show_copyright = False
html_last_updated_fmt = None  # the same sources give the same site
exclude_patterns = ["*.py", "static"]
smartquotes = False  # quotes in messages and SQL stay as they are
python_maximum_signature_line_length = 88
highlight_language = "none"  # blocks name their language
myst_heading_anchors = 4
myst_links_external_new_tab = False
