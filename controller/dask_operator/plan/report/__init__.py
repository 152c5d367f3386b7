"""Statuses, conditions and the problems behind them: the part of a plan that users read."""
