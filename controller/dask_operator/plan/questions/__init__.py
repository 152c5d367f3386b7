"""Questions to Dask schedulers that no scaling asks: whether they are idle, and who their workers are."""
