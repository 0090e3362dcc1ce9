"""Families of generators and discriminators, and the checks of a model."""
