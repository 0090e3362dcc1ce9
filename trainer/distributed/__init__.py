"""tf.distribute strategies, and runs of several processes."""
