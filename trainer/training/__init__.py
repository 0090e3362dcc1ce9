"""Training a run, from its newest checkpoint to its last step."""
