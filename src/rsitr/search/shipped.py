"""The model that ``rsitr search`` has without a download: a checkpoint of ``vse`` on RSICD in half precision.

``python -m rsitr.search.shipped CHECKPOINT`` makes it from a cell that was trained here, measures it on the test
images, and writes its card.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file

from rsitr.external.assess import Assessed, Given, assess
from rsitr.external.exports import leak
from rsitr.external.held_out import of_dataset
from rsitr.records.bundle import CARD, ModelBundle, card, read_bundle, write_bundle
from rsitr.records.files import write_text
from rsitr.records.weights import write_weights
from rsitr.retrieval.recall import recall
from rsitr.stages.bundle import WEIGHTS

MODEL = Path(__file__).with_name("model")
NAME = "search-model"
"""What its record in results/external is called."""


def halve(checkpoint: Path, folder: Path = MODEL) -> ModelBundle:
    """Write the bundle of a checkpoint with its numbers in half precision."""
    bundle = read_bundle(checkpoint)
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in load_file(checkpoint / WEIGHTS).items()
    }
    sha256 = write_weights(folder / WEIGHTS, weights, "cell", bundle.spec.place)
    bundle = bundle.model_copy(update={"weights_sha": sha256})
    write_bundle(folder, bundle)
    return bundle


def described(bundle: ModelBundle, assessed: Assessed) -> str:
    """The card, with what the model retrieves and where its limits are."""
    record, ranking, spec = assessed.record, assessed.ranking, bundle.spec
    plain, counted = (asdict(recall(ranks)) for ranks in (ranking.plain, ranking.duplicate_aware))
    rows = "\n".join(f"| {metric} | {plain[metric]:.2f} | {counted[metric]:.2f} |" for metric in plain)
    images, captions = record.data["images"]["test"], record.data["captions"]["test"]
    leaks = "\n".join(f"- Trained on {name}: {leak(count)}." for name, count in record.data["leaks"].items())
    return f"""{card(bundle)}
## What it retrieves

Its numbers are stored in half precision. Measured with them by `rsitr assess {spec.dataset} --model MODEL` on the
{images:,} test images and {captions:,} captions of `{spec.dataset}`, in percent; ties count against it:

| recall | plain | duplicates counted |
|:--|--:|--:|
{rows}

## Limits

- It is there to try `rsitr search` without a download. For work that matters, train a model of your own, or name a
  larger one with `--model`.
- Nothing but the table above was measured: how it does on other pictures, sensors, scales, places or languages is
  unknown. It sees the centre of a picture, scaled to {bundle.pixels.size if bundle.pixels else 0} pixels.
{leaks}
"""


def main(checkpoint: Path) -> None:
    """Make, measure and describe the model."""
    bundle = halve(checkpoint)
    assessed = assess(of_dataset(bundle.spec.dataset), Given(model=str(MODEL)), NAME, None)
    print(assessed.write())
    write_text(MODEL / CARD, described(bundle, assessed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
