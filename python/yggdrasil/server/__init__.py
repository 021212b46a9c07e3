"""The node: supervisor, workers, steward, configuration and command line."""
