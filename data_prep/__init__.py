"""User-supplied files to TFDS shards: safe reading, inspection, conversion, and fixtures."""
