import collections
import io
import itertools
import json
import tempfile
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageDraw

from keras_fer import audit as module
from keras_fer.audit import audit, table


def drawn(seed, size=48):
    """A drawn face of its own, gray uint8 (size, size)."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (192, 192), int(rng.integers(0, 256)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):  # Something behind it.
        x, y, r = rng.integers(0, 192, 3)
        shape = [int(x - r // 3), int(y - r // 3), int(x + r // 3), int(y + r // 3)]
        draw.ellipse(shape, fill=int(rng.integers(0, 256)))
    x, y = rng.integers(-20, 20, 2)
    skin, dark = int(rng.integers(120, 240)), int(rng.integers(0, 90))
    draw.ellipse([30 + x, 10 + y, 160 + x, 185 + y], fill=skin)
    for side in (65, 125):
        draw.ellipse([side - 10 + x, 70 + y, side + 10 + x, 85 + y], fill=dark)
    draw.rectangle([70 + x, 130 + y, 120 + x, 130 + y + rng.integers(5, 30)], fill=dark)
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def jpeg(image, quality=60):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def write(folder, images):
    for name, image in images.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder


def names(entries):
    return {frozenset(image["name"] for image in e["images"]) for e in entries}


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
    assert "of test are nearly in train 1" in found
    assert "copies within train 2" in found
    assert any("leak.png (happiness) = train/happiness/0.png" in x for x in found)


def test_without_splits_the_first_level_is_the_label(tmp_path):
    image = drawn(0)
    report = audit(
        write(
            tmp_path,
            {"anger/a.png": image, "fear/b.png": image, "top.png": drawn(1)},
        )
    )
    assert report["splits"] == {"all": 3}
    (group,) = report["conflicts"]["listed"]
    assert [p["label"] for p in group["images"]] == ["anger", "fear"]


@pytest.mark.parametrize("name", ["Training", "PublicTest", "val", "fold_3", "dev"])
def test_names_of_splits(tmp_path, name):
    report = audit(write(tmp_path, {f"{name}/anger/a.png": drawn(0)}))
    assert report["splits"] == {name: 1}


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


def test_images_of_one_color_resemble_nothing(tmp_path):
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


def test_a_link_to_a_folder_above_ends(tmp_path):
    write(tmp_path, {"train/anger/a.png": drawn(0)})
    (tmp_path / "train/anger/again").symlink_to(tmp_path)
    assert audit(tmp_path)["images"] == 1


def save(path, **arrays):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)


def test_arrays(tmp_path):
    images = np.stack([drawn(seed) for seed in range(8)])
    save(tmp_path / "train.npz", images=images[:6], label=np.arange(6))
    other = images[[0, 6, 7]]
    save(tmp_path / "public_test.npz", images=other, label=np.array([3, 1, 1]))
    save(tmp_path / "train_landmarks.npz", landmarks=np.zeros((6, 68, 2)))
    report = audit(tmp_path)
    assert report["splits"] == {"public_test": 3, "train": 6}
    (group,) = report["conflicts"]["listed"]
    assert group["images"] == [
        {"name": "public_test[0]", "split": "public_test", "label": "3"},
        {"name": "train[0]", "split": "train", "label": "0"},
    ]


def test_subjects_across_splits(tmp_path):
    images = np.stack([drawn(seed) for seed in range(6)])
    subjects = np.array(["ann", "bob", "bob", "cid", "", ""])
    save(tmp_path / "train.npz", images=images, subject=subjects)
    save(tmp_path / "test.npz", images=images[:3][:, ::-1], subject=subjects[:3])
    report = audit(tmp_path)["subjects"]
    assert (report["known"], report["across"]) == (3, 2)
    assert report["listed"][1] == {"subject": "bob", "splits": {"test": 2, "train": 2}}


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"images": np.zeros((3, 8), np.uint8)}, "Expected uint8"),
        ({"images": np.zeros((3, 8, 8), np.float32)}, "float32"),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "label": np.zeros(2)},
            "3 images and 2 values of label",
        ),
    ],
)
def test_arrays_that_are_no_images(tmp_path, arrays, words):
    save(tmp_path / "train.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        audit(tmp_path)


def test_a_file_of_arrays_that_is_cut_off(tmp_path):
    path = tmp_path / "train.npz"
    save(path, images=np.zeros((3, 8, 8), np.uint8))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="train.npz is no .npz file"):
        audit(tmp_path)


def test_what_cannot_be_audited(tmp_path):
    with pytest.raises(ValueError, match="No images to audit"):
        audit(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(NotADirectoryError, match="Not a folder"):
        audit(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="no_such_dataset"):
        audit("no_such_dataset")
    with pytest.raises(FileNotFoundError, match="No such folder or dataset"):
        audit(tmp_path / "missing")


def test_a_dataset_that_is_not_prepared(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    builder = tfds.testing.DummyMnist(data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="tfds build"):
        module._Dataset(builder, "mnist")


def faces_dataset():
    """A class of a TFDS dataset whose split `subset` is a part of `test`."""
    import tensorflow_datasets as tfds

    class Faces(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(48, 48, 1)),
                "label": tfds.features.ClassLabel(names=["neutral", "happiness"]),
                "id": tfds.features.Text(),
                "subject": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _):
            return {
                "train": self._generate_examples("train", range(9)),
                "subset": self._generate_examples("test", (8, 10)),
                # The first one leaks, with another label.
                "test": self._generate_examples("test", range(8, 13)),
            }

        def _generate_examples(self, name, seeds):
            for seed in seeds:
                id = f"{name}/{seed}.png"
                yield (
                    id,
                    {
                        "image": drawn(seed)[..., None],
                        "label": int(name == "test"),
                        "id": id,
                        "subject": f"s{seed // 2}" if seed < 10 else "",
                    },
                )

    return Faces


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_tfds_dataset(tmp_path, file_format):
    builder = faces_dataset()(data_dir=tmp_path, file_format=file_format)
    builder.download_and_prepare()
    report = audit(builder.data_dir)
    assert report["splits"] == {"train": 9, "test": 5, "subset": 2}
    assert report["images"] == 16
    assert report["overlapping"] == {"subset": 2}
    exact, conflicts = report["exact"], report["conflicts"]
    assert {(e["of"], e["in"], e["images"]) for e in exact["across"]} == {
        ("train", "test", 1),
        ("test", "train", 1),
    }
    (group,) = conflicts["listed"]
    assert {(p["name"], p["label"]) for p in group["images"]} == {
        ("train/8.png", "neutral"),
        ("test/8.png", "happiness"),
    }
    assert report["near"]["pairs"] == 0
    assert report["subjects"] == {
        "known": 5,
        "across": 1,
        "listed": [{"subject": "s4", "splits": {"train": 1, "test": 2}}],
    }


def test_a_tfds_dataset_with_damaged_records(tmp_path):
    builder = faces_dataset()(data_dir=tmp_path, file_format="tfrecord")
    builder.download_and_prepare()
    (path,) = builder.data_path.glob("*train.tfrecord*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(OSError, match="Build the dataset again"):
        audit(builder.data_dir)


def planted(count, seed=0):
    """Hashes, some of which are a few bits from others."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for bits in range(12):
        for target in rng.integers(0, count, 20):
            flips = rng.choice(64, bits, replace=False)
            value = int(hashes[rng.integers(count)])
            for bit in flips:
                value ^= 1 << int(bit)
            hashes[target] = value
    return hashes


