import json

import pytest
from PIL import Image


@pytest.fixture
def leaky(tmp_path, images):
    """A folder with an image that is in both of its splits, with another label."""
    names = ("train/anger/a.png", "train/anger/b.png", "test/fear/a.png")
    for name, image in zip(names, images[[0, 1, 0], :, :, 0], strict=True):
        path = tmp_path / "leaky" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "leaky"


def test_audit_prints_a_table(run, leaky):
    status, output, errors = run("audit", leaky)
    assert (status, errors) == (0, "")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert lines[0] == f"{leaky}: 3 images (test 1, train 2)"
    assert "of test are in train 1" in lines
    assert "groups with conflicting labels 1" in lines


def test_audit_prints_one_json_object(run, leaky):
    status, output, _ = run("audit", leaky, "--json")
    (line,) = output.splitlines()
    report = json.loads(line)
    assert status == 0
    assert set(report) == {
        "source",
        "images",
        "splits",
        "unreadable",
        "overlapping",
        "exact",
        "conflicts",
        "near",
        "subjects",
    }
    (group,) = report["conflicts"]["listed"]
    assert [image["name"] for image in group["images"]] == [
        "test/fear/a.png",
        "train/anger/a.png",
    ]


def test_audit_goes_on_after_a_bad_image(run, leaky):
    (leaky / "train/anger/bad.png").write_bytes(b"no image")
    status, output, errors = run("audit", leaky)
    assert status == 1
    assert errors.splitlines() == ["keras-fer: 1 of 4 images failed"]
    assert "train/anger/bad.png: " in output
    assert "of test are in train" in output


def test_audit_of_nothing_is_one_clear_line(run, tmp_path):
    for source, words in (
        (tmp_path, "has no images to audit"),
        (tmp_path / "missing", "There is no folder or TFDS dataset"),
        ("no_such_dataset", "no_such_dataset"),
    ):
        status, output, errors = run("audit", source)
        assert (status, output) == (1, "")
        (line,) = errors.splitlines()
        assert line.startswith("keras-fer: ") and words in line


def test_audit_without_a_source_is_wrong_usage(run):
    status, _, errors = run("audit")
    assert status == 2
    assert "DATASET_OR_FOLDER" in errors
