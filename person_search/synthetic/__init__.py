"""The drawn world: a small benchmark of drawn people, in the field's own layouts."""
