"""Prune, share, Huffman: Deep Compression."""
