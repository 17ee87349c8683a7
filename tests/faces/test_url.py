"""Images from the web, from a real server on this machine."""

import contextlib
import http.server
import threading
import time

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import ImageError, url
from keras_fer.faces.inputs import open_image


@contextlib.contextmanager
def serving(answers):
    """A server with these answers; yields its port, and the paths it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answers[self.path](self)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


def content(data):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def redirect(to):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def status(code):
    return lambda handler: handler.send_error(code)


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return (tmp_path / "a.png").read_bytes(), pixels


def test_an_image_is_downloaded(image):
    data, pixels = image
    answers = {"/a.png": content(data), "/moved": redirect("/a.png")}
    with serving(answers) as (port, asked):
        for path in ("a.png", "moved"):
            found = open_image(f"http://127.0.0.1:{port}/{path}")
            np.testing.assert_array_equal(found, pixels)
    assert asked == ["/a.png", "/moved", "/a.png"]


def test_a_public_server_cannot_reach_into_the_local_network(image, monkeypatch):
    """`localhost` plays the public server here."""
    real = url._is_local
    monkeypatch.setattr(url, "_is_local", lambda at: "localhost" not in at and real(at))
    answers = {"/secret": content(image[0])}
    with serving(answers) as (port, asked):
        answers["/trap"] = redirect(f"http://127.0.0.1:{port}/secret")
        answers["/file"] = redirect("file:///etc/passwd")
        for path in ("trap", "file"):
            with pytest.raises(ImageError, match="which is not on the public web"):
                open_image(f"http://localhost:{port}/{path}")
    assert asked == ["/trap", "/file"]


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://127.0.0.1/a", True),
        ("http://10.1.2.3/a", True),
        ("http://169.254.169.254/latest", True),
        ("http://[::1]:80/a", True),
        ("http://192.0.2.1/", True),
        ("http://1.1.1.1/a", False),
        ("https://[2606:4700:4700::1111]/a", False),
    ],
)
def test_local_addresses(address, local):
    assert url._is_local(address) == local


def test_what_is_no_image_is_named(image):
    answers = {
        "/text": content(b"text"),
        "/404": status(404),
        "/loop": redirect("/loop"),
    }
    with serving(answers) as (port, _):
        base = f"http://127.0.0.1:{port}"
        for path, message in (
            ("text", f"'{base}/text' is not an image in a format"),
            ("404", "cannot be downloaded: the server answers 404"),
            ("loop", "redirects more than 5 times"),
        ):
            with pytest.raises(ImageError, match=message):
                open_image(f"{base}/{path}")
    with pytest.raises(ImageError, match="cannot be downloaded: .* Check the address"):
        open_image(f"{base}/gone")
    for wrong in ("http://", "http://[", "https://no-such-host.invalid/a.jpg"):
        with pytest.raises(ImageError, match="cannot be downloaded"):
            open_image(wrong)


def test_size_and_time_are_bounded(monkeypatch):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b"x")
                time.sleep(0.05)

    monkeypatch.setattr(url, "LARGEST", 1000)
    monkeypatch.setattr(url, "SECONDS", 0.5)
    with serving({"/large": content(b"x" * 10_000), "/slow": drip}) as (port, _):
        base = f"http://127.0.0.1:{port}"
        with pytest.raises(ImageError, match="has more than 1,000 bytes"):
            open_image(f"{base}/large")
        start = time.monotonic()
        with pytest.raises(ImageError, match=r"takes longer than 0.5 s"):
            open_image(f"{base}/slow")
        assert time.monotonic() - start < 3
