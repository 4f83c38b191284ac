"""What is next to the weights of a cell, so that its folder is all that a user of the model needs.

``bundle.json`` says how the model is built and what it was trained by, on and from; ``README.md`` tells a person.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rsitr.errors import RecordError
from rsitr.records.artefact import Outcome, Pretrained
from rsitr.records.cell import Spec, TrainReport
from rsitr.records.files import write_json, write_text

FILE, CARD = "bundle.json", "README.md"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pixels(_Part):
    """How images are prepared: the shorter side resized to ``size``, the centre cut out, 0..1 less mean, over std."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


class Built(_Part):
    """What a method is built from."""

    method: str
    seed: int
    """Parts that are neither trained nor pretrained are drawn from it."""
    config: dict[str, Any]
    """In full, defaults included."""
    teacher: Built | None = None
    """The method whose encoders are a part of it."""


class ModelBundle(_Part):
    """``bundle.json``."""

    format: Literal[1] = 1
    spec: Spec
    """What the cell was expected to be, without the specifications of what it rests on."""
    outcome: Outcome = Outcome()
    """How training ended; with an error, the rest is missing."""
    built: Built | None = None
    words: tuple[str, ...] = ()
    """The vocabulary that was learned from the training captions, in the order of its indices."""
    pixels: Pixels | None = None
    """None for a method that looks at no image."""
    pretrained: dict[str, Pretrained] = {}
    """Where training began, by the setting that names it."""
    fixed: tuple[str, ...] = ()
    """Those of ``pretrained`` that have stayed as they were: the weights here leave them out."""
    used: dict[str, str] = {}
    """SHA-256 of the weights of the teacher, the prior and the pretraining."""
    departures: tuple[str, ...] = ()
    """Where the model is not the published one."""
    data: dict[str, Any] = {}
    """Origin, licence, synthetic, and the number of images and captions by split."""
    data_sha: str = ""
    selection: dict[str, Any] = {}
    """Which epoch was chosen, on which split, with which mean recall in percent."""
    weights_sha: str = ""
    """SHA-256 of ``model.safetensors``."""

    @model_validator(mode="after")
    def _names_what_it_needs(self) -> Self:
        if unknown := set(self.fixed) - set(self.pretrained):
            raise ValueError(f"fixed names {sorted(unknown)}, of which pretrained says nothing")
        return self


def begun(spec: Spec, report: TrainReport) -> ModelBundle:
    """The bundle of a cell as far as specification and report know it."""
    alone = spec.model_copy(
        update=dict.fromkeys(("teacher", "prior", "pretraining", "tuning")) | {"settings": named(spec.settings, report)}
    )
    facts = report.model_dump(include={"data", "data_sha", "selection", "weights_sha", "used"})
    return ModelBundle(spec=alone, outcome=report.outcome, pretrained=report.pretrained, **facts)


def named(config: dict[str, Any], report: TrainReport) -> dict[str, Any]:
    """A configuration in which a file on this machine has only its name."""
    files = {name: each.location for name, each in report.pretrained.items() if "://" not in each.location}
    return config | {name: file for name, file in files.items() if name in config}


def write_bundle(folder: Path, bundle: ModelBundle) -> None:
    """Write ``bundle.json`` and ``README.md``."""
    write_json(folder / FILE, bundle)
    write_text(folder / CARD, card(bundle))


def read_bundle(folder: Path) -> ModelBundle:
    """Read ``bundle.json``; raises ``RecordError`` where it is missing, damaged, or of a training without weights."""
    path = folder / FILE
    if not path.is_file():
        raise RecordError(f"{folder} has no {FILE}: name the folder of a checkpoint, whole, as training has left it")
    try:
        bundle = ModelBundle.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        what = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise RecordError(
            f"{path} cannot be read ({what}): it is damaged or of another version of rsitr. Copy the folder again, or "
            "train the cell again"
        ) from None
    if bundle.outcome.status != "ok" or bundle.built is None:
        raise RecordError(
            f"{folder} holds no trained model: its training was {bundle.outcome.status} ({bundle.outcome.reason})"
        )
    return bundle


def card(bundle: ModelBundle) -> str:
    """The model card, as Markdown."""
    spec, data = bundle.spec, bundle.data
    title = f"# {spec.method} on {spec.dataset}\n\nThe checkpoint of cell `{spec.place}` of rsitr"
    if bundle.outcome.status != "ok":
        return f"{title}. Training was {bundle.outcome.status}: {bundle.outcome.reason}\n"
    images, captions = (data.get(name, {}).get("train", 0) for name in ("images", "captions"))
    chosen = bundle.selection
    rows = {
        "Method": f"`{spec.method}`, seed {spec.seed}",
        "Trained on": f"the training split of `{spec.dataset}`: {images:,} images, {captions:,} captions",
        "Protocol": f"split {spec.split_protocol}, rule of near duplicates {spec.dedup}",
        "Data": f"{data.get('origin', 'unknown')}{', synthetic' if data.get('synthetic') else ''}; licence: "
        f"{data.get('licence') or 'not stated'}",
        "Chosen": f"epoch {chosen['epoch']} of {chosen['epochs']}: mR {chosen['mr']:.2f} % on {chosen['images']:,} "
        f"images of {chosen['split']}"
        if chosen
        else "nothing was trained",
        "Starts from": _listed(f"`{each.location}` ({name})" for name, each in bundle.pretrained.items()),
        "Needs": _listed(f"`{bundle.pretrained[name].location}`" for name in bundle.fixed),
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    departures = "\n".join(f"- {departure}" for departure in bundle.departures) or "None is known."
    return f"""{title}.

| | |
|:--|:--|
{table}

## Use it

```python
from rsitr.stages.bundle import load_bundle

model = load_bundle("this folder")
print(model.score(["image.jpg"], ["a caption"]))
```

`model.safetensors` has what training has changed. What it needs besides is fetched or found where the table says, and
compared with the SHA-256 in `bundle.json`; a file without an address belongs in this folder.

## Where it departs from the published method

{departures}
"""


def _listed(texts: Any) -> str:
    return "; ".join(texts) or "nothing"
