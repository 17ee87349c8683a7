import hashlib

from keras_fer import zoo
from keras_fer.zoo import loading
from zoo import bundle


def test_what_is_bundled_again_has_the_hash_of_the_preset(tmp_path, monkeypatch):
    preset = zoo.info("iram")
    weights = loading.bundled(preset)
    target = tmp_path / weights.name
    monkeypatch.setattr(loading, "bundled", lambda preset: target)
    assert bundle.bundle(weights, preset.name) == target
    assert hashlib.sha256(target.read_bytes()).hexdigest() == preset.sha256
