"""Metrics as pure functions of NumPy arrays, a file for each family."""
