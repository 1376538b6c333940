"""The driver of a study and all that it asks Optuna for."""
