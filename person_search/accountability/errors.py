"""What goes wrong with logs."""


class LogError(ValueError):
    """A log cannot be read or written; says what to do."""
