"""Draw docs/pipeline.png, the picture of the pipeline in the README: `python docs/pipeline.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

OUT = Path(__file__).with_suffix(".png")
WIDTH, HEIGHT = 2.25, 1.12
COLUMNS, ROWS = (0.25, 3.4, 6.55, 9.7), (3.1, 0.75)
INK, ARROW = "#222222", "#444444"
# Light tints of Okabe and Ito's palette, which colour-blind readers can tell apart.
KEPT = {
    "elsewhere": "#ffffff",
    "fetched again when missing": "#e6e6e6",
    "kept by DVC": "#cfe8f7",
    "kept in git": "#fbe3c0",
}


class Box(NamedTuple):
    """One kind of file: where it stands in the picture, what it is called and what it holds."""

    column: int
    row: int
    kept: str
    title: str
    path: str
    content: str

    @property
    def left(self) -> float:
        """Left edge."""
        return COLUMNS[self.column]

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return ROWS[self.row]


RAW = Box(1, 0, "fetched again when missing", "raw archive", "data/raw/", "as published, SHA-256")
DATASET = Box(2, 0, "kept by DVC", "dataset.parquet", "data/canonical/", "one schema, fingerprints")
CLEAN = Box(3, 0, "kept by DVC", "clean.parquet", "data/canonical/", "groups, keep, reason")
ORIGIN = Box(0, 0, "elsewhere", "origin", "https, hf, gdrive", "or mirror, or generator")
SPEC = Box(0, 1, "kept in git", "spec of a cell", "params.yaml", "settings, code hash, seed")
CHECKPOINT = Box(1, 1, "kept by DVC", "checkpoint", "checkpoints/", "best epoch on val")
RECORD = Box(2, 1, "kept in git", "cell.json + ranks", "results/cells/", "recalls, rank per query")
TABLES = Box(3, 1, "kept in git", "tables", "results/tables/", "csv md tex html png")
BOXES = (ORIGIN, RAW, DATASET, CLEAN, SPEC, CHECKPOINT, RECORD, TABLES)


def main() -> None:
    """Write the picture."""
    figure = Figure(figsize=(12.2, 4.75), dpi=150, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 12.2), ylim=(0, 4.75))
    axes.axis("off")

    def write(x: float, y: float, text: str, **style: Any) -> None:
        default: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "fontsize": 11}
        axes.text(x, y, text, **default | style)

    def arrow(start: tuple[float, float], end: tuple[float, float]) -> None:
        style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 15, "color": ARROW, "linewidth": 1.6}
        axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=1, **style))

    def step(rule: str, source: Box, target: Box) -> None:
        middle = source.bottom + HEIGHT / 2
        arrow((source.left + WIDTH, middle), (target.left, middle))
        write((source.left + WIDTH + target.left) / 2, middle + 0.17, rule, style="italic")

    for box in BOXES:
        corner = (box.left, box.bottom)
        shape = "round,pad=0,rounding_size=0.08"
        axes.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, shape, facecolor=KEPT[box.kept], edgecolor=ARROW))
        centre = box.left + WIDTH / 2
        write(centre, box.bottom + 0.87, box.title, weight="bold", fontsize=12.5)
        write(centre, box.bottom + 0.55, box.path, family="monospace", fontsize=10)
        write(centre, box.bottom + 0.24, box.content)

    for rule, source, target in (
        ("fetch", ORIGIN, RAW),
        ("canonical", RAW, DATASET),
        ("clean", DATASET, CLEAN),
        ("train", SPEC, CHECKPOINT),
        ("evaluate", CHECKPOINT, RECORD),
        ("tables", RECORD, TABLES),
    ):
        step(rule, source, target)

    # Training and evaluation read the clean table: one line down from it, one arrow into each.
    gap, top = 2.5, ROWS[1] + HEIGHT
    first, second, last = (box.left + WIDTH / 2 for box in (CHECKPOINT, RECORD, CLEAN))
    axes.plot([last, last, first], [ROWS[0], gap, gap], color=ARROW, linewidth=1.6, solid_capstyle="butt")
    for place in (first, second):
        arrow((place, gap), (place, top))

    left = COLUMNS[0]
    write(left, 4.48, "Once a dataset: {dataset}", ha="left", weight="bold")
    write(left, 2.5, "Once a cell:\n{experiment}/{dataset}/{method}/{seed}", ha="left", weight="bold")
    write(last, 2.1, "Once an experiment", weight="bold")
    for number, (kept, colour) in enumerate(KEPT.items()):
        x = left + number * 3.0
        axes.add_patch(FancyBboxPatch((x, 0.2), 0.3, 0.2, "round,pad=0,rounding_size=0.03", fc=colour, ec=ARROW))
        write(x + 0.42, 0.3, kept, ha="left")
    # Without the library's version in it, the same picture is the same file.
    figure.savefig(OUT, metadata={"Software": None})


if __name__ == "__main__":
    main()
