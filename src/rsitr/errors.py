"""Every error a user can meet. The message says what is wrong and what to do about it."""

from pathlib import Path


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
