"""The file formats of an exported generator: each is written, and read by its own runtime."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

Generate = Callable[[list[np.ndarray]], np.ndarray]
"""Latents float32 [N, Z], and labels int32 [N] if conditional -> images float32 [N, H, W, C]."""

_INPUTS = ("latents", "labels")  # names of the inputs; the output is "images"
_OPSET = 17  # ONNX Runtime 1.12 (2022) and later read it


class Format(NamedTuple):
    """A format of the exported generator."""

    file: str
    """Name of its file or directory."""
    write: Callable[[keras.Model, str], None]
    load: Callable[[str], Generate]
    needs: tuple[str, ...] = ()
    """Modules that it needs, from the extra `export`."""

    @property
    def missing(self) -> list[str]:
        """Those of `needs` that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def signature(model: keras.Model) -> list[tf.TensorSpec]:
    """The generator's inputs: latents [N, Z], and labels [N] if it is conditional."""
    return [
        tf.TensorSpec([None, *x.shape[1:]], x.dtype, name)
        for x, name in zip(model.inputs, _INPUTS, strict=False)
    ]


def _call(model: keras.Model, inputs: Sequence[tf.Tensor | np.ndarray]) -> tf.Tensor:
    return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)


def _function(model: keras.Model) -> tf.types.experimental.PolymorphicFunction:
    @tf.function(input_signature=signature(model), autograph=False)
    def generate(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"images": _call(model, inputs)}

    return generate


def _load_keras(path: str) -> Generate:
    model = keras.models.load_model(path)
    return lambda inputs: _call(model, inputs).numpy()


def _write_saved_model(model: keras.Model, path: str) -> None:
    module = tf.Module()
    module.model = model  # so that its variables are saved
    module.generate = _function(model)
    tf.saved_model.save(module, path, {"serving_default": module.generate})


def _load_saved_model(path: str) -> Generate:
    loaded = tf.saved_model.load(path)

    def run(inputs: list[np.ndarray]) -> np.ndarray:
        given = {name: tf.constant(x) for name, x in zip(_INPUTS, inputs, strict=False)}
        # The signature alone does not keep the variables of `loaded` alive.
        return loaded.signatures["serving_default"](**given)["images"].numpy()

    return run


def _write_tflite(model: keras.Model, path: str) -> None:
    # Freeze first: variables that the converter freezes by itself come out as NaN.
    frozen = convert_variables_to_constants_v2(_function(model).get_concrete_function())
    with open(path, "wb") as file:
        file.write(tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert())


def _load_tflite(path: str) -> Generate:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    positions = {details["name"]: details["index"] for details in interpreter.get_input_details()}

    def run(inputs: list[np.ndarray]) -> np.ndarray:
        given = {positions[name]: x for name, x in zip(_INPUTS, inputs, strict=False)}
        for position, x in given.items():
            interpreter.resize_tensor_input(position, x.shape)
        interpreter.allocate_tensors()
        for position, x in given.items():
            interpreter.set_tensor(position, x)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return run


def _write_onnx(model: keras.Model, path: str) -> None:
    import tf2onnx

    tf2onnx.convert.from_function(
        _function(model), signature(model), opset=_OPSET, output_path=path
    )


def _load_onnx(path: str) -> Generate:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["images"], dict(zip(_INPUTS, inputs, strict=False)))[0]


FORMATS = (
    Format("generator.keras", keras.Model.save, _load_keras),
    Format("saved_model", _write_saved_model, _load_saved_model),
    Format("generator.tflite", _write_tflite, _load_tflite, ("ai_edge_litert",)),
    Format("generator.onnx", _write_onnx, _load_onnx, ("tf2onnx", "onnxruntime")),
)
