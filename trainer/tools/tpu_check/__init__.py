"""Compiles the trainer's replica step with the real TPU compiler, on a machine without a TPU."""
