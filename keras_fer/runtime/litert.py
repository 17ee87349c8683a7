"""Exported models on LiteRT (TensorFlow Lite), without Keras or TensorFlow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from keras_fer.console import without_native_output
from keras_fer.runtime.exported import METADATA, ExportedModel, read

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class LiteRTModel(ExportedModel):
    """An exported model on LiteRT.

    It is not thread-safe. `pip install "keras-fer[export]"` installs LiteRT.

    Args:
        path: A `.tflite` file that `keras_fer.export` wrote.
        threads: Number of threads; `None` for one per core.

    Attributes:
        labels: Names of the outputs, in order.
        input_size: Side in pixels to which the graph resizes images.
        info: What the file says about itself, an `ExportInfo`.

    Raises:
        ImportError: LiteRT is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or was not written by `keras_fer.export`.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None):
        path, content = read(path)
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                "LiteRT is not installed. Install it with: pip install ai-edge-litert"
            ) from error
        try:
            with without_native_output():
                self._interpreter = Interpreter(
                    model_content=content, num_threads=threads or os.cpu_count()
                )
                self._interpreter.allocate_tensors()
            metadata = _metadata(content)
        except Exception as error:  # Damage raises whatever it leads to.
            raise ValueError(
                f"{str(path)!r} is damaged or not a LiteRT model: "
                f"{(str(error) or type(error).__name__).splitlines()[0]:.200}"
            ) from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            metadata = None
        self._describe(path, metadata, outputs[0]["shape"][-1] if outputs else None)
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self._shape: tuple[int, ...] = ()

    def _run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if batch.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, batch.shape)
            self._interpreter.allocate_tensors()
            self._shape = batch.shape
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def _metadata(content: bytes) -> str | None:
    """Our JSON in a LiteRT file whose structure the interpreter has verified."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.Model.GetRootAs(content, 0)
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == METADATA.encode():
            return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode()
    return None
