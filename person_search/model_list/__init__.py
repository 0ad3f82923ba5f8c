"""Public models: what each is, where it lies, under which terms; fetched, recorded, checked."""
