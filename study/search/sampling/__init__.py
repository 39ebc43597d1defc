"""Samplers: our estimator, Optuna's, and the history that they learn from."""
