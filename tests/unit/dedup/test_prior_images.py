"""Which images a prior learns from: classes, the held-out part, and what is too near to a test set."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rsitr.dedup.prior_images import select
from rsitr.errors import DatasetError, Unsupported
from rsitr.records.paths import Paths
from tests.helpers.scene_sets import prior_spec, put_near_duplicates, put_set

# Of w, d is in the test image t, and e in b of train, which is like t as well; f is like v of val; u is another test
# image, of which nothing is known. So d and e go.
WORLD = [(name, "train", "farm" if name < "e" else "port") for name in "abcdefgh"]
CITY = [("b", "train", "farm"), ("t", "test", "farm"), ("u", "test", "beach"), ("v", "val", "port")]


@pytest.fixture(autouse=True)
def sets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put_set("world", WORLD)
    put_set("city", CITY)
    put_near_duplicates("world", "world")
    put_near_duplicates("city", "city", (("b", "t"),))
    put_near_duplicates("city", "world", (("t", "d"), ("b", "e"), ("v", "f")))


def ids(images):
    return "".join(image.image_id for image in images)


def test_every_image_of_train_is_used_or_held_out():
    chosen = select(prior_spec(datasets=["world"], settings={"held_out": 0.3}))
    assert sorted(ids(chosen.train) + ids(chosen.held_out)) == list("abcdefgh")
    assert Counter(image.class_name for image in chosen.held_out) == {"farm": 1, "port": 1}  # round(4 * 0.3)
    assert chosen.classes == ("farm", "port")
    assert (chosen.left_out, chosen.unseen, chosen.synthetic) == ([], (), True)
    # Drawn by a hash that any program can compute.
    drawn = min("abcd", key=lambda name: hashlib.sha256(f"0/world/{name}".encode()).hexdigest())
    assert drawn in ids(chosen.held_out)
    other = select(prior_spec(datasets=["world"], seed=4, settings={"held_out": 0.3}))
    assert ids(other.held_out) != ids(chosen.held_out)
    assert other.data_sha != chosen.data_sha


def test_near_duplicates_of_test_images_are_left_out_and_chains_are_followed():
    chosen = select(prior_spec(datasets=["world"], without=["city"]))
    assert sorted(ids(chosen.train) + ids(chosen.held_out)) == list("abcfgh")
    assert [(image.image_id, reason) for image, reason in chosen.left_out] == [
        ("d", "near duplicate in city test"),
        ("e", "near duplicate in city test"),
    ]
    assert chosen.reasons == {"world: near duplicate in city test": 2}
    assert chosen.data_sha != select(prior_spec(datasets=["world"])).data_sha


def test_a_retrieval_set_gives_its_own_training_split():
    put_set("town", [("a", "train", "farm"), ("b", "train", "port"), ("c", "train", ""), ("d", "test", "beach")])
    chosen = select(prior_spec(datasets=["town"]))
    assert ids(chosen.train) == "ab"
    assert chosen.reasons == {"town: no class": 1}
    assert chosen.unseen == ("beach",)  # present only in the test part: nothing can be learned of it


def test_a_class_that_is_left_out_altogether_is_named():
    put_near_duplicates("city", "world", tuple(("t", name) for name in "efgh"))
    put_set("world", [*WORLD, ("i", "train", "bare land"), ("j", "train", "bare land")])
    chosen = select(prior_spec(datasets=["world"], without=["city"]))
    assert chosen.unseen == ("port",)
    assert chosen.classes == ("bare land", "farm")


def test_sets_that_call_a_class_alike_share_it():
    put_set("town", [("a", "train", "farm"), ("x", "train", "dune")])
    chosen = select(prior_spec(datasets=["world", "town"]))
    assert chosen.classes == ("dune", "farm", "port")
    used = {(image.dataset, image.class_name) for image in (*chosen.train, *chosen.held_out)}
    assert used == {("town", "farm"), ("town", "dune"), ("world", "farm"), ("world", "port")}


def test_the_rule_of_the_field_needs_no_table_of_copies():
    put_set("world", [("a", "train", "farm", "", "ff".zfill(16)), *((n, "train", n) for n in "bc")])
    put_set("city", [("t", "test", "farm", "", "fe".zfill(16))])
    for path in Paths.near_duplicates("a", "b").parent.parent.glob("*/*.parquet"):
        path.unlink()
    assert ids(select(prior_spec(datasets=["world"], without=["city"], dedup="remoteclip")).train) == "bc"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from("pqrs"), min_size=2, max_size=30).filter(lambda names: len(set(names)) > 1),
    st.floats(0.01, 0.99),
)
def test_a_class_never_stands_in_the_held_out_part_alone(names, share):
    put_set("world", [(f"{number:02}", "train", name) for number, name in enumerate(names)])
    chosen = select(prior_spec(datasets=["world"], settings={"held_out": share}))
    assert {image.class_name for image in chosen.held_out} <= {image.class_name for image in chosen.train} == set(names)
    assert len(chosen.train) + len(chosen.held_out) == len(names)


def test_a_missing_table_of_copies_is_named_with_the_command_that_makes_it():
    path = Paths.near_duplicates("city", "world")
    path.unlink()
    with pytest.raises(DatasetError, match=f"{path} is missing: build it with `snakemake --cores 2 {path}`"):
        select(prior_spec(datasets=["world"], without=["city"]))


def test_copies_of_other_data_certify_nothing():
    put_near_duplicates("city", "world", (("t", "d"),), first_sha="older")
    with pytest.raises(DatasetError, match="was made from other data of city"):
        select(prior_spec(datasets=["world"], without=["city"]))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([("a", "train", ""), ("b", "test", "")], DatasetError, "town states no scene class for any image"),
        ([("a", "train", "farm"), ("b", "test", "port")], DatasetError, "has images of 1 scene class only"),
        (
            [("a", "train", "farm", "missing image")],
            Unsupported,
            "no usable images in train of town: 1 x missing image",
        ),
        ([("a", "test", "farm")], Unsupported, "no usable images in train of town: it has none"),
    ],
    ids=["no class", "one class", "no images", "no train"],
)
def test_what_no_classifier_can_learn_from_is_refused(rows, error, message):
    put_set("town", rows)
    with pytest.raises(error, match=message):
        select(prior_spec(datasets=["town"]))


def test_without_test_images_at_hand_nothing_can_be_kept_clear():
    put_set("city", [("t", "test", "farm", "missing image")])
    with pytest.raises(Unsupported, match="no test images of city at hand"):
        select(prior_spec(datasets=["world"], without=["city"]))


def test_a_table_that_was_not_built_is_named():
    with pytest.raises(DatasetError, match=r"data/canonical/gone/dataset.parquet is missing"):
        select(prior_spec(datasets=["gone"]))
