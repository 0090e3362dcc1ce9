"""Evaluation of samples: features, metrics and the evaluation card."""
