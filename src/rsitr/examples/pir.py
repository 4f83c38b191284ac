"""PIR's pictures from the trained cells of an experiment: the common space, beliefs, and what queries find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from rsitr.examples.panels import different, draw_embeddings, encoded_test, found_captions, found_images, masked
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
    encoded = {name: encoded_test(each) for name, each in models.items()}
    look: Callable[[Tensor], Tensor] = model.method.saliency  # type: ignore[assignment]
    beliefs = masked(model, look, SAMPLES)  # Eq. 3
    quantity = "belief, from its least in the image to its most"
    return [
        *draw_embeddings(encoded, model.data.splits["test"], title, out / "pir-embeddings"),
        saliency.draw(f"Belief, {title}", beliefs, out / "pir-belief.png", quantity),
        *draw_retrieval(model, encoded[label], title, out),
    ]


def draw_retrieval(model: Trained, encoded: Encoded, title: str, out: Path) -> list[Path]:
    """Fig. 7: the first images that captions find, and the first captions that images find."""
    shown = model.data.splits["test"]
    places = different(shown, QUERIES)
    images = found_images("caption", model, encoded, [shown.image_ids[place] for place in places])
    captions = found_captions(model, encoded, places)
    of_images = f"Images found among {len(shown.paths)}, {title}"
    of_captions = f"Captions found among {len(shown.captions)}, {title}"
    return [
        ranked.draw(of_images, images, out / "pir-images.png"),
        ranked.draw_captions(of_captions, captions, out / "pir-captions.png"),
    ]
