"""How a setting is declared, and gin files: read into plain Python, and written from it."""
