"""Griffe extension: a package's page shows its modules, not once more what it imports from them."""

import griffe


class OwnMembersOnly(griffe.Extension):
    """Forget the names that an ``__init__.py`` imports; modules keep theirs, for links of types."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: object) -> None:
        """Walk the packages below a package that has been loaded."""
        waiting = [pkg]
        while waiting:
            module = waiting.pop()
            waiting += [m for m in module.modules.values() if not m.is_alias]
            if module.is_init_module:
                for name in [name for name, m in module.members.items() if m.is_alias]:
                    del module.members[name]
