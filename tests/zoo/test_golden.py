import json

import numpy as np
import pytest

from keras_fer.zoo.presets import PRESETS
from tests.marks import rest_medium
from zoo import golden

GOLDEN = json.loads(golden.FILE.read_text())


@pytest.fixture(scope="module", params=rest_medium(GOLDEN))
def recorded(request):
    """What is committed of a preset, and what it says now."""
    return GOLDEN[request.param], golden.record(request.param)


def test_every_preset_is_recorded():
    assert list(GOLDEN) == list(PRESETS)
    for name, images in GOLDEN.items():
        assert list(images) == list(golden.inputs())
        for values in images.values():
            assert tuple(values["probabilities"]) == PRESETS[name].labels


def test_probabilities_are_what_they_were(recorded):
    before, now = recorded
    for image, values in before.items():
        assert list(values["probabilities"]) == list(now[image]["probabilities"])
        np.testing.assert_allclose(
            [*now[image]["probabilities"].values()],
            [*values["probabilities"].values()],
            atol=1e-4,
            err_msg=image,
        )


@pytest.mark.parametrize("layer", ["backbone", "features"])
def test_intermediate_layers_are_what_they_were(recorded, layer):
    before, now = recorded
    for image, values in before.items():
        assert now[image][layer]["shape"] == values[layer]["shape"]
        for part in ("mean", "std", "first"):
            np.testing.assert_allclose(
                now[image][layer][part], values[layer][part], rtol=1e-4, atol=1e-4
            )


def test_the_images_and_presets_can_be_told_apart():
    """A record that is the same for all would hold nothing in place."""
    for images in GOLDEN.values():
        rows = [[*values["probabilities"].values()] for values in images.values()]
        for index, row in enumerate(rows):
            np.testing.assert_allclose(sum(row), 1, atol=1e-4)
            for other in rows[index + 1 :]:
                assert np.abs(np.subtract(row, other)).max() > 0.01
