"""A run on disk: its parts, checkpoints, lock, compatibility and evaluation."""
