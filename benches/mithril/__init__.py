"""Benchmarks of Mithril."""
