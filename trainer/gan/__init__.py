"""Networks, losses and the train step of a GAN, on any number of replicas."""
