"""The web service of examples/fastapi, started as its docstring says."""

import asyncio
import concurrent.futures
import http.client
import importlib.util
import io
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

import keras_fer
from keras_fer.cli.predict import sample_portrait

fastapi = pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

FOLDER = pathlib.Path(__file__).parents[2] / "examples" / "fastapi"


@pytest.fixture(scope="module")
def url():
    """Address of a service on a free port, of the FER2013 model and small uploads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "uvicorn", "app:app", "--app-dir", str(FOLDER), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, *words],
        env={
            **os.environ,
            "PYTHONPATH": str(FOLDER.parents[1]),
            "KERAS_FER_MODEL": "patt_lite.fer2013",
            "KERAS_FER_MAX_BYTES": "200000",
        },
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while get(f"{address}/health")[0] != 200:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        assert process.wait(30) in (0, -15)


def get(request):
    """Status and content of an answer; 0 without one."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


def upload(url, content, field="file"):
    head = (
        f'--limit\r\nContent-Disposition: form-data; name="{field}"; '
        'filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    body = head.encode() + content + b"\r\n--limit--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=limit"}
    return get(urllib.request.Request(f"{url}/faces", body, kind))


def photos():
    """The portrait, the portrait beside its mirror image, and no face."""
    portrait = np.asarray(Image.open(sample_portrait()).convert("RGB"))
    for image in (
        portrait,
        np.hstack([portrait, portrait[:, ::-1]]),
        np.full((99, 99, 3), 128, np.uint8),
    ):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG")
        yield file.getvalue()


@pytest.mark.medium
def test_concurrent_photos_each_get_their_faces(url):
    status, health = get(f"{url}/health")
    assert (status, health["model"]) == (200, "patt_lite.fer2013")
    contents = [*photos()] * 4
    with concurrent.futures.ThreadPoolExecutor(len(contents)) as pool:
        answers = list(pool.map(lambda content: upload(url, content), contents))
    for (status, answer), content in zip(answers, contents, strict=True):
        assert status == 200
        expected = keras_fer.analyze(content, "patt_lite.fer2013")
        for found, face in zip(answer["faces"], expected, strict=True):
            assert (found["box"], found["label"]) == ([*face.box], face.label)
            assert list(found["probabilities"]) == health["labels"]
            assert found["probabilities"] == pytest.approx(face.probabilities, abs=1e-4)
    assert [len(answer["faces"]) for _, answer in answers[:3]] == [1, 2, 0]


@pytest.mark.medium
def test_what_is_refused(url):
    status, answer = upload(url, b"no image")
    assert status == 422 and "not an image in a format" in answer["detail"]
    too_large = (413, {"detail": "At most 200000 bytes are read."})
    assert upload(url, bytes(200_001)) == too_large
    assert upload(url, b"", field="other")[0] == 422
    assert get(f"{url}/health")[0] == 200


@pytest.mark.medium
def test_the_rest_of_a_huge_upload_is_not_waited_for(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.putrequest("POST", "/faces")
    connection.putheader("Content-Type", "multipart/form-data; boundary=limit")
    connection.putheader("Content-Length", "10000000000")
    connection.endheaders(
        b'--limit\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    )
    connection.send(bytes(220_000))
    assert connection.getresponse().status == 413
    connection.close()


@pytest.fixture
def service():
    """The module of the service, without a server and a model."""
    spec = importlib.util.spec_from_file_location("service", FOLDER / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.app.state.waiting = 0
    with concurrent.futures.ThreadPoolExecutor(1) as module.app.state.pool:
        yield module


def test_the_event_loop_goes_on_while_a_photo_is_analyzed(service):
    seen = threading.Event()
    # It ends when the event loop has done something else.
    service.app.state.analyze = lambda content: [] if seen.wait(30) else None

    async def both():
        photo = fastapi.UploadFile(io.BytesIO(b"photo"))
        request = asyncio.create_task(service.analyze(photo))
        while not service.app.state.waiting:
            await asyncio.sleep(0.01)
        seen.set()
        return await request

    assert asyncio.run(both()).faces == []
    assert service.app.state.waiting == 0


def test_more_photos_than_may_wait_are_sent_away(service):
    service.app.state.waiting = service.MAX_WAITING
    with pytest.raises(fastapi.HTTPException) as caught:
        asyncio.run(service.analyze(fastapi.UploadFile(io.BytesIO(b"photo"))))
    assert caught.value.status_code == 503
    assert service.app.state.waiting == service.MAX_WAITING
