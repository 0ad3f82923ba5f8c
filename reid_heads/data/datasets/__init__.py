"""One file a data set of crops or faces, and what their readers share."""
