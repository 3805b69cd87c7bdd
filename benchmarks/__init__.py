"""Speed and memory of nfd against what a user would run instead. ``python -m benchmarks --help``."""
