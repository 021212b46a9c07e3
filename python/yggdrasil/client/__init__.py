"""Clients of a node."""
