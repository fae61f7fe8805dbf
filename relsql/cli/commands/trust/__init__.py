"""Commands that ask whether a model can be trusted: backtests, leaks, explanations, drift, reports."""
