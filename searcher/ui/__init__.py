"""All that a person sees: commands, tables on the terminal, pages, Optuna's dashboard."""
