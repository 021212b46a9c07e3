"""Shards and their hash slots."""
