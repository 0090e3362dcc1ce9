"""Training loops compared on one machine: this trainer's, the tutorial's and others'."""
