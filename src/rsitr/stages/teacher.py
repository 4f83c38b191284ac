"""A trained cell as the teacher of another: the scores that it gives the training pairs."""

from __future__ import annotations

from torch import Tensor

from rsitr.errors import Unsupported
from rsitr.records.cell import Spec, read_report
from rsitr.records.paths import Paths
from rsitr.stages.encode import encode, score_all, trimmed
from rsitr.stages.evaluate import load_checkpoint
from rsitr.stages.setup import CellData, build_method, image_inputs, load_data


class Teacher:
    """The method of a trained cell and its encodings of the training split, each image and caption once.

    It sees images without augmentation, in its own pixel format or through its own frozen backbone. Raises
    ``Unsupported`` where its training was skipped or failed: what learns from it cannot run either.
    """

    def __init__(self, spec: Spec, device: str, data: CellData | None = None):
        """``data``: of its cell, if only a part of that may be read."""
        folder = Paths.checkpoint(spec.cell)
        report = read_report(spec.cell)
        if report is None or report.outcome.status != "ok":
            raise Unsupported(
                f"its teacher {spec.cell.path} is "
                + (f"{report.outcome.status}: {report.outcome.reason}" if report else "not trained")
            )
        self.weights_sha, self.device = report.weights_sha, device
        data = data or load_data(spec)
        train = data.splits["train"]
        self.method = build_method(spec, data)
        load_checkpoint(self.method, folder / "model.safetensors")
        self.method.to(device)
        self.encoded = encode(self.method, train, image_inputs(self.method, train, data.splits, device), device)

    def scores(self, images: Tensor, captions: Tensor) -> Tensor:
        """Scores [B, B], float32 on the teacher's device, of images [B] against captions [B], as ``Batch`` has them."""
        texts = trimmed(self.encoded.texts[self.encoded.place[captions.cpu()]])
        scores = score_all(self.method, self.encoded.images[images.cpu()], texts, self.device)
        return scores.clone().to(self.device)  # what inference mode made takes no part in a gradient
