"""How a drawn person looks: build, clothes, hair, pose, and the figure drawn from them."""
