"""Feature extractors: the networks through which evaluation looks at images."""
