"""What users read of a plan: status, conditions and the problems behind them."""
