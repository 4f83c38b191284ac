"""``rsitr dedup``: near-duplicate images, and training sets without them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rsitr.cli.common import Commands, left_out
from rsitr.params.ids import Dedup
from rsitr.records.paths import Paths

dedup = Commands(
    help="Find near-duplicate images inside and between datasets.",
    no_args_is_help=True,
    project="optional",
    extra="data",
)
SecondArgument = Annotated[str | None, typer.Argument(help="Default: the first one, for those inside it.")]


@dedup.command("thumbnails")
def dedup_thumbnails(dataset: str) -> None:
    """Decode every image of a dataset once, to the small size at which images are compared."""
    from rsitr.dedup.thumbnails import write_thumbnails

    out = Paths.thumbnails(dataset)
    print(f"{out}: {left_out(write_thumbnails(Paths.dataset(dataset), out))}")


@dedup.command("pairs")
def dedup_near_duplicates(
    first: str,
    second: SecondArgument = None,
    shard: Annotated[str | None, typer.Option(help="A part of the work, as 0/8 for the first of eight.")] = None,
) -> None:
    """Find the pairs of images of which one is a crop of the other, whatever its orientation, size and colours."""
    from rsitr.dedup.near_duplicates import WHOLE, parse_shard, write_near_duplicates

    one, other = sorted((first, second or first))
    part = parse_shard(shard) if shard else WHOLE
    whole = Paths.near_duplicates(one, other)
    out = Paths.near_duplicates_shard(one, other, part.index, part.count) if shard else whole
    pairs = write_near_duplicates(Paths.thumbnails(one), Paths.thumbnails(other), out, part)
    print(f"{out}: {pairs} pairs")


@dedup.command("gather")
def dedup_gather(first: str, second: str, shards: int) -> None:
    """Put the shards of a comparison together."""
    from rsitr.dedup.pairs import gather_files

    parts = [Paths.near_duplicates_shard(first, second, shard, shards) for shard in range(shards)]
    pairs = gather_files(parts, Paths.near_duplicates(first, second))
    print(f"{Paths.near_duplicates(first, second)}: {pairs} pairs")


@dedup.command("joint")
def dedup_joint(
    protocol: str, rule: Annotated[Dedup, typer.Option(help="What near duplicates are.")] = "copies"
) -> None:
    """Build the training set of a joint split protocol, ret-2 or ret-3, without any member's test images."""
    from rsitr.dedup.joint import build_joint

    facts, reasons = build_joint(protocol, rule)
    absent = f", no images at hand of {', '.join(facts.absent)}" if facts.absent else ""
    print(f"{Paths.joint(protocol, rule)}: data {facts.data_sha[:12]}, images: {left_out(reasons)}{absent}")


@dedup.command("show")
def dedup_show(
    first: str,
    second: SecondArgument = None,
    out: Annotated[Path, typer.Option(help="A PNG file.")] = Path("near-duplicates.png"),
    pair: Annotated[tuple[str, str] | None, typer.Option(help="The image ids of one pair; default: all.")] = None,
    weakest: Annotated[bool, typer.Option("--weakest", help="Begin with those that agree least.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most pairs to draw.")] = 40,
) -> None:
    """Draw pairs of near duplicates side by side, for a person to judge."""
    from rsitr.dedup.pairs import read_near_duplicates
    from rsitr.figures.near_duplicates import Pairs, draw_pairs, find_pair

    one, other = sorted((first, second or first))
    rows, _ = read_near_duplicates(Paths.near_duplicates(one, other))
    rows = find_pair(rows, *pair) if pair else rows.sort_values("detail", ascending=weakest)
    drawn = draw_pairs([Pairs(rows, Paths.dataset(one), Paths.dataset(other))], out, limit=limit)
    print(f"{out}: {drawn} of {len(rows)} pairs")


@dedup.command("group")
def dedup_group(
    dataset: str, image_id: str, out: Annotated[Path, typer.Option(help="A PNG file.")] = Path("group.png")
) -> None:
    """Draw an image and all its near duplicates, in whatever datasets they were found, and which one is kept."""
    from rsitr.dedup.groups import near_duplicates
    from rsitr.figures.near_duplicates import draw_group

    tables, members = near_duplicates((dataset, image_id))
    drawn = draw_group(members, tables, members[:1], out)
    print(f"{out}: {drawn} of {len(members)} images, {'/'.join(members[0])} is kept")