@pytest.mark.parametrize("portion", [7, 2**18])
def test_candidates_are_all_pairs_within_the_radius_once(monkeypatch, portion):
    monkeypatch.setattr(module, "_COMPARED", portion)
    hashes = planted(600)
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= module.RADIUS
    }
    left_out = [0]
    found = [
        pair
        for first, second in module._candidates(hashes, left_out)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert len(expected) > 100
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert left_out == [0]


def test_a_crowd_is_compared_in_part_and_counted(monkeypatch):
    monkeypatch.setattr(module, "_CROWD", 10)
    hashes = np.full(100, 12345, np.uint64)
    left_out = [0]
    found = sum(len(first) for first, _ in module._candidates(hashes, left_out))
    # Each with the ten after it, the last ten with fewer.
    assert found == 90 * 10 + 45
    # What is left out is left out for each of the four parts of the hash.
    assert left_out == [4 * (100 * 99 // 2 - found)]


def test_counts_against_a_dictionary():
    """Exact groups of random small images, against plain Python."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 2, (3000, 3, 3), dtype=np.uint8)
    splits = rng.choice(["a", "b", "c"], 3000, p=[0.8, 0.19, 0.01])
    labels = rng.choice(["x", "y"], 3000, p=[0.995, 0.005])
    items = [
        module._Item(str(i), splits[i], labels[i], None, lambda i=i: images[i])
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


def test_memory_a_image():
    """What stays of each image is tens of bytes, whatever the number of images."""

    def peak(count):
        image = drawn(0)

        def items():
            for i in range(count):
                value = image.copy()
                value[0, :4] = np.frombuffer(np.uint32(i).tobytes(), np.uint8)
                yield module._Item(f"{i}", "train", "x", None, lambda v=value: v)

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
