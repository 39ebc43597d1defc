"""Records for readers outside: tables, provenance, and the mirror in Optuna's database."""
