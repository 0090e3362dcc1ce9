"""A page to explore a run's generator, served to this machine alone."""
