"""A page to play with a run's generator, served to this machine alone."""
