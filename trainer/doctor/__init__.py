"""Checks a run's health while it trains."""
