"""The documentation site, of the pages that are read on the repository's own page too: ``make docs``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from generated import API

from rsitr import __version__

project = "rsitr"
release = version = __version__
copyright = "the authors of rsitr"
extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]

# The sources are the whole repository, so that links between documents, results and code are the same as in it.
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**.md", "results/tables/[lp]*/*.md"]
include_patterns += ["src/**/README.md"]
exclude_patterns = [".*", "cache", "checkpoints", "data", "docs/_*", "results/site", "tests"]

myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Types of other projects, whose documentation would have to be downloaded, and of modules that are not public.
PUBLIC = "|".join(map(re.escape, API))
nitpick_ignore_regex = [(r"py:.*", rf"(?!({PUBLIC})\.\w+$).*"), (r"py:.*", r".*\.[A-Z]")]

# Two public modules have a class of the same name.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "rsitr"
html_show_sourcelink = False
