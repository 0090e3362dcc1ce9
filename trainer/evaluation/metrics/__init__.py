"""Pure metrics over features, one family a file: NumPy arrays in, numbers out."""
