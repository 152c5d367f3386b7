"""Reports to users: statuses, conditions and the problems behind them."""
