"""Feature extractors: the networks that evaluation compares images with."""
