"""Dask schedulers: questions to them over HTTP and by Dask's own protocol."""
