"""Files of trials: atomic writing, bounded reading, checkpoints with checksums, and the reader of tables."""
