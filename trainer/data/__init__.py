"""Datasets, and the batches of each step."""
