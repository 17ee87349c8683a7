"""Exported models on ONNX Runtime, without Keras or its backends."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING, Any

from keras_fer.runtime.exported import METADATA, ExportedModel, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

# What may stand between the product of the last layer and the probabilities.
_AFTER_LOGITS = (
    "Add",
    "Cast",
    "DequantizeLinear",
    "Div",
    "Identity",
    "Mul",
    "QuantizeLinear",
    "Softmax",
)


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
        self._content, self._options = content, (threads, spinning)
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

    def embed(
        self, images: npt.ArrayLike | Sequence[np.ndarray], batch_size: int = 64
    ) -> npt.NDArray[np.float32]:
        """Features of images: what the last layer takes.

        As `embed` of the models in Keras.

        Args:
            images: See `predict`.
            batch_size: Images per forward pass.

        Returns:
            float32 `(B, D)`.

        Raises:
            ImportError: The package onnx is not installed.
            ValueError: See `predict`; or the graph does not end in a dense layer and a
                softmax.
        """

        def run(batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            features: npt.NDArray[np.float32] = self._features.run(
                None, {self._input: batch}
            )[0].astype("float32")
            return features

        return self._in_batches(run, images, batch_size)

    @functools.cached_property
    def _features(self) -> Any:
        """A session from images to the features."""
        import onnx

        network = onnx.load_from_string(self._content)
        graph = network.graph
        makers = {name: node for node in graph.node for name in node.output}
        node = makers.get(graph.output[0].name)
        while node and node.op_type in _AFTER_LOGITS:
            node = makers.get(node.input[0])
        if not node or node.op_type not in ("MatMul", "Gemm"):
            raise ValueError(
                "embed needs a graph that ends in a dense layer and a softmax, which "
                "this one does not. Use the model in Keras, from keras_fer.zoo.load."
            )
        del graph.output[:]
        graph.output.append(onnx.ValueInfoProto(name=node.input[0]))
        return start_session(network.SerializeToString(), *self._options)


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
