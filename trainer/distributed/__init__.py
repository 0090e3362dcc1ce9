"""Strategies, processes and how they talk to each other."""
