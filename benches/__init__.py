"""End-to-end benchmarks: `python -m benches.run` measures and writes docs/benchmarks.md."""
