"""Training a run from where it was left to its last step."""
