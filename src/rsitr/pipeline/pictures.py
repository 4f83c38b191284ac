"""The pictures of the papers: which cells they are drawn from, and the files they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rsitr.params import Params
from rsitr.params.ids import CellId
from rsitr.pipeline.inputs import amfmn_cells, mtgfe_cells, pir_cells, study_shown


class Pictures(NamedTuple):
    """Those of a paper."""

    cells: Callable[[Params, str], Mapping[str, CellId]]
    """The trained cells that they need, by what the pictures call them."""
    files: tuple[str, ...]
    needed: str
    """The methods that the matrix has to have."""
    caption: str
    """For the workflow's report."""


PAPERS = {
    "amfmn": Pictures(
        amfmn_cells,
        ("saliency.png", "retrieval.png", "localisation.png", "localisation.csv"),
        "amfmn-sim",
        "Drawn from the trained cells of AMFMN-sim as in Figs. 10, 11 and 14 of the paper: where its visual attention "
        "looks, the first images that keywords, sentences and both find, and captions of single tiles located in a "
        "scene of tiles.",
    ),
    "pir": Pictures(
        pir_cells,
        ("embeddings.png", "embeddings.csv", "belief.png", "images.png", "captions.png"),
        "pir-itr-soft or pir-itr-hard",
        "Drawn from the trained cells of PIR-ITR as in Figs. 1, 7 and 8 of the paper: test images and a caption of "
        "each in the common space by t-SNE, where the belief is, and what captions and images find.",
    ),
    "mtgfe": Pictures(
        mtgfe_cells,
        ("attention-1.png", "attention-2.png"),
        "mtgfe",
        "Drawn from the trained cells of MTGFE as in Figs. 6 and 7 of the paper: what each word of a caption looks at, "
        "by the cross-attention of the last layer but one. 1.0 - 1.0 is a word that looks everywhere alike.",
    ),
    "peder": Pictures(
        study_shown,
        ("embeddings.png", "embeddings.csv", *(f"probabilities.{kind}" for kind in ("csv", "md", "tex", "html"))),
        "clip, clip-ft or remoteclip",
        "How probable each CLIP takes captions for images, and test images with a caption of each in the common space.",
    ),
}
