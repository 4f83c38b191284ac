"""Every error a user can meet. The message says what is wrong and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType


class RsitrError(Exception):
    """Base of all errors caused by an input, not by this program."""


class ParamsError(RsitrError):
    """params.yaml names something unknown or gives a value of the wrong type."""


class SourceUnavailable(RsitrError):
    """No source of a file could be reached; the message lists each and where to put a copy."""


class ChecksumMismatch(RsitrError):
    """A file arrived complete but is not the requested file."""


class CorruptArchive(RsitrError):
    """An archive or image cannot be read."""


class UnreadableImage(CorruptArchive):
    """An image cannot be decoded, or not as requested; the message says why."""


class UnsafeArchive(RsitrError):
    """An archive member would land outside the folder it is extracted into."""


class DiskFull(RsitrError):
    """The disk has no room for a download or an extraction; what has arrived so far is kept."""


class MissingTool(RsitrError):
    """A program outside Python is needed but not installed; the message names the packages that provide it."""


DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "faiss": "faiss-cpu",
    "open_clip": "open-clip-torch",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
}
"""Modules -> the packages that they come in, where these are called otherwise."""


class MissingExtra(RsitrError, ModuleNotFoundError):
    """A package that belongs to an extra of ours is needed but not installed; the message names the extra."""

    def __init__(self, package: str, extras: Sequence[str], who: str):
        self.package, self.extras = package, extras
        super().__init__(self.said_of(who))

    def said_of(self, who: str, preferred: str = "") -> str:
        """The message, with the extra that is preferred, or that ``who`` is called like, where that has the package."""
        extra = next((extra for extra in (preferred, *who.split()) if extra in self.extras), self.extras[0])
        return f"{who} needs {self.package}: pip install 'rsitr[{extra}]'"


class ExtrasFinder:
    """The last of ``sys.meta_path``: it finds nothing, and raises where code of ours asks for a package of an extra.

    So the message is the same wherever the import is, and no module has to know in which extra its libraries are. Who
    else tries an import is left alone: other libraries look for packages that they can do without.
    """

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None; raises ``MissingExtra``."""
        who = cls._importer()
        package = DISTRIBUTIONS.get(name, name).replace("_", "-").lower()
        if path is None and who.partition(".")[0] == "rsitr" and (extras := cls.extras(package)):
            raise MissingExtra(package, extras, who)
        return None

    @staticmethod
    def _importer() -> str:
        """The module that the import is in; where a package is only looked for, that is ``importlib.util``."""
        frame: FrameType | None = sys._getframe(2)
        while frame and frame.f_globals.get("__name__") in ("importlib", "importlib._bootstrap"):
            frame = frame.f_back
        return frame.f_globals.get("__name__", "") if frame else ""

    @classmethod
    def extras(cls, package: str) -> list[str]:
        """The extras of this package that name another one, small ones first."""
        packages = cls._packages()
        return sorted(
            (extra for extra in packages if package in packages[extra]), key=lambda extra: len(packages[extra])
        )

    @staticmethod
    @cache
    def _packages() -> dict[str, set[str]]:
        """Extra -> packages, as installed."""
        from importlib.metadata import metadata, requires

        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        stated = [(canonicalize_name(each.name), each.marker) for each in map(Requirement, requires("rsitr") or ())]
        return {
            extra: {name for name, marker in stated if marker and marker.evaluate({"extra": extra})}
            for extra in metadata("rsitr").get_all("Provides-Extra") or ()
        }


class DatasetError(RsitrError):
    """The content of a dataset breaks its own format: duplicate ids, no captions, unknown split."""


class Damaged(DatasetError):
    """A file that this project wrote is no longer what was written. Commands set it aside."""

    def __init__(self, path: Path, what: str):
        super().__init__(f"{path} is damaged ({what})")
        self.path, self.what = path, what


class WeightsUnavailable(RsitrError):
    """Pretrained weights are unavailable here; the cell is skipped, not failed."""


class WeightsMismatch(RsitrError):
    """A weights file belongs to another architecture."""


class UnsafeWeights(RsitrError):
    """A weights file asks to run code, so it is not opened."""


class TrainingDiverged(RsitrError):
    """The loss became NaN or infinite, or the embeddings collapsed to a point."""


class ProcessFailed(RsitrError):
    """Another process of the same training has failed or does not answer any more."""


class RecordError(RsitrError):
    """A spec, report or record is damaged or of another version."""


class StaleRecord(RsitrError):
    """A record was made by code, data or parameters other than the present ones."""


class Unsupported(RsitrError):
    """A method cannot run on a dataset, for a stated reason; the cell is skipped, not failed."""


class SceneError(RsitrError):
    """A scene cannot be read, or nothing can be located in it as requested."""


class QueryError(RsitrError):
    """A query that a method cannot answer."""
