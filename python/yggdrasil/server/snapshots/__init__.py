"""Snapshots of a node: where they lie, and the steward that takes them."""
