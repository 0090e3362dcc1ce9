"""Several configs against each other, with several seeds."""
