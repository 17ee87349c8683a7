"""Exported models on ONNX Runtime, without Keras or its backends."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

from keras_fer.runtime.exported import METADATA, ExportedModel, read

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class OnnxModel(ExportedModel):
    """An exported model on ONNX Runtime.

    Args:
        path: An `.onnx` file that `keras_fer.export` wrote.
        threads: Number of threads; `None` for what the environment variable
            OMP_NUM_THREADS says, or else one per core.
        spinning: Whether threads that have nothing to do wait busily. That takes the
            cores from a detector and from other processes.

    Attributes:
        labels: Names of the outputs, in order.
        input_size: Side in pixels to which the graph resizes images.
        info: What the file says about itself, an `ExportInfo`.
        sha256: Hash of the file.

    Raises:
        ImportError: ONNX Runtime is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or was not written by `keras_fer.export`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        *,
        spinning: bool = False,
    ):
        path, content = read(path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self._session = start_session(content, threads, spinning)
        except ImportError:
            raise
        except Exception as error:  # ONNX Runtime has no common class of errors.
            raise ValueError(
                f"{str(path)!r} is damaged or not an ONNX model: "
                f"{str(error).splitlines()[0]:.200}"
            ) from error
        metadata = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            metadata = None
        self._describe(path, metadata, outputs[0].shape[-1] if outputs else None)
        self._input = inputs[0].name

    def _run(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._session.run(None, {self._input: batch})[0]


def start_session(
    content: bytes, threads: int | None = None, spinning: bool = False
) -> Any:
    """Starts an `onnxruntime.InferenceSession`.

    Args:
        content: Of an ONNX file.
        threads: See `OnnxModel`.
        spinning: See `OnnxModel`.

    Raises:
        ImportError: ONNX Runtime is not installed.
        Exception: The content is not an ONNX model; ONNX Runtime has no common class.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "ONNX Runtime is not installed. Install it with: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # Errors are raised; nothing is printed.
    # Threads that wait busily take the cores from the detector and other work.
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", str(int(spinning))
    )
    # ONNX Runtime itself reads the variable in some builds only.
    options.intra_op_num_threads = _asked_threads() if threads is None else threads
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )


def thread_count() -> int:
    """Number of threads that this process is to use, by default one per core."""
    if hasattr(os, "sched_getaffinity"):  # Not on macOS and Windows.
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return _asked_threads() or cores


def _asked_threads() -> int:
    """What OMP_NUM_THREADS says, which Ray sets per worker; 0 for no number."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() else 0
