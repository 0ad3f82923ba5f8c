"""Who asked what of a gallery, and for how long what it knows is kept: log, receipts, retention."""
