"""Watch sources that grow: folders, streams and webcams; tell when somebody appears."""
