"""TensorBoard events, images, charts, Markdown tables and HTML pages."""
