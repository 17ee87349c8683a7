import collections
import itertools
import json
import tempfile
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from keras_fer.audit import audit, sources, table
from keras_fer.audit import report as module
from tests.audit.drawn import drawn, jpeg, names, save, write


@pytest.fixture
def folder(tmp_path):
    """Two splits: a leaked copy, a copy, a contradiction, a near copy."""
    faces = [drawn(seed) for seed in range(12)]
    images = {f"train/happiness/{i}.png": faces[i] for i in range(6)}
    images |= {f"test/happiness/{i}.png": faces[i] for i in range(6, 9)}
    images["test/happiness/leak.png"] = faces[0]
    images["train/happiness/copy.png"] = faces[1]
    images["train/anger/contradiction.png"] = faces[2]
    images["test/anger/near.png"] = jpeg(faces[3])
    return write(tmp_path / "faces", images)


def test_a_folder_of_splits_and_labels(folder):
    report = audit(folder)
    assert report["images"] == 13
    assert report["splits"] == {"test": 5, "train": 8}
    exact = report["exact"]
    assert (exact["groups"], exact["copies"]) == (3, 3)
    assert exact["within"] == {"train": 2}
    assert exact["across"] == [
        {"of": "test", "in": "train", "images": 1},
        {"of": "train", "in": "test", "images": 1},
    ]
    assert names(exact["listed"]) == {
        frozenset({"train/happiness/0.png", "test/happiness/leak.png"}),
        frozenset({"train/happiness/1.png", "train/happiness/copy.png"}),
        frozenset({"train/happiness/2.png", "train/anger/contradiction.png"}),
    }
    # What is across splits comes first.
    assert {p["split"] for p in exact["listed"][0]["images"]} == {"train", "test"}
    conflicts = report["conflicts"]
    assert conflicts["groups"] == 1
    assert {p["label"] for p in conflicts["listed"][0]["images"]} == {
        "happiness",
        "anger",
    }
    near = report["near"]
    assert (near["pairs"], near["within"], near["left_out"]) == (1, {}, 0)
    assert near["across"] == [
        {"of": "test", "in": "train", "pairs": 1, "images": 1},
        {"of": "train", "in": "test", "pairs": 1, "images": 1},
    ]
    assert names(near["listed"]) == {
        frozenset({"train/happiness/3.png", "test/anger/near.png"})
    }
    assert 0.95 < near["listed"][0]["correlation"] < 1
    assert report["subjects"] is None
    assert report["unreadable"] == {"count": 0, "first": []}
    assert report["overlapping"] == {}
    assert json.loads(json.dumps(report)) == report


def test_the_table_says_the_same(folder):
    lines = table(audit(folder)).splitlines()
    assert lines[0].endswith("13 images (test 5, train 8)")
    found = {" ".join(line.split()) for line in lines}
    assert "of test are in train 1" in found
    assert "groups with conflicting labels 1" in found
    assert "of test have a near-duplicate in train 1" in found
    assert "copies within train 2" in found
    assert any("leak.png (happiness) = train/happiness/0.png" in x for x in found)


def test_gray_and_rgb_of_the_same_pixels_are_identical(tmp_path):
    image = drawn(0)
    rgb = np.repeat(image[..., None], 3, axis=2)
    report = audit(write(tmp_path, {"a.png": image, "b.png": rgb, "c.bmp": image}))
    assert report["exact"]["copies"] == 2


def test_the_same_bytes_in_another_shape_are_not_identical(tmp_path):
    image = drawn(0)
    report = audit(write(tmp_path, {"a.png": image, "b.png": image.reshape(24, 96)}))
    assert report["exact"]["groups"] == 0


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda x: np.clip(x * 0.7 + 40, 0, 255).astype(np.uint8),
        lambda x: np.asarray(Image.fromarray(x).resize((150, 150))),
        lambda x: np.asarray(Image.fromarray(x).resize((48, 48))),
        lambda x: np.pad(x, ((1, 0), (0, 1)), mode="edge")[:-1, 1:],
    ],
    ids=["jpeg", "brightness", "larger", "smaller", "shifted"],
)
def test_near_duplicates_are_found(tmp_path, change):
    images = [drawn(seed, 96) for seed in range(20)]
    files = {f"train/{i}.png": image for i, image in enumerate(images)}
    files |= {f"test/{i}.png": change(image) for i, image in enumerate(images)}
    report = audit(write(tmp_path, files))
    wanted = {frozenset({f"train/{i}.png", f"test/{i}.png"}) for i in range(20)}
    found = names(report["near"]["listed"])
    assert found <= wanted
    assert len(found) >= 18
    assert report["exact"]["groups"] == 0


def test_images_of_one_color_have_no_near_duplicates(tmp_path):
    images = {f"{i}.png": np.full((32, 32), 10 * i, np.uint8) for i in range(1, 20)}
    assert audit(write(tmp_path, images))["near"]["pairs"] == 0


