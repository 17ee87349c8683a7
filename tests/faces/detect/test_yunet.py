import hashlib
import subprocess
import sys

import pytest

from keras_fer.faces.detect import yunet
from tests.hub_server import HubServer

CONTENT = b"a small file in place of the published one"
# A process of its own: the client reads the address of the Hub when it is imported.
CODE = """
import sys
from keras_fer.faces.detect import yunet
yunet.SHA256, yunet.SIZE = sys.argv[1], int(sys.argv[2])
print(yunet.published())
"""


def published(environment, digest=None, size=None):
    """Output and error of a process that asks for the published file."""
    environment = {k: v for k, v in environment.items() if k != "KERAS_FER_YUNET"}
    digest = digest or hashlib.sha256(CONTENT).hexdigest()
    size = size or len(CONTENT)
    done = subprocess.run(
        [sys.executable, "-c", CODE, digest, str(size)],
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip(), done.stderr.strip().splitlines()[-1:]


def test_the_pin_is_that_of_the_opencv_zoo():
    assert len(yunet.SHA256) == 64 and yunet.SIZE == 232_589


def test_it_is_downloaded_once_and_then_works_offline(tmp_path):
    with HubServer() as hub:
        hub.add_repo(yunet.REPOSITORY, {yunet.FILE: CONTENT})
        environment = hub.environment(tmp_path)
        path, _ = published(environment)
        assert path.endswith(yunet.FILE) and str(tmp_path) in path
        assert published({**environment, "HF_HUB_OFFLINE": "1"})[0] == path
    with open(path, "rb") as file:
        assert file.read() == CONTENT


def test_another_file_is_refused(tmp_path):
    with HubServer() as hub:
        hub.add_repo(yunet.REPOSITORY, {yunet.FILE: CONTENT})
        for options in ({"digest": "0" * 64}, {"size": len(CONTENT) - 1}):
            output, (error,) = published(hub.environment(tmp_path), **options)
            assert output == "" and "is not the published" in error


def test_without_a_connection_the_error_says_what_to_do(tmp_path):
    with HubServer() as hub:
        environment = {**hub.environment(tmp_path), "HF_HUB_OFFLINE": "1"}
    output, (error,) = published(environment)
    assert output == "" and error.startswith(
        "FileNotFoundError: detector='yunet' needs"
    )
    assert "KERAS_FER_YUNET" in error and yunet.REPOSITORY in error


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ValueError, match="OpenCV cannot read"):
        yunet.load(str(path))
