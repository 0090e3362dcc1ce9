"""TensorBoard events, image files, charts and pages."""
