"""rsitr: the reproducible benchmark of remote sensing image-text retrieval."""

import sys
from importlib.metadata import version

from rsitr.errors import ExtrasFinder

__version__ = version(__name__)

sys.meta_path.append(ExtrasFinder)
