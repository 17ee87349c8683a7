import pytest

from tfds_builders.base import FaceConfig, with_corruptions


def test_every_config_comes_in_every_family():
    plain = [FaceConfig(name="a", description="A."), FaceConfig(name="b")]
    configs = with_corruptions(plain)
    assert configs[:2] == plain
    families = {config.name: config.family for config in configs[2:]}
    assert families == {
        "masked": "masked",
        "occluded": "occluded",
        "corrupted": "corrupted",
        "b_masked": "masked",
        "b_occluded": "occluded",
        "b_corrupted": "corrupted",
    }
    assert configs[2].description == "A. Images are masked."


def test_a_config_checks_its_corruption():
    FaceConfig(name="fog", family="corrupted", kind="fog", severity=3)
    with pytest.raises(ValueError, match="severity must be None or one of 1, 2"):
        FaceConfig(name="fog", family="corrupted", kind="fog", severity=9)
    with pytest.raises(ValueError, match="family must be None or one of masked"):
        FaceConfig(name="blur", family="blurred")
