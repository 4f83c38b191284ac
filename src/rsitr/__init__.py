"""rsitr: the reproducible benchmark of remote sensing image-text retrieval."""

from importlib.metadata import version

__version__ = version(__name__)
