"""Pictures of near duplicates for people to judge: pairs with the box in which they agree, and whole groups.

All images are drawn square, which is how they were compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont, ImageOps

from rsitr.datasets.images import load_stored
from rsitr.datasets.table import read_table
from rsitr.datasets.tars import file_of
from rsitr.dedup.fingerprints import turn
from rsitr.dedup.groups import Image as Member
from rsitr.dedup.pairs import ORIENTATIONS, OVERHANG
from rsitr.errors import CorruptArchive, DatasetError
from rsitr.records.files import replacing

TILE, GAP, MARGIN, FRAME = 180, 6, 20, 5
"""Pixels: side of an image, between the images of a panel, around a panel, and width of the frame of a kept image."""
LETTERS, LINE = 13, 18
"""Pixels: height of letters and distance between lines."""
PAIRS_ACROSS, MEMBERS_ACROSS = 3, 6
"""Panels side by side before the next line of panels starts."""

# Okabe and Ito's palette, which colour-blind readers can tell apart.
INK, PAPER, ABSENT, KEPT, BOX = "black", "white", "#cccccc", "#0072b2", "#f0e442"


class _Shown(NamedTuple):
    """An image as its table describes it."""

    dataset: str
    image_id: str
    split: str
    path: Path

    def __str__(self) -> str:
        return f"{self.dataset}/{self.image_id} ({self.split})"


def find_pair(frame: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """The row of the pair of images ``a`` and ``b`` in a table of near duplicates, as a frame of one row.

    ``a`` is taken as the first image or, if there is no such pair, as the second. Raises ``DatasetError`` if there is
    none either way.
    """
    for first, second in ((a, b), (b, a)):
        found = frame[(frame["first"] == first) & (frame["second"] == second)]
        if len(found):
            return found.head(1)
    raise DatasetError(f"{a} and {b} are not a pair of near duplicates: choose two image ids from one row of the table")


class Pairs(NamedTuple):
    """Pairs of near duplicates to draw."""

    rows: pd.DataFrame
    """Of ``rsitr.dedup.pairs.SCHEMA``."""
    first: Path
    second: Path
    """The canonical tables of their datasets."""


def draw_pairs(pairs: Sequence[Pairs], out: Path, *, limit: int = 40, title: str = "") -> int:
    """Write a contact sheet of pairs of near duplicates as PNG, at most ``limit`` of each two datasets; returns how
    many were drawn.

    A panel shows the original with the box of the part, what is in the box, and the part, turned: the last two should
    look alike. An unreadable image is a grey tile. Raises ``DatasetError`` if there are no pairs or a table lacks one
    of the images.
    """
    panels = []
    for rows, first, second in pairs:
        chosen = rows.head(limit)
        here, there = _look_up(first, chosen["first"]), _look_up(second, chosen["second"])
        panels += [
            _pair_panel(pair, {"first": here[pair["first"]], "second": there[pair["second"]]})
            for pair in chosen.to_dict("records")
        ]
    if not panels:
        nothing = "the table of near duplicates is empty, or nothing in it matches the request"
        raise DatasetError(f"no pairs to draw: {nothing}")
    _write_sheet(panels, PAIRS_ACROSS, out, title, sum(len(part.rows) for part in pairs) - len(panels))
    return len(panels)


def draw_notice(text: str, out: Path) -> None:
    """Write a PNG that says why there is nothing to see."""
    sheet = Image.new("RGB", (4 * TILE, 2 * LINE + MARGIN), PAPER)
    _write(sheet, MARGIN, MARGIN, [text])
    with replacing(out) as partial:
        sheet.save(partial, format="PNG")


def draw_group(
    images: Sequence[Member], tables: Mapping[str, Path], kept: Collection[Member], out: Path, *, limit: int = 60
) -> int:
    """Write the members of a group of near duplicates side by side as PNG; returns the number of images drawn.

    ``images`` and ``kept`` are (dataset, image id), of which the first ``limit`` are drawn and the kept ones are
    framed; ``tables`` are the canonical tables by dataset. An unreadable image is a grey tile. Raises ``DatasetError``
    if there are no images, a dataset has no table, or a table lacks one of the images.
    """
    if not images:
        raise DatasetError("no images to draw: the group is empty")
    chosen = images[:limit]
    found = {}
    for name in dict.fromkeys(dataset for dataset, _ in chosen):
        if name not in tables:
            raise DatasetError(f"no table of {name}: known are {', '.join(tables) or 'none'}")
        rows = _look_up(tables[name], (image_id for dataset, image_id in chosen if dataset == name))
        found.update({(name, image_id): shown for image_id, shown in rows.items()})
    panels = [_member_panel(found[member], member in kept) for member in chosen]
    _write_sheet(panels, MEMBERS_ACROSS, out, "", len(images) - len(chosen))
    return len(chosen)


def _look_up(table: Path, image_ids: Iterable[str]) -> dict[str, _Shown]:
    wanted = sorted(set(image_ids))
    rows, facts = read_table(table)
    rows = rows.filter(pc.is_in(rows["image_id"], pa.array(wanted, pa.string())))
    found = {
        row["image_id"]: _Shown(facts.name, row["image_id"], row["split"], Path(facts.root, row["path"]))
        for row in rows.select(["image_id", "split", "path"]).to_pylist()
    }
    unknown = [image_id for image_id in wanted if image_id not in found]
    if unknown:
        some = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise DatasetError(f"{facts.name} has no image {some}: look for the id in the column image_id of {table}")
    return found


def _pair_panel(pair: dict[Any, Any], images: Mapping[str, _Shown]) -> Image.Image:
    part = images[pair["part"]]
    original = images["second" if pair["part"] == "first" else "first"]
    whole, seen = _picture(original.path), _picture(part.path)
    left, middle = _box_in(whole, pair) if whole else (_absent(original.path), _absent(original.path))
    right = _turned(seen, pair["orientation"]) if seen else _absent(part.path)
    lines = [
        f"original: {original}",
        f"part: {part}",
        f"{pair['orientation']}, detail {pair['detail']:.2f}, agreement {pair['agreement']:.2f}",
    ]
    return _panel([left, middle, right], lines)


def _member_panel(shown: _Shown, kept: bool) -> Image.Image:
    picture = _picture(shown.path)
    tile = _tile(picture) if picture else _absent(shown.path)
    framed = ImageOps.expand(tile, FRAME, KEPT if kept else PAPER)
    return _panel([framed], [f"{shown.dataset} ({shown.split})", shown.image_id, "kept" if kept else ""])


def _picture(path: Path) -> Image.Image | None:
    with suppress(CorruptArchive):
        return load_stored(path)
    return None


def _absent(path: Path) -> Image.Image:
    """The tile of an image that could not be read."""
    tile = Image.new("RGB", (TILE, TILE), ABSENT)
    why = "unreadable image" if file_of(path).is_file() else "missing image"
    _write(tile, 2 * GAP, TILE // 2 - LINE, [why, path.name])
    return tile


def _tile(image: Image.Image, box: tuple[float, float, float, float] | None = None) -> Image.Image:
    return image.resize((TILE, TILE), Image.Resampling.BICUBIC, box)


def _turned(part: Image.Image, orientation: str) -> Image.Image:
    pixels = turn(np.asarray(part), ORIENTATIONS.index(orientation))
    return _tile(Image.fromarray(np.ascontiguousarray(pixels)))


def _box_in(whole: Image.Image, pair: dict[Any, Any]) -> tuple[Image.Image, Image.Image]:
    """The original with the box drawn on it, and what is in the box."""
    # The box may extend beyond the image, where there is nothing to see.
    beyond = [ceil(OVERHANG * side) + 1 for side in whole.size]
    padded = ImageOps.expand(whole, (beyond[0], beyond[1]), PAPER)
    left, top = beyond[0] + pair["left"] * whole.width, beyond[1] + pair["top"] * whole.height
    right, bottom = left + pair["width"] * whole.width, top + pair["height"] * whole.height
    marked, scale = _tile(padded), (TILE / padded.width, TILE / padded.height)
    sides = [round(side) for side in (left * scale[0], top * scale[1], right * scale[0], bottom * scale[1])]
    pen = ImageDraw.Draw(marked)
    # Dark next to bright, so that one of them is visible on any ground.
    pen.rectangle(sides, outline=INK, width=4)
    pen.rectangle([side + shift for side, shift in zip(sides, (1, 1, -1, -1), strict=True)], outline=BOX, width=2)
    return marked, _tile(padded, (left, top, right, bottom))


def _panel(tiles: Sequence[Image.Image], lines: Sequence[str]) -> Image.Image:
    width, height = sum(tile.width + GAP for tile in tiles) - GAP, tiles[0].height
    panel = Image.new("RGB", (width, height + GAP + LINE * len(lines)), PAPER)
    for place, tile in enumerate(tiles):
        panel.paste(tile, (place * (tile.width + GAP), 0))
    _write(panel, 0, height + GAP, lines)
    return panel


def _write_sheet(panels: Sequence[Image.Image], across: int, out: Path, title: str, left_out: int) -> None:
    """Write panels of one size, in lines from the left, as PNG."""
    across = min(across, len(panels))
    step = panels[0].width + MARGIN, panels[0].height + MARGIN
    top, bottom = MARGIN + LINE * bool(title), LINE * bool(left_out)
    size = MARGIN + step[0] * across, top + step[1] * -(-len(panels) // across) + bottom
    sheet = Image.new("RGB", size, PAPER)
    for number, panel in enumerate(panels):
        down, right = divmod(number, across)
        sheet.paste(panel, (MARGIN + right * step[0], top + down * step[1]))
    _write(sheet, MARGIN, MARGIN // 2, [title])
    if left_out:
        _write(sheet, MARGIN, sheet.height - MARGIN // 2 - LINE, [f"... and {left_out} more"])
    with replacing(out) as partial:
        sheet.save(partial, format="PNG")


def _write(image: Image.Image, left: int, top: int, lines: Sequence[str]) -> None:
    font = ImageFont.load_default(LETTERS)
    pen = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        pen.text((left, top + LINE * place), _fitted(line, image.width - 2 * left, font), INK, font)


def _fitted(line: str, width: int, font: Any) -> str:
    """The line, with its middle cut out as needed to fit: file names differ at their ends."""
    short = line
    for kept in range(len(line) - 1, 0, -1):
        if font.getlength(short) <= width:
            break
        short = f"{line[: -(-kept // 2)]}…{line[len(line) - kept // 2 :]}"
    return short
