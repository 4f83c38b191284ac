"""What a checkpoint was trained as: the spec beside it, so that no record says present code made older weights."""

from __future__ import annotations

from rsitr.cells import Layout, Spec, TrainReport, read_spec, write_json
from rsitr.errors import RsitrError
from rsitr.params import CellId


def forget_origin(cell: CellId) -> None:
    """Before training: until it has ended, nothing is known of the weights that come to lie there."""
    Layout.origin(cell).unlink(missing_ok=True)


def note_origin(spec: Spec) -> None:
    """After training, however it ended."""
    write_json(Layout.origin(spec.cell), spec)


def check_origin(spec: Spec, report: TrainReport, data_sha: str | None) -> None:
    """Before evaluation: raise ``RsitrError`` where code, parameters or data are not those of the training.

    ``report`` is of that training; ``data_sha`` is of the data as it lies here, None where it does not.
    """
    path = Layout.origin(spec.cell)
    if not path.is_file():
        raise RsitrError(
            f"{path} is missing, which says what {spec.path} was trained as: run `rsitr train {spec.path}` first"
        )
    begun = read_spec(path)
    changed = {
        "code": begun.code_sha != spec.code_sha,
        "parameters": begun.params_sha != spec.params_sha,
        # A training that failed before it read the data has no data hash to compare.
        "data": bool(data_sha and report.data_sha and report.data_sha != data_sha),
    }
    parts = [name for name, differs in changed.items() if differs]
    if parts:
        raise RsitrError(
            f"{spec.path} was trained with other {' and '.join(parts)} than the present: "
            f"run `rsitr train {spec.path}` first"
        )
