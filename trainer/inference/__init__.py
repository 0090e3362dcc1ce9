"""Images from a trained generator, and the generator as files for other programs."""
