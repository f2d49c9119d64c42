"""Curves: shortest paths between points, paths of a given velocity, and what distances make of them."""
