"""The commands of ``person-search``, one module each with ``add_arguments`` and ``run``."""
