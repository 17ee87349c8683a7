"""A web service: upload a photo, get its faces and their expressions as JSON.

    pip install "keras-fer[serve]"
    uvicorn app:app --app-dir examples/fastapi
    curl -F file=@photo.jpg http://127.0.0.1:8000/faces

The model is loaded once, when the service starts, and photos are analyzed in a thread
per core, beside the event loop. Environment variables:

- `KERAS_FER_MODEL`: what `keras_fer.analyze` takes as model; default `patt_lite`.
- `KERAS_FER_DETECTOR`: `mtcnn` (default), `none` for face crops, or another detector,
  which takes one photo at a time.
- `KERAS_FER_MAX_BYTES`: of an upload; default 10 MB.
- `KERAS_FER_MAX_WAITING`: photos that wait for a thread; default 32. More are answered
  with 503.
"""

import asyncio
import concurrent.futures
import contextlib
import functools
import os
from typing import Annotated, Any

import fastapi
import pydantic
from starlette import types

import keras_fer
from keras_fer import faces

MODEL = os.environ.get("KERAS_FER_MODEL", "patt_lite")
DETECTOR = os.environ.get("KERAS_FER_DETECTOR", "mtcnn")
MAX_BYTES = int(os.environ.get("KERAS_FER_MAX_BYTES", 10_000_000))
MAX_WAITING = int(os.environ.get("KERAS_FER_MAX_WAITING", 32))
# What multipart encoding adds to a file.
ENVELOPE = 10_000


class Face(pydantic.BaseModel):
    """A face: its box is `[x, y, width, height]` in pixels of the upright photo."""

    box: list[int]
    label: str
    confidence: float
    probabilities: dict[str, float]


class Faces(pydantic.BaseModel):
    """The faces of a photo, largest first."""

    faces: list[Face]


class LimitBody:
    """Ends requests of more than a number of bytes before they are read to the end."""

    def __init__(self, app: types.ASGIApp, limit: int):
        self.app, self.limit = app, limit

    async def __call__(
        self, scope: types.Scope, receive: types.Receive, send: types.Send
    ) -> None:
        """Serves a request."""
        total = 0

        async def counted() -> types.Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self.limit:
                raise fastapi.HTTPException(413, f"At most {MAX_BYTES} bytes are read.")
            return message

        await self.app(scope, counted, send)


@contextlib.asynccontextmanager
async def lifespan(app: fastapi.FastAPI) -> Any:
    """Loads the model and the detector, and starts the threads."""
    detector = faces.load_detector(None if DETECTOR == "none" else DETECTOR)
    workers = 1
    if detector.for_threads is not None:
        # One thread per photo serves more of them than several threads for each.
        detector, workers = detector.for_threads(), os.cpu_count() or 1
    model = faces.load_model(MODEL)
    app.state.analyze = functools.partial(
        keras_fer.analyze, model=model, detector=detector
    )
    app.state.labels = list(model.labels)
    app.state.waiting = 0
    with concurrent.futures.ThreadPoolExecutor(workers) as app.state.pool:
        yield


app = fastapi.FastAPI(title="keras_fer", lifespan=lifespan)
app.add_middleware(LimitBody, limit=MAX_BYTES + ENVELOPE)


@app.get("/health")
async def health() -> dict[str, Any]:
    """Says that the model is loaded, and what it tells apart."""
    return {"status": "ok", "model": MODEL, "labels": app.state.labels}


@app.post("/faces")
async def analyze(file: Annotated[fastapi.UploadFile, fastapi.File()]) -> Faces:
    """Finds the faces of a photo: AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF or WebP."""
    content = await file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise fastapi.HTTPException(413, f"At most {MAX_BYTES} bytes are read.")
    state = app.state
    if state.waiting >= MAX_WAITING:
        headers = {"Retry-After": "1"}
        raise fastapi.HTTPException(503, "Too many photos are waiting.", headers)
    state.waiting += 1
    try:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(state.pool, state.analyze, content)
    except faces.ImageError as error:
        raise fastapi.HTTPException(422, str(error)) from error
    finally:
        state.waiting -= 1
    return Faces(faces=[Face(**face.to_dict()) for face in found])