def test_bad_files_are_counted_and_named(folder):
    (folder / "train/happiness/3a.png").write_bytes(b"no image")
    whole = (folder / "train/happiness/4.png").read_bytes()
    (folder / "test/anger/cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "train/happiness/notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_bytes(b"")
    report = audit(folder)
    assert report["unreadable"]["count"] == 2
    assert [entry["name"] for entry in report["unreadable"]["first"]] == [
        "test/anger/cut.png",
        "train/happiness/3a.png",
    ]
    assert all(entry["error"] for entry in report["unreadable"]["first"])
    assert report["splits"] == {"test": 6, "train": 9}
    assert report["images"] == 13
    # The names of the others are still theirs.
    assert names(report["near"]["listed"]) == {
        frozenset({"train/happiness/3.png", "test/anger/near.png"})
    }
    assert "leak.png" in str(report["exact"]["listed"][0])


def test_subjects_across_splits(tmp_path):
    images = np.stack([drawn(seed) for seed in range(6)])
    subjects = np.array(["ann", "bob", "bob", "cid", "", ""])
    save(tmp_path / "train.npz", images=images, subject=subjects)
    save(tmp_path / "test.npz", images=images[:3][:, ::-1], subject=subjects[:3])
    report = audit(tmp_path)["subjects"]
    assert (report["known"], report["across"]) == (3, 2)
    assert report["listed"][1] == {"subject": "bob", "splits": {"test": 2, "train": 2}}


def test_counts_against_a_dictionary():
    """Exact groups of random small images, against plain Python."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (3000, 3, 3), dtype=np.uint8)
    splits = rng.choice(["a", "b", "c"], 3000, p=[0.8, 0.19, 0.01])
    labels = rng.choice(["x", "y"], 3000, p=[0.995, 0.005])
    items = [
        sources.Item(str(i), splits[i], labels[i], None, lambda i=i: images[i])
        for i in range(3000)
    ]
    with tempfile.TemporaryFile() as file:
        exact, conflicts = module._exact(module._read(items, file))
    groups = collections.defaultdict(list)
    for i, image in enumerate(images):
        groups[image.tobytes()].append(i)
    groups = [group for group in groups.values() if len(group) > 1]
    assert exact["groups"] == len(groups)
    assert exact["copies"] == sum(len(group) - 1 for group in groups)
    within = collections.Counter()
    across = collections.Counter()
    for group in groups:
        count = collections.Counter(splits[group].tolist())
        within.update({split: n - 1 for split, n in count.items()})
        across.update({(a, b): count[a] for a, b in itertools.permutations(count, 2)})
    assert exact["within"] == {split: n for split, n in within.items() if n}
    assert {(e["of"], e["in"]): e["images"] for e in exact["across"]} == across
    expected = sum(len(set(labels[group])) > 1 for group in groups)
    assert 0 < conflicts["groups"] == expected < len(groups)


@pytest.mark.medium
def test_memory_per_image():
    """What stays of each image is tens of bytes, whatever the number of images."""

    def peak(count):
        image = drawn(0)

        def items():
            for i in range(count):
                value = image.copy()
                value[0, :4] = np.frombuffer(np.uint32(i).tobytes(), np.uint8)
                yield sources.Item(f"{i}", "train", "x", None, lambda v=value: v)

        tracemalloc.start()
        with tempfile.TemporaryFile() as file:
            facts = module._read(items(), file)
        assert len(facts.pixels) == count
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    small, large = peak(9_000), peak(27_000)
    assert (large - small) / 18_000 < 100


@pytest.mark.slow
def test_fer2013(real_data, tmp_path):
    start = time.monotonic()
    report = audit(real_data)
    elapsed = time.monotonic() - start
    with np.load(real_data / "public_test_duplicates.npz") as known:
        (known,) = (set(np.flatnonzero(known[name])) for name in known.files)
    across = {(e["of"], e["in"]): e["images"] for e in report["exact"]["across"]}
    assert across["public_test", "train"] == 280 == len(known)
    found = set()
    for group in report["exact"]["listed"]:
        rows = collections.defaultdict(set)
        for entry in group["images"]:
            rows[entry["split"]].add(int(entry["name"].split("[")[1][:-1]))
        if len(rows) == 2:
            found |= rows["public_test"]
    assert found == known

    labels = collections.defaultdict(set)
    for split in ("train", "public_test"):
        arrays = np.load(real_data / f"{split}.npz")
        for image, label in zip(arrays["images"], arrays["label"], strict=True):
            labels[image.tobytes()].add(int(label))
    expected = sum(len(group) > 1 for group in labels.values())
    assert report["conflicts"]["groups"] == expected
    assert report["exact"]["copies"] == report["images"] - len(labels)

    # Every pair of a correlation from 0.98 is found; see the comment on the radius.
    assert report["near"]["pairs"] > 1000
    assert report["near"]["left_out"] == 0
    assert elapsed < 60
