"""Zeros by a regularizer while a network trains."""
