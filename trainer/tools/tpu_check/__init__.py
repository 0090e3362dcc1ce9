"""The trainer's replica step under the real TPU compiler, on a machine without a TPU."""
