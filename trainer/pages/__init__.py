"""Self-contained HTML pages: the evaluation card of a run, and the comparison of several."""
