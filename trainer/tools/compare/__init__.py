"""Compares configs: each is trained and evaluated with several seeds."""
