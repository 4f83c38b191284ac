"""Every number the papers print, as data: ``published.csv`` read, checked and looked up.

A row of the file is a row of a paper's table: a column for each recall, and in ``other`` all else that it prints, as
``metric=value``. Recalls and shares are in percent; ``UNITS`` gives the unit of every other metric. Values stay as
printed, even where they contradict themselves: ``checks`` lists those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rsitr.errors import DatasetError, ParamsError
from rsitr.params.ids import NAME
from rsitr.records.cell import Published

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).with_name("published.csv")
RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")
METRICS = (*RECALLS, "mr")
"""The columns of every retrieval table; i2t finds captions for an image, mr is the mean of the six recalls."""

SETTING = ["paper", "table", "method", "variant", "backbone", "dataset", "train_data", "protocol", "task"]
COLUMNS = [*SETTING, *METRICS, "other", "note"]
PROTOCOLS = {"", "closed-domain", "open-domain", "ablation", "validation"}
TASKS = {"", "sentence", "keywords", "sentence+keywords"}
UNITS = {
    **dict.fromkeys(METRICS, "%"),
    **dict.fromkeys(("cosine_similarity_improvement_pct", "i2t_probability_pct", "inference_time_reduction_pct"), "%"),
    **dict.fromkeys(("captions", "captions_per_image", "classes", "images", "keywords", "words"), "count"),
    **dict.fromkeys(("avg_similarity", "diversity", "text_image_ratio"), ""),
    **dict.fromkeys(("eval_time_s", "inference_time_s"), "s"),
    **dict.fromkeys(("time_ms_i2t", "time_ms_t2i"), "ms"),
    **{"avg_sentence_length": "words", "image_size_px": "px", "params_m": "million"},
}
ROUNDING = 0.01
"""How far a printed mR may be from the mean of printed recalls: each of the two is rounded by at most 0.005."""


def typed(printed: pd.DataFrame) -> pd.DataFrame:
    """One row for each value of the file: the setting, ``note``, ``metric`` and ``value`` as float.

    The index is that of ``printed``, the file as text. Other columns, an unknown id or metric, a number that is out of
    range or stands there twice raise ``DatasetError`` with the lines.
    """
    import pandas as pd  # takes half a second, not needed just to name numbers

    if list(printed.columns) != COLUMNS:
        raise DatasetError(f"{FILE.name}: the columns must be {','.join(COLUMNS)}")
    row = [*SETTING, "note"]
    recalls = printed.melt(row, METRICS, var_name="metric", ignore_index=False)
    other = printed[row].join(
        printed["other"].str.extractall(r"(?P<metric>[^ =]+)=?(?P<value>\S*)").droplevel(1), how="right"
    )
    frame = pd.concat([recalls[recalls["value"].ne("")], other])
    frame["value"] = value = pd.to_numeric(frame["value"], errors="coerce")
    share = frame["metric"].map(UNITS).eq("%")
    faults = {
        "method is not a lower-case id": ~frame["method"].str.fullmatch(NAME),
        "dataset is not a lower-case id": ~frame["dataset"].str.fullmatch(rf"({NAME})?"),
        "protocol is unknown": ~frame["protocol"].isin(PROTOCOLS),
        "task is unknown": ~frame["task"].isin(TASKS),
        "metric is unknown: add it to UNITS with its unit": ~frame["metric"].isin(list(UNITS)),
        "value is not a number from 0, or up to 100 for a share": ~(value.ge(0) & (value.le(100) | ~share)),
        "the same number twice": frame.duplicated([*SETTING, "metric"], keep=False),
    }
    # Line 1 of the file is the header, so row 0 is line 2.
    lines = [
        f"  {fault}: line {', '.join(str(line + 2) for line in frame.index[wrong].unique()[:5])}"
        for fault, wrong in faults.items()
        if wrong.any()
    ]
    if lines:
        raise DatasetError(f"{FILE.name} must be repaired:\n" + "\n".join(lines))
    return frame.sort_index(kind="stable")


@cache
def load() -> pd.DataFrame:
    """All published numbers, as ``typed`` gives them; empty text where the paper states nothing. Not to be changed."""
    import pandas as pd

    return typed(pd.read_csv(FILE, dtype=str, keep_default_na=False))


def checks() -> pd.DataFrame:
    """The printed mean recalls that differ from their own six recalls by more than rounding, in percent.

    Columns: the setting, ``printed``, ``recomputed`` and ``difference`` (printed minus recomputed). Not to be changed.
    """
    import pandas as pd

    frame = load()
    wide = frame[frame["metric"].isin(METRICS)].pivot(index=SETTING, columns="metric", values="value")
    result = pd.DataFrame({"printed": wide["mr"], "recomputed": wide[list(RECALLS)].mean(axis=1)})
    result["difference"] = result["printed"] - result["recomputed"]
    # Binary fractions may put an exact 0.01 on either side of the limit.
    return result[result["difference"].abs() > ROUNDING + 1e-9].reset_index()


@cache
def _of_metrics(metrics: tuple[str, ...]) -> pd.DataFrame:
    """The rows of these metrics."""
    frame = load()
    return frame[frame["metric"].isin(metrics)]


def _of(key: Published, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``frame`` that a key fits."""
    for field, value in key.model_dump().items():
        frame = frame[frame[field].eq(value)] if value else frame
    return frame


