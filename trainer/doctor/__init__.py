"""Health checks of a run while it trains: signals, the rules over them, and their state."""
