"""The core of all products: storage, content store, codecs, configuration, errors, telemetry, progress."""
