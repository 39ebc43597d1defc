"""Where a study is kept: a local folder, or a bucket of an object store."""
