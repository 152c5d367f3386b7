"""Dask schedulers: the questions they are asked, by HTTP or by Dask's own protocol."""
