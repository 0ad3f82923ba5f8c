"""The door before the page: who may come in, how much may come in, and what may be asked for."""
