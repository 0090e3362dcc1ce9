"""HTML pages: a run's card, a comparison of several, both self-contained, and the explorer's."""
