"""Galleries in other people's formats, and boxes out of them."""
