"""What scripts/ runs, with pages and assets."""
