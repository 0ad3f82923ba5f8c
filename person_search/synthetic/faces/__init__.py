"""The drawn world of faces: identities, views, and the pictures drawn from them."""
