"""What the writer writes, read back by TensorBoard's own reader."""

from __future__ import annotations

import io

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.reporting import tensorboard

PICTURE = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def read(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    return accumulator.Reload()


def test_tensorboard_reads_scalars_images_and_text(tmp_path):
    writer = tensorboard.EventWriter(str(tmp_path))
    writer.scalars(3, {"loss/generator": 0.5, "accuracy/real": 1.0})
    writer.scalars(6, {"loss/generator": 0.25})
    writer.image(6, "samples", PICTURE)
    writer.text(0, "config", "`train.seed = 0`")
    writer.close()
    events = read(tmp_path)
    scalars = {e.step: tf.make_ndarray(e.tensor_proto) for e in events.Tensors("loss/generator")}
    assert scalars == {3: 0.5, 6: 0.25}
    (image,) = events.Tensors("samples")
    _, _, png = tf.make_ndarray(image.tensor_proto)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), PICTURE)
    (text,) = events.Tensors("config")
    assert tf.make_ndarray(text.tensor_proto).item() == b"`train.seed = 0`"
    tags = events.Tags()["tensors"]
    assert {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags} == {
        "loss/generator": "scalars",
        "accuracy/real": "scalars",
        "samples": "images",
        "config": "text",
    }


def test_scalars_are_read_back_and_the_later_of_two_counts(tmp_path):
    for steps, value in (((1, 2, 3), 1.0), ((2, 3, 4), 5.0)):  # killed, and resumed at 2
        writer = tensorboard.EventWriter(str(tmp_path))
        for step in steps:
            writer.scalars(step, {"loss": value})
        writer.image(9, "samples", PICTURE)
        writer.close()
    assert tensorboard.read_scalars(str(tmp_path)) == {"loss": ([1, 2, 3, 4], [1.0, 5.0, 5.0, 5.0])}


def test_a_slow_store_is_flushed_a_twentieth_of_the_time(tmp_path, monkeypatch):
    """A flush that takes half a second is followed by ten without any."""
    now = [0.0]
    writer = tensorboard.EventWriter(str(tmp_path), clock=lambda: now[0])
    flush, flushed_at = writer._writer.flush, []

    def slow():
        flush()
        flushed_at.append(now[0])
        now[0] += 0.5

    monkeypatch.setattr(writer._writer, "flush", slow)
    for step in range(25):
        now[0] = max(now[0], float(step))
        writer.scalars(step, {"loss": 0.5})
    assert flushed_at == [0.0, 11.0, 22.0]
    writer.flush()
    assert len(tensorboard.read_scalars(str(tmp_path))["loss"][0]) == 25
    writer.scalars(25, {"loss": 0.5})
    writer.close()
    assert len(tensorboard.read_scalars(str(tmp_path))["loss"][0]) == 26
