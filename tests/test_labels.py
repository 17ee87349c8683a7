import pytest

from keras_fer import labels


def test_the_canonical_order_is_that_of_the_ferplus_votes():
    codes = labels.DATASET_CODES["ferplus"]
    assert tuple(codes[index] for index in range(8)) == labels.LABELS


@pytest.mark.parametrize("dataset", labels.DATASET_CODES)
def test_every_code_maps_to_a_canonical_name_and_none_twice(dataset):
    names = [name for name in labels.DATASET_CODES[dataset].values() if name]
    assert set(names) <= set(labels.LABELS)
    assert len(names) == len(set(names))
    assert len(names) >= 6


@pytest.mark.parametrize(
    ("dataset", "code", "name"),
    [
        ("fer2013", 0, "anger"),
        ("fer2013", 6, "neutral"),
        ("raf_db", 1, "surprise"),
        ("raf_db", 7, "neutral"),
        ("affectnet", 7, "contempt"),
        ("affectnet", 10, None),
        ("ck_plus", 2, "contempt"),
        ("aff_wild2", -1, None),
        ("aff_wild2", 4, "happiness"),
        ("sfew", "Happy", "happiness"),
        ("oulu_casia", "Anger", "anger"),
        ("jaffe", "SU", "surprise"),
        ("fed_ro", "fear", "fear"),
    ],
)
def test_codes_of_the_datasets(dataset, code, name):
    assert labels.from_dataset(dataset, code) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Angry", "anger"), (" happy ", "happiness"), ("SADNESS", "sadness")],
)
def test_spellings_become_canonical(name, expected):
    assert labels.canonical_name(name) == expected
    assert labels.LABELS[labels.label_index(name)] == expected


@pytest.mark.parametrize("name", ["bored", "", 3, None])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="name must be one of neutral, .* got"):
        labels.canonical_name(name)


def test_unknown_codes_and_datasets_are_refused():
    with pytest.raises(
        ValueError, match="code must be one of those of raf_db, 1, 2, .* got 0"
    ):
        labels.from_dataset("raf_db", 0)
    with pytest.raises(
        ValueError, match="dataset must be one of .*fer2013.*got 'rafdb'"
    ):
        labels.from_dataset("rafdb", 1)
