"""The present that a record is held against: the data, the teacher and the prior of a cell as they lie here now."""

from __future__ import annotations

from rsitr.cells import Layout, Spec, current_weights_sha, read_record
from rsitr.scenes.use import current_prior_sha


def current_data_sha(spec: Spec) -> str | None:
    """Hash of the data as it lies here, or None where it has not been built."""
    from rsitr.datasets.table import read_facts  # pyarrow, which the Snakefile need not wait for without data

    return read_facts(spec.clean).data_sha if spec.clean.is_file() else None


def current_teacher_sha(spec: Spec) -> str | None:
    """Hash of the weights of a cell's teacher as they lie here, or as its record has them; None where neither says."""
    return current_weights_sha(spec.teacher.cell) if spec.teacher else None


def stale_parts(spec: Spec) -> list[str]:
    """What the record of a cell no longer agrees with: code, parameters, data, teacher, prior; empty without one."""
    record = read_record(Layout.cell(spec.cell) / "cell.json")
    if record is None:
        return []
    return record.stale(spec, current_data_sha(spec), current_teacher_sha(spec), current_prior_sha(spec))
