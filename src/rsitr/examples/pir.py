"""PIR's pictures from the trained cells of an experiment: the common space, beliefs, and what queries find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from rsitr.examples.panels import TestImages, draw_embeddings, encoded_test, found_captions, found_images, masked
from rsitr.figures import ranked, saliency
from rsitr.records.cell import Spec
from rsitr.stages.encode import Encoded
from rsitr.stages.model import Trained, load_all

SAMPLES = 5
"""Images with a belief map."""
QUERIES = 3
"""Images for queries by text, and as queries."""


def build(specs: Mapping[str, Spec], title: str, out: Path) -> list[Path]:
    """Write ``pir-embeddings.png`` and ``.csv`` (Figs. 1, 8), ``pir-belief.png``, ``pir-images.png`` and
    ``pir-captions.png`` (Fig. 7).

    ``specs`` are cells of one dataset and seed by the name of their panel of the common space; the last is the method
    of the other pictures.
    """
    models = load_all(specs)
    label, model = list(models.items())[-1]
    shown = TestImages(model.data, specs[label])
    encoded = {name: encoded_test(each) for name, each in models.items()}
    look: Callable[[Tensor], Tensor] = model.method.saliency  # type: ignore[assignment]
    beliefs = masked(model, look, shown.different(SAMPLES), shown)  # Eq. 3
    quantity = "belief, from its least in the image to its most"
    return [
        *draw_embeddings(encoded, shown, title, out / "pir-embeddings"),
        saliency.draw(f"Belief, {title}", beliefs, out / "pir-belief.png", quantity),
        *draw_retrieval(model, encoded[label], shown, title, out),
    ]


def draw_retrieval(model: Trained, encoded: Encoded, shown: TestImages, title: str, out: Path) -> list[Path]:
    """Fig. 7: the first images that captions find, and the first captions that images find."""
    places = shown.different(QUERIES)
    wanted = [shown.split.image_ids[place] for place in places]
    images = found_images("caption", model, encoded, wanted, shown)
    captions = found_captions(model, encoded, places, shown)
    among = f"found among {len(shown.split.paths)}, {title}", f"found among {len(shown.split.captions)}, {title}"
    return [
        ranked.draw(f"Images {among[0]}", images, out / "pir-images.png"),
        ranked.draw_captions(f"Captions {among[1]}", captions, out / "pir-captions.png"),
    ]
