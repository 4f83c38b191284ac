"""Samples of shards: where they lie, in which order they come, and what becomes of broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rsitr.datasets import tars
from rsitr.datasets.splits import load_splits
from rsitr.datasets.tars import content
from rsitr.errors import CorruptArchive, DatasetError
from rsitr.nn.pixels import PixelFormat
from rsitr.params.ids import CleanId
from rsitr.pretraining import shards
from rsitr.pretraining.samples import Order, ReadAhead, ShardSamples, _read_whole
from rsitr.pretraining.shards import CAPTIONS, PROBLEMS, index_shards, parse_captions, write_training_shards
from rsitr.records.paths import Paths
from tests.helpers.examples import examples
from tests.helpers.shards_of_colours import picture, write_colours, write_tar

PIXELS = PixelFormat(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bicubic")
RED = picture("red", "blue")


def samples_of(paths: list[Path], cache: Path, seed: int = 0) -> ShardSamples:
    tokenizer = open_clip.SimpleTokenizer(context_length=12)
    return ShardSamples(index_shards(paths, cache), PIXELS, (0.5, 1.0), tokenizer, seed)


class TestIndex:
    def test_places_are_those_of_the_members(self, tmp_path):
        members = [
            ("a/1.jpg", b"first"),
            ("a/1.txt", b"one"),
            ("a/2.JSON", b"{}"),  # the case of an extension does not matter
            ("a/2.png", b"second"),
            ("img.img_content", b"third"),  # as RS5M names them
            ("img.img_name", b"img.jpg"),
            ("img.caption", b"three"),
            ("b/4.jpg", b"fourth"),
            ("b/5.txt", b"five"),
            ("b/6.cls", b"6"),
        ]
        path = write_tar(tmp_path / "one.tar", members)
        second = write_tar(tmp_path / "two.tar", [("7.jpg", b"seventh"), ("7.txt", b"seven"), ("7.json", b"{}")])
        index = index_shards([path, second], tmp_path / "cache")
        content = [path.read_bytes(), path.read_bytes(), path.read_bytes(), second.read_bytes()]
        assert index.shard_of.tolist() == [0, 0, 0, 1]
        parts = [
            (whole[a : a + b], whole[c : c + d])
            for whole, (a, b, c, d) in zip(content, index.places.tolist(), strict=True)
        ]
        assert parts == [(b"first", b"one"), (b"second", b"{}"), (b"third", b"three"), (b"seventh", b"seven")]
        assert [CAPTIONS[kind] for kind in index.kinds] == ["txt", "json", "caption", "txt"]
        assert index.missing == {"image missing": 2, "caption missing": 1}

    @pytest.mark.parametrize(
        ("fields", "kind"), [(b'{"caption": "a port"}', "json"), (b'{"url": "x"}', "txt"), (b"{", "txt")]
    )
    def test_json_with_captions_comes_before_txt(self, tmp_path, fields, kind):
        """A line break in a txt need not end a caption."""
        members = [("1.jpg", b"x"), ("1.txt", b"a port\nwith cranes"), ("1.json", fields)]
        index = index_shards([write_tar(tmp_path / "one.tar", members)], tmp_path / "cache")
        assert [CAPTIONS[found] for found in index.kinds] == [kind]

    def test_it_is_made_once_and_again_when_the_file_has_changed(self, tmp_path, monkeypatch):
        paths = write_colours(tmp_path, shards=2)
        first = index_shards(paths, tmp_path / "cache")
        read: list[Path] = []
        original = shards._read_index
        monkeypatch.setattr(shards, "_read_index", lambda path: read.append(path) or original(path))
        again = index_shards(paths, tmp_path / "cache")
        assert read == []
        assert again.data_sha == first.data_sha
        write_tar(paths[1], [("1.jpg", RED), ("1.txt", b"one")])
        changed = index_shards(paths, tmp_path / "cache")
        assert read == [paths[1]]
        assert changed.data_sha != first.data_sha
        assert len(changed) == 9

    @pytest.mark.parametrize("cut", [100, 512, 600, 1024, 1536, 2048, 2100])
    def test_a_shard_that_breaks_off(self, tmp_path, cut):
        """In a header, between members, inside one, before the end: members take 512 bytes, and the header as many."""
        path = write_tar(tmp_path / "one.tar", [("1.jpg", b"x" * 500), ("1.txt", b"one")])
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(CorruptArchive, match=r"1 of 1 shards cannot be used: .*one\.tar cannot be read"):
            index_shards([path], tmp_path / "cache")

    def test_every_shard_that_cannot_be_used_is_named(self, tmp_path):
        paths = [*write_colours(tmp_path, shards=1), tmp_path / "gone.tar", tmp_path / "zipped.tar"]
        paths[2].write_bytes(b"\x1f\x8b" + bytes(600))
        with pytest.raises(CorruptArchive, match=r"2 of 3 shards .*gone\.tar is not there; .*zipped\.tar cannot be"):
            index_shards(paths, tmp_path / "cache")

    def test_shards_without_a_sample(self, tmp_path):
        path = write_tar(tmp_path / "one.tar", [("1.cls", b"1")])
        with pytest.raises(DatasetError, match="hold no sample with an image"):
            index_shards([path], tmp_path / "cache")


SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) >= 4)
"""Samples of each shard; enough for a batch."""


def shard_of(sizes: list[int]) -> np.ndarray:
    return np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)


class TestOrder:
    @examples(30)
    @given(SIZES, st.sampled_from([1, 2, 4]), st.integers(0, 9), st.sampled_from([None, 1, 2, 8]))
    def test_processes_read_the_parts_of_one_order(self, sizes, world, seed, window):
        order = Order(shard_of(sizes), 4, seed, window)
        steps = range(2 * order.steps_per_pass)
        whole = [[(order.batch(step)[0], int(sample)) for sample in order.batch(step)[1]] for step in steps]
        parts = [list(order.parts(steps, rank, world)) for rank in range(world)]
        assert [[pair for part in parts for pair in part[step]] for step in steps] == whole
        for number in (0, 1):
            seen = [sample for batch in whole for passed, sample in batch if passed == number]
            assert len(set(seen)) == len(seen) == sum(sizes) // 4 * 4

    def test_it_depends_on_seed_and_pass(self):
        first, second = (Order(shard_of([60, 40]), 100, seed) for seed in (0, 1))
        assert first.batch(0)[1].tolist() != second.batch(0)[1].tolist()
        assert first.batch(0)[1].tolist() != first.batch(1)[1].tolist()
        assert sorted(first.batch(0)[1]) == list(range(100))
        assert np.array_equal(first.batch(1)[1], Order(shard_of([60, 40]), 100, 0).batch(1)[1])

    def test_two_shards_at_a_time(self):
        """Five shards of 4 are windows of 8, 8 and 4 samples: other shards and another order in each pass."""
        shards = shard_of([4] * 5)
        order, seen = Order(shards, 4, 0, window=2), []
        for number in range(2):
            batches = [order.batch(5 * number + place)[1] for place in range(5)]
            of_windows = [np.concatenate(part) for part in (batches[:2], batches[2:4], batches[4:])]
            assert [len(set(shards[samples])) for samples in of_windows] == [2, 2, 1]
            assert any(len(set(shards[batch])) == 2 for batch in batches)
            seen.append(np.concatenate(batches).tolist())
        assert sorted(seen[0]) == sorted(seen[1]) == list(range(20))
        assert seen[0] != seen[1]

    def test_a_window_of_all_shards_is_the_order_without_one(self):
        plain, wide = (Order(shard_of([5, 7, 9]), 4, 3, window) for window in (None, 3))
        assert all(np.array_equal(plain.batch(step)[1], wide.batch(step)[1]) for step in range(12))

    @examples(50)
    @given(SIZES, st.integers(0, 9), st.integers(1, 4), st.integers(0, 12))
    def test_windows_begin_when_they_are_first_needed(self, sizes, seed, window, begin):
        shards = shard_of(sizes)
        order = Order(shards, 4, seed, window)
        needed: dict[tuple[int, int], int] = {}
        for step in range(begin, begin + 2 * order.steps_per_pass):
            number, samples = order.batch(step)
            for shard in shards[samples].tolist():
                needed.setdefault((number, shard), step)
        told: dict[tuple[int, int], int] = {}
        for first, members in order.windows(begin):
            if first >= begin + 2 * order.steps_per_pass:
                break
            for shard in members.tolist():
                told[first // order.steps_per_pass, shard] = max(first, begin)
        assert set(needed) <= set(told)
        assert all(told[key] <= step for key, step in needed.items())


class TestReadAhead:
    def test_it_is_one_window_ahead_and_stops(self, tmp_path, monkeypatch):
        paths = [tmp_path / f"{number}.tar" for number in range(6)]
        read: list[int] = []
        monkeypatch.setattr("rsitr.pretraining.samples._read_whole", lambda path: read.append(int(path.stem)))
        windows = [(0, [3, 1]), (4, [0]), (7, [2, 5]), (9, [4])]
        ahead = ReadAhead(paths, iter([(step, np.array(members)) for step, members in windows]))
        found = []
        for step in range(5, 11):  # continued within the second window
            ahead.reach(step)
            ahead._pool.submit(lambda: None).result()
            found.append(list(read))
        assert found == [[3, 1, 0, 2, 5]] * 2 + [[3, 1, 0, 2, 5, 4]] * 4
        ahead.close()

    def test_a_shard_is_read_to_its_end_and_a_lost_one_left_to_its_samples(self, tmp_path, monkeypatch):
        monkeypatch.setattr("rsitr.pretraining.samples.CHUNK", 2**16)
        (tmp_path / "one.tar").write_bytes(bytes(10**7))  # more than whatever else this process reads meanwhile
        before = int(Path("/proc/self/io").read_text().split()[1])
        _read_whole(tmp_path / "one.tar")
        _read_whole(tmp_path / "gone.tar")
        assert int(Path("/proc/self/io").read_text().split()[1]) - before >= 10**7


class TestSamples:
    def test_the_same_pair_is_the_same_sample_anywhere(self, tmp_path):
        paths = write_colours(tmp_path)
        first, again = (samples_of(paths, tmp_path / "cache") for _ in range(2))
        again[0, 3]  # another order of reading
        for key in ((0, 7), (1, 7)):
            assert torch.equal(first[key].pixels, again[key].pixels)
            assert torch.equal(first[key].tokens, again[key].tokens)
        assert not torch.equal(first[0, 7].pixels, first[1, 7].pixels)
        assert not torch.equal(first[0, 7].pixels, samples_of(paths, tmp_path / "cache", seed=1)[0, 7].pixels)

    def test_one_of_the_captions_is_drawn(self, tmp_path):
        samples = samples_of(write_colours(tmp_path), tmp_path / "cache")
        drawn = {tuple(samples[number, 5].tokens.tolist()) for number in range(20)}
        expected = samples.tokenize(["a green square", "on green ground a green square"])
        assert drawn == {tuple(row) for row in expected.tolist()}

    def test_broken_samples_keep_their_place(self, tmp_path):
        members = [
            ("1.jpg", RED[:40]),
            ("1.txt", b"one"),
            ("2.jpg", RED),
            ("2.txt", b" \n"),
            ("3.jpg", RED),
            ("3.txt", b"three"),
        ]
        samples = samples_of([write_tar(tmp_path / "one.tar", members)], tmp_path / "cache")
        found = [samples[0, place] for place in range(3)]
        assert [PROBLEMS[sample.problem] for sample in found] == ["image broken", "caption broken", ""]
        assert not found[0].pixels.any()
        assert not found[1].tokens.any()
        assert found[2].pixels.any()
        assert {sample.pixels.shape for sample in found} == {(3, 16, 16)}
        assert samples.name(1) == "one.tar: 2.jpg"

    def test_no_more_files_are_open_than_allowed(self, tmp_path, monkeypatch):
        paths = write_colours(tmp_path, shards=5, samples=2)
        every = samples_of(paths, tmp_path / "cache")
        expected = [every[0, sample] for sample in range(10)]
        monkeypatch.setattr("rsitr.pretraining.samples.OPEN", 2)
        some, before = samples_of(paths, tmp_path / "cache"), len(list(Path("/proc/self/fd").iterdir()))
        for sample in (0, 9, 4, 0, 6, 2, 8, 1, 5, 3, 7):
            assert all(map(torch.equal, some[0, sample][:2], expected[sample][:2]))
            assert len(list(Path("/proc/self/fd").iterdir())) - before <= 2

    @pytest.mark.parametrize(("change", "message"), [("cut", "is shorter than"), ("gone", "could be read when")])
    def test_a_shard_that_changes_while_it_is_read(self, tmp_path, change, message):
        (path,) = write_colours(tmp_path, shards=1)
        samples = samples_of([path], tmp_path / "cache")
        path.write_bytes(b"") if change == "cut" else path.unlink()
        with pytest.raises(CorruptArchive, match=message):
            samples[0, 0]

    @pytest.mark.parametrize(
        ("content", "kind", "captions"),
        [
            (b"one  caption\n\nand\ttwo", "txt", ["one caption", "and two"]),
            (b"one", "caption", ["one"]),
            (b"\xff\xfe", "txt", []),
            (b"", "txt", []),
            (b'{"caption": " one "}', "json", ["one"]),
            (b'{"captions": ["one", "two"], "caption": "three"}', "json", ["one", "two"]),
            (b'{"captions": "one"}', "json", ["one"]),
            (b'{"captions": [1]}', "json", []),
            (b'{"caption": null}', "json", []),
            (b'{"text": "one"}', "json", []),
            (b'["one"]', "json", []),
            (b'{"caption": ', "json", []),
        ],
    )
    def test_captions(self, content, kind, captions):
        assert parse_captions(content, kind) == captions


class TestTrainingShards:
    def test_they_hold_the_training_images_and_captions(self, project, tmp_path):
        clean = Paths.clean(CleanId("scenes-b"))
        assert write_training_shards(clean, tmp_path / "out") == 1
        train = load_splits(clean)[0]["train"]
        with (tmp_path / "out" / "train-000000.tar").open("rb") as file:
            samples = [
                {kind: content(file, part) for kind, part in sample.parts.items()} for sample in tars.samples(file)
            ]
        assert [json.loads(sample["json"])["image_id"] for sample in samples] == train.image_ids
        assert [sample["png"] for sample in samples] == [path.read_bytes() for path in train.paths]
        captions = [caption for sample in samples for caption in parse_captions(sample["txt"], "txt")]
        assert captions == train.captions
        assert write_training_shards(clean, tmp_path / "again") == 1
        first, again = (tmp_path / name / "train-000000.tar" for name in ("out", "again"))
        assert first.read_bytes() == again.read_bytes()

    def test_a_folder_in_use(self, project, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DatasetError, match="is not empty: name a new folder"):
            write_training_shards(Paths.clean(CleanId("scenes-b")), tmp_path)
