"""How good samples are: features, metrics and the evaluation card."""