def places(key: Published, dataset: str, metrics: Sequence[str]) -> list[tuple[int, str]]:
    """The values that a key fits on a dataset: place of the row in the file, from 0, and metric."""
    rows = _of(key, load())
    rows = rows[rows["dataset"].eq(dataset) & rows["metric"].isin(list(metrics))]
    return list(zip(rows.index, rows["metric"], strict=True))


@cache
def lookup(key: Published, dataset: str, metrics: tuple[str, ...] = METRICS) -> Mapping[str, float]:
    """What a paper prints for ``key`` on ``dataset``: recalls and mR in percent, unless other metrics are requested.

    An empty variant or backbone of the key means "not stated" and fits any; an empty dataset is for numbers that the
    paper states for all of them. The result is empty if the paper has the row but not on this dataset. A key that fits
    nothing, or several rows, raises ``ParamsError``.
    """
    rows = _of(key, _of_metrics(metrics))
    if rows.empty:
        what = "recalls" if metrics is METRICS else " or ".join(metrics)
        raise ParamsError(f"{FILE.name} has no {what} for {describe(key)}: correct the published key")
    rows = rows[rows["dataset"].eq(dataset)]
    settings = rows[SETTING].drop_duplicates()
    if len(settings) > 1:
        fits = "\n".join(
            f"  variant={row.variant!r} backbone={row.backbone!r} trained on {row.train_data!r}"
            for row in settings.itertuples()
        )
        raise ParamsError(
            f"{describe(key)} fits {len(settings)} published rows on {dataset}; "
            f"state variant and backbone in the published key:\n{fits}"
        )
    return MappingProxyType(dict(zip(rows["metric"], rows["value"], strict=True)))


@cache
def _checked() -> pd.DataFrame:
    """The checks of the file, made once."""
    return checks()


@cache
def discrepancy(key: Published, dataset: str) -> str:
    """What is wrong with the printed mR of a row, in words; empty if it agrees with its recalls."""
    rows = _of(key, _checked())
    rows = rows[rows["dataset"].eq(dataset)]
    return "; ".join(
        f"printed mR {row.printed:.2f}, its six recalls give {row.recomputed:.2f}" for row in rows.itertuples()
    )


def describe(key: Published) -> str:
    """A key in words: ``pir2024 table1, vse (loss=TL, ResNet-50 / GRU)``."""
    detail = ", ".join(filter(None, (key.variant, key.backbone)))
    return f"{key.paper} {key.table}, {key.method}" + (f" ({detail})" if detail else "")
