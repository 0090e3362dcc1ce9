"""Faster ways to compute what some layers compute, chosen by device."""
