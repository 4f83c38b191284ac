"""Each kind of model encodes as its own library does."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rsitr.errors import ParamsError, WeightsMismatch, WeightsUnavailable
from rsitr.external.models import open_model
from rsitr.nn.weights import hub_reachable
from rsitr.records.artefact import Pretrained
from rsitr.records.bundle import read_bundle, write_bundle
from rsitr.records.paths import Paths
from rsitr.records.provenance import sha256_file
from rsitr.stages.bundle import load_bundle
from rsitr.stages.train import train
from tests.helpers.http_server import Hub

PRIOR = "scenes://tiny/mine"


@pytest.fixture
def weights(tiny_clip: str, tmp_path: Path) -> Path:
    """A file of weights of the tiny CLIP."""
    path = tmp_path / "epoch_1.safetensors"
    save_file(open_clip.create_model(tiny_clip).state_dict(), path)
    return path


def test_a_model_of_open_clip_sees_what_open_clip_shows_it(held_out, tiny_clip, weights):
    found = open_model(f"open_clip:{tiny_clip}", str(weights))
    model, _, transform = open_clip.create_model_and_transforms(tiny_clip, pretrained=str(weights))
    model.eval()
    paths, texts = held_out.split.paths[:3], held_out.split.captions[:4]
    with torch.inference_mode():
        images = model.encode_image(torch.stack([transform(Image.open(path).convert("RGB")) for path in paths]))
        words = model.encode_text(open_clip.get_tokenizer(tiny_clip)(texts))
    torch.testing.assert_close(found.encode_images(paths), images, rtol=0, atol=0)
    torch.testing.assert_close(found.encode_texts(texts), words, rtol=0, atol=0)
    assert found.facts.weights.files == {weights.name: sha256_file(weights)}
    assert (found.facts.kind, found.facts.saw) == (f"open_clip:{tiny_clip}", None)
    assert found.facts.parameters == sum(each.numel() for each in model.parameters())


def test_a_model_of_transformers_sees_what_its_processor_shows_it(held_out, clip_folder):
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    found = open_model(str(clip_folder))
    model = CLIPModel.from_pretrained(clip_folder).eval()
    paths, texts = held_out.split.paths[:3], ["a red dot", "a green bar on a blue ground " * 20]
    shown = CLIPImageProcessor.from_pretrained(clip_folder)([Image.open(p) for p in paths], return_tensors="pt")
    words = AutoTokenizer.from_pretrained(clip_folder)(
        texts, padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    with torch.inference_mode():
        images = model.visual_projection(model.vision_model(**shown).pooler_output)
        embedded = model.text_projection(model.text_model(words.input_ids, words.attention_mask).pooler_output)
    torch.testing.assert_close(found.encode_images(paths), images)
    torch.testing.assert_close(found.encode_texts(texts), embedded)
    assert found.facts.kind == "transformers"
    assert found.facts.weights.files["model.safetensors"] == sha256_file(clip_folder / "model.safetensors")


@pytest.fixture
def modules(clip_folder: Path, tmp_path: Path):
    """``modules(kind ...)``: a folder of sentence-transformers with modules of these kinds."""

    def make(*kinds: str) -> str:
        folder = tmp_path / "sentence"
        shutil.copytree(clip_folder, folder / "0_CLIPModel")
        listed = [{"idx": n, "path": "0_CLIPModel", "type": f"sentence_transformers.{k}"} for n, k in enumerate(kinds)]
        (folder / "modules.json").write_text(json.dumps(listed))
        return str(folder)

    return make


def test_a_folder_of_sentence_transformers_has_its_model_inside(held_out, clip_folder, modules):
    found = open_model(modules("models.CLIPModel"))
    paths = held_out.split.paths[:2]
    torch.testing.assert_close(found.encode_images(paths), open_model(str(clip_folder)).encode_images(paths))
    assert found.facts.kind == "sentence-transformers"


def test_a_bundle_of_ours_encodes_as_its_cell_and_says_what_it_has_seen(held_out, make_spec):
    spec = make_spec(epochs=1)
    train(spec)
    folder = Paths.checkpoint(spec.cell)
    found, bundle = open_model(str(folder)), load_bundle(folder)
    paths, texts = held_out.split.paths, held_out.split.captions
    assert torch.equal(found.encode_images(paths), torch.from_numpy(bundle.encode_images(paths)))
    assert torch.equal(found.encode_texts(texts), torch.from_numpy(bundle.encode_texts(texts)))
    assert (found.facts.kind, found.facts.saw) == ("rsitr", ("scenes-b",))
    write_bundle(
        folder, read_bundle(folder).model_copy(update={"pretrained": {"start": Pretrained(location=PRIOR, files={})}})
    )
    assert open_model(str(folder)).facts.saw == ("scenes-b", PRIOR)


def test_a_method_that_interacts_scores_its_own_encodings(held_out, make_spec):
    spec = make_spec("scan-t2i", epochs=1, negatives="all")
    train(spec)
    found = open_model(str(Paths.checkpoint(spec.cell)))
    assert found.scorer.interacts
    assert found.encode_images(held_out.split.paths).ndim == 3


def test_a_repository_of_the_hub_is_loaded_as_open_clip_loads_it(held_out, tiny_clip, weights, monkeypatch, tmp_path):
    commit, repository = "0123456789abcdef0123456789abcdef01234567", "owner/tiny"
    config = {
        "model_cfg": open_clip.get_model_config(tiny_clip),
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.2] * 3},
    }
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    hub_reachable.cache_clear()
    with closing(Hub(commit)) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        server.serve("/", b"the hub")
        server.serve(f"/{repository}/resolve/main/open_clip_config.json", json.dumps(config).encode())
        server.serve(f"/{repository}/resolve/main/open_clip_model.safetensors", weights.read_bytes())
        found = open_model(f"hf-hub:{repository}")
        assert {request.path.split("/")[-1] for request in server.requests if request.method == "GET"} >= {
            "open_clip_config.json",
            "open_clip_model.safetensors",
        }
    model, _, transform = open_clip.create_model_and_transforms(
        tiny_clip, pretrained=str(weights), image_mean=(0.5,) * 3, image_std=(0.2,) * 3
    )
    paths = held_out.split.paths[:3]
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([transform(Image.open(p).convert("RGB")) for p in paths]))
    torch.testing.assert_close(found.encode_images(paths), images, rtol=0, atol=0)
    assert found.facts.weights.location == f"hf://{repository}@{commit}"
    assert found.facts.weights.files == {"open_clip_model.safetensors": sha256_file(weights)}


@pytest.mark.parametrize(
    ("address", "weights", "error", "message"),
    [
        ("open_clip:RN50", None, ParamsError, r"needs --weights: a file, or a tag of open_clip \(it lists openai, "),
        ("open_clip:RN51", "none", ParamsError, "unknown CLIP model 'RN51'"),
        ("open_clip:RN50", "nowhere.pt", WeightsUnavailable, "nowhere.pt is not at"),
        ("nowhere", None, ParamsError, "nowhere names no model: give the folder of a checkpoint of rsitr"),
        ("nowhere", "file.pt", ParamsError, "--weights belongs to open_clip:ARCHITECTURE, and nowhere has its own"),
        ("hf-hub:nobody/nothing", None, WeightsUnavailable, "nobody/nothing is not in the Hugging Face cache"),
    ],
)
def test_what_names_no_model_is_told(address, weights, error, message, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(error, match=message):
        open_model(address, weights)


def test_a_folder_that_encodes_no_images_is_told(tiny_bert, modules, tmp_path):
    with pytest.raises(WeightsMismatch, match=r"BertModel, which does not|cannot load"):
        open_model(str(tiny_bert))
    with pytest.raises(WeightsMismatch, match="encodes no images: its modules are Transformer, Pooling, and"):
        open_model(modules("models.Transformer", "models.Pooling"))
    (tmp_path / "sentence/modules.json").write_text("[1]")
    with pytest.raises(WeightsMismatch, match=r"modules.json cannot be read"):
        open_model(str(tmp_path / "sentence"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsMismatch, match="transformers cannot load"):
        open_model(str(tmp_path))
