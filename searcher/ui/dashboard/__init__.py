"""Optuna's dashboard on a runs folder."""
