"""Side by side on this machine: the trainer, the notebook it came from, and others' loops."""
