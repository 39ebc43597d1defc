"""Configuration of a study: the schema of study.yaml, its checks, and loading."""
