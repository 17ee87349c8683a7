import subprocess
import sys


def test_importing_registers_the_builders():
    code = (
        "import keras_fer.datasets, tensorflow_datasets as tfds;"
        "print(tfds.builder_cls('fer2013').__module__)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("tfds_builders.fer2013")
