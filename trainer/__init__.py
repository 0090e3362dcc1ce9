"""A distributed GAN trainer: one gin file in, the same answer from any number of devices."""

from __future__ import annotations

import os
import platform

__version__ = "0.1.0"

# Keras picks its backend when it is first imported, from a file in the user's home directory
# unless this variable is set; the trainer is written for TensorFlow's.
os.environ["KERAS_BACKEND"] = "tensorflow"
# TensorFlow's own start-up notices (CUDA not found, oneDNN in use) hide the trainer's lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# On processors without AVX512_VNNI TensorFlow leaves oneDNN's convolutions off, though they are the
# faster ones there too: docs/performance.md.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
