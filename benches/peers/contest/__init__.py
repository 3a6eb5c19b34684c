"""What `kernels.py` runs: rows, peers that take turns on them, and the report."""
